"""Run `app.py` on a machine without a network and in a checkout that cannot be written.

`python tests/watched.py LOG` refuses every connection to another host, every look-up of one, and
every write into the checkout, and appends each attempt to LOG. `python tests/watched.py LOG CLOCK`
also adds the seconds that the file CLOCK holds to what `time.time` tells; the clock that cannot be
set back, `time.monotonic`, stays as it is.
"""

import os
import runpy
import sys
import time
from pathlib import Path

ROOT = str(Path.cwd())
HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
attempts = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def refuse(what: str) -> None:
    os.write(attempts, f"{what}\n".encode())
    raise PermissionError(what)


def watch(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        if arguments[1][0] not in HERE:
            refuse(f"connect {arguments[1][0]}")
    elif event == "socket.getaddrinfo":
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if host not in HERE:
            refuse(f"look up {host}")
    elif event == "open" and isinstance(arguments[0], str):
        path, flags = os.path.abspath(arguments[0]), arguments[2]  # noqa: PTH100
        if path.startswith(ROOT + os.sep) and flags & WRITING:
            if path.endswith((".pyi", ".pyc")) or "__pycache__" in path:
                raise PermissionError(path)  # a cache that may fail
            refuse(f"write {path}")


if len(sys.argv) > 2:
    clock, told = Path(sys.argv[2]), time.time
    time.time = lambda: told() + float(clock.read_text() or 0)

sys.modules["uvloop"] = None  # its connections would pass by Python's audit events
sys.path.insert(0, ROOT)
sys.argv = ["app.py"]
sys.addaudithook(watch)
runpy.run_path("app.py", run_name="__main__")
