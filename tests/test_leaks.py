"""Protects a server that runs for months: photos, good or bad, leave nothing behind.

The long run is `python tests/benchmarks/hostile_photos.py`.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from model import sandbox
from model.classifier import open_photo
from tests import hostile
from tests.serving import Refusal, held, served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def send(data: bytes) -> None:
    with suppress(ValueError):  # its sentence is the business of test_hostile_photos.py
        open_photo(data, 64)


def of_this_process() -> tuple[dict[str, float], int]:
    """What it holds, and its threads, once the clocks that were stopped have ended."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5)
    return held(os.getpid()), threading.active_count()


def test_opening_photos_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor, process, thread or file, though every tenth decoder dies on the way."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    photos = [data for _, _, data in hostile.mutations(100, seed=1)]
    photos += [*hostile.foreign_files().values(), hostile.png_claiming(60_000, 60_000)]
    send(hostile.valid_files()["JPEG"])
    before = of_this_process()
    for number, data in enumerate(photos):
        if number % 10 == 0:
            sandbox.idle.queue[-1].process.kill()
        send(data)
    send(hostile.valid_files()["JPEG"])
    after = of_this_process()
    for what in ("descriptors", "processes", "threads"):
        assert after[0][what] <= before[0][what], what
    assert after[1] <= before[1]
    assert after[0]["memory"] - before[0]["memory"] < 60
    assert not list(tmp_path.rglob("*"))


def test_serving_them_leaves_nothing(tmp_path: Path) -> None:
    """Nor in the server; an upload of the same content is one file."""
    photos = [data for _, _, data in hostile.mutations(20, seed=2)]
    photos += [hostile.valid_files()["JPEG"], hostile.foreign_files()["HTML"]]

    def send_all() -> None:
        for data in photos:
            with suppress(Refusal):
                server.classify("photo.jpg", data)

    def files() -> int:
        return sum(path.is_file() for path in (tmp_path / "temporary").rglob("*"))

    with served(tmp_path) as server:
        send_all()
        before, there = held(server.process.pid), files()
        send_all()
        after = held(server.process.pid)
        assert files() == there
        assert after["memory"] - before["memory"] < 60
        for what in ("descriptors", "processes", "threads"):
            assert after[what] <= before[what] + 1, what
