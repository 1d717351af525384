"""From `python app.py` to the first answer: `python tests/benchmarks/cold_start.py`.

The peer is `fastai_peer.py`, the same classifiers as two fastai learners behind a Gradio interface;
both start in turns and are asked to classify the same photo until they answer. The exit code is 1
when the target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import hostile  # noqa: E402
from tests.benchmarks.fastai_peer import export  # noqa: E402
from tests.conftest import free_port  # noqa: E402
from tests.serving import Server  # noqa: E402

TARGET = 0.6
PHOTO = hostile.encode(hostile.picture(800, 600), "JPEG")


def seconds_to_answer(command: list[str]) -> float:
    """From the start of a process to its first answer on `/classify`."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_TEMP_DIR": folder,
            "GRADIO_ANALYTICS_ENABLED": "False",
        }
        log = Path(folder) / "log.txt"
        start = time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        server = Server(f"http://127.0.0.1:{port}", process, log, log)
        try:
            while True:
                try:
                    server.classify("photo.jpg", PHOTO)
                    return time.monotonic() - start
                except (httpx.HTTPError, AssertionError):
                    if process.poll() is not None or time.monotonic() - start > 300:
                        raise SystemExit(f"It does not come up:\n{log.read_text()}") from None
                    time.sleep(0.05)
        finally:
            process.terminate()
            process.wait(timeout=30)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=5, help="each (%(default)s)")
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        peer_file = str(Path(__file__).with_name("fastai_peer.py"))
        commands = {"app.py": ["app.py"], "fastai and Gradio": [peer_file, folder]}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(times + 1):  # the first only fills the disk's cache
            for name, command in commands.items():
                took = seconds_to_answer(command)
                if turn:
                    seconds[name].append(took)
    app, peer = (statistics.median(values) for values in seconds.values())
    print(f"| start to first answer, median of {times} | s |\n| --- | --: |")
    print(
        f"| app.py | {app:.1f} |\n| fastai and Gradio | {peer:.1f} |\n| ratio | {app / peer:.2f} |"
    )
    print(f"\nTarget: {TARGET} of the peer: {'met' if app <= TARGET * peer else 'missed'}")
    return 0 if app <= TARGET * peer else 1


if __name__ == "__main__":
    raise SystemExit(main())
