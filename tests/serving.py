"""A real server to send things to, and ways to send them that no well-behaved client has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from model import samples
from tests.conftest import ROOT, free_port


@dataclass
class Server:
    """A running `app.py`."""

    url: str
    process: subprocess.Popen
    log: Path  # what it printed
    attempts: Path  # what it tried and must not

    def trespasses(self) -> list[str]:
        """What it tried without being asked: the button for a test photo does ask the Hub."""
        wanted = f"look up {urlsplit(samples.ROWS).hostname}"
        return [line for line in self.attempts.read_text().splitlines() if line != wanted]

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/gradio_api/{path}", timeout=60, **options)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}/gradio_api/{path}", timeout=60)

    def upload(self, name: str, content: bytes) -> str:
        """The path under which an upload is kept."""
        answer = self.post("upload", files={"files": (name, content)})
        assert answer.status_code == 200, answer.text
        return answer.json()[0]

    def call(self, name: str, data: Any) -> Any:
        """An endpoint's answer; ``Refusal`` with what it says otherwise."""
        answer = self.post(f"call/{name}", json={"data": data})
        if answer.status_code != 200:
            raise Refusal(answer.text)
        lines = self.get(f"call/{name}/{answer.json()['event_id']}").text.splitlines()
        event = next(line for line in lines if line.startswith("event: "))[7:]
        body = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
        if event != "complete":
            raise Refusal(body["error"] if isinstance(body, dict) else str(body))
        return body

    def event(self, fn_index: Any, data: Any) -> dict[str, Any]:
        """The output of an event of the page, called by its number as the page does."""
        session = uuid.uuid4().hex
        body = {"data": data, "fn_index": fn_index, "session_hash": session}
        answer = self.post("queue/join", json=body)
        if answer.status_code != 200:
            raise Refusal(answer.text)
        address = f"{self.url}/gradio_api/queue/data?session_hash={session}"
        with httpx.stream("GET", address, timeout=60) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[6:]) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    if not message["success"]:
                        raise Refusal(str(message["output"].get("error")))
                    return message["output"]
        raise AssertionError("the stream ended without an answer")

    def classify(self, name: str, content: bytes) -> dict[str, Any]:
        file = {"path": self.upload(name, content), "meta": {"_type": "gradio.FileData"}}
        return self.call("classify", [file])[0]


def children(pid: int) -> list[int]:
    """The processes that a process has started (Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:  # it has just ended
            continue
        if f"PPid:\t{pid}\n" in text:
            found.append(int(status.parent.name))
    return found


def memory(pid: int) -> float:
    """Resident MB of a process and of those that it has started (Linux)."""
    size = 0.0
    for number in [pid, *children(pid)]:
        try:
            status = Path(f"/proc/{number}/status").read_text()
        except OSError:  # it has just ended
            continue
        size += sum(int(kilobytes) for kilobytes in re.findall(r"VmRSS:\s+(\d+)", status)) / 1000
    return size


def held(pid: int) -> dict[str, float]:
    """What a server and those that it has started hold (Linux); memory in MB."""
    total = {"memory": memory(pid), "descriptors": 0.0, "threads": 0.0, "processes": 0.0}
    for process in [pid, *children(pid)]:
        folder = Path(f"/proc/{process}")
        try:
            total["descriptors"] += len(list((folder / "fd").iterdir()))
            total["threads"] += len(list((folder / "task").iterdir()))
        except OSError:  # it has just ended
            continue
        total["processes"] += 1
    return total


class Refusal(Exception):
    """What the server said instead of a result."""


def checkout(folder: Path) -> Path:
    """A copy of what serves, whose checkpoints can be damaged one by one."""
    shutil.copytree(ROOT / "assets", folder / "assets")
    shutil.copytree(
        ROOT / "model",
        folder / "model",
        ignore=shutil.ignore_patterns("checkpoints", "__pycache__"),
    )
    shutil.copy(ROOT / "app.py", folder)
    (folder / "model" / "checkpoints").mkdir()
    for path in (ROOT / "model" / "checkpoints").iterdir():
        (folder / "model" / "checkpoints" / path.name).symlink_to(path)
    return folder


@contextmanager
def served(
    folder: Path,
    root: Path = ROOT,
    uploads: str | None = None,
    clock: Path | None = None,
    **variables: str,
) -> Iterator[Server]:
    """`app.py` of ``root`` under `tests/watched.py`; ``folder`` takes its logs and uploads.

    ``clock`` is a file with the seconds that its clock is ahead. ``variables`` are added to its
    environment.
    """
    port = free_port()
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "TMPDIR": str(temporary)}
    environment.pop("GRADIO_ANALYTICS_ENABLED", None)
    environment.pop("GRADIO_TEMP_DIR", None)
    if uploads:
        environment["GRADIO_TEMP_DIR"] = uploads
    environment |= variables
    log, attempts = folder / "log.txt", folder / "attempts.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "watched.py"), str(attempts)]
            + ([str(clock)] if clock else []),
            cwd=root,
            env=environment,
            stdout=output,
            stderr=output,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log, attempts)
    deadline = time.monotonic() + 300
    try:
        while True:
            try:
                httpx.get(server.url, timeout=5)
                break
            except httpx.HTTPError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the app does not come up:\n{log.read_text()}") from None
                time.sleep(0.3)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)
