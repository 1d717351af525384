"""What the app does under load: `python tests/benchmarks/load_test.py`.

Starts the app on this machine and lets 200 sessions send it photos and logits for 60 seconds, one
request after another, as programs do that do not wait when they are told to come back later; and
once more, since what the first wave leaves may be caches, but what the second adds is a leak.
Prints how many requests were answered, how many were told that the queue is full and in which
words, how many got neither (has to be 0); and, before and after each wave and after a quiet time,
how long one photo takes with nobody else there, and what the server holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import hostile  # noqa: E402
from tests.serving import Server, held, served  # noqa: E402

FILE = {"_type": "gradio.FileData"}
PHOTO = hostile.encode(hostile.picture(1600, 1200), "JPEG")


@dataclass
class Tally:
    """What became of the requests."""

    answered: Counter[str] = field(default_factory=Counter)
    full: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


async def ask(client: httpx.AsyncClient, name: str, data: list, tally: Tally) -> None:
    """One request through the queue, to its end."""
    start = time.monotonic()
    try:
        answer = await client.post(f"call/{name}", json={"data": data})
        if answer.status_code == 503:
            tally.full[answer.json()["detail"]] += 1
            return
        answer.raise_for_status()
        event = answer.json()["event_id"]
        async with client.stream("GET", f"call/{name}/{event}") as stream:
            text = "".join([line + "\n" async for line in stream.aiter_lines()])
        if "event: complete" in text:
            tally.answered[name] += 1
            tally.seconds.append(time.monotonic() - start)
        else:
            tally.lost[text[-200:]] += 1
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        tally.lost[repr(error)] += 1


async def session(server: Server, number: int, end: float, tally: Tally) -> None:
    """Four of five sessions send a photo of their own, the others logits."""
    async with httpx.AsyncClient(base_url=f"{server.url}/gradio_api/", timeout=300) as client:
        if number % 5 == 0:
            while time.monotonic() < end:
                await ask(client, "smooth", [[2, 1, 0], 0, 0.1], tally)
                await asyncio.sleep(0.5)
            return
        try:
            upload = await client.post("upload", files={"files": (f"{number}.jpg", PHOTO)})
            data = [{"path": upload.json()[0], "meta": FILE}]
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            tally.lost[f"upload: {error!r}"] += 1
            return
        while time.monotonic() < end:
            await ask(client, "classify", data, tally)
            await asyncio.sleep(0.5)


async def load(server: Server, sessions: int, seconds: float) -> Tally:
    """All sessions at once."""
    tally = Tally()
    end = time.monotonic() + seconds
    await asyncio.gather(*(session(server, number, end, tally) for number in range(sessions)))
    return tally


def one_session(server: Server, times: int = 20) -> float:
    """Median seconds to classify one photo with nobody else there."""
    took = []
    for _ in range(times):
        start = time.monotonic()
        server.classify("photo.jpg", PHOTO)
        took.append(time.monotonic() - start)
    return statistics.median(took)


def measured(server: Server) -> dict[str, float]:
    """Latency in milliseconds of one photo with nobody else there, and what the server holds."""
    return {"one photo, median": 1000 * one_session(server)} | held(server.process.pid)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=200, help="at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of load (%(default)s)")
    parser.add_argument("--quiet", type=float, default=60, help="seconds at the end (%(default)s)")
    arguments = parser.parse_args()
    waves = []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        one_session(server)  # so that all that is loaded once is loaded
        columns = {"before": measured(server)}
        for name in ("after the first wave", "after the second"):
            start = time.monotonic()
            waves.append(asyncio.run(load(server, arguments.sessions, arguments.seconds)))
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
            time.sleep(5)
            columns[name] = measured(server)
        time.sleep(arguments.quiet)
        columns[f"{arguments.quiet:.0f} s later"] = measured(server)
        alive = server.process.poll() is None
    print("| | " + " | ".join(columns) + " |\n| --- |" + " --: |" * len(columns))
    units = {"one photo, median": " ms", "memory": " MB"}
    for row in columns["before"]:
        cells = [f"{column[row]:,.0f}{units.get(row, '')}" for column in columns.values()]
        print(f"| {row} | " + " | ".join(cells) + " |")
    print(f"\n| {arguments.sessions} sessions, {arguments.seconds:.0f} s | first wave | second |")
    print("| --- | --: | --: |")
    for kind, label in (("answered", "answered: {}"), ("full", "“{}”"), ("lost", "lost: {}")):
        for name in sorted({key for tally in waves for key in getattr(tally, kind)}):
            counts = " | ".join(f"{getattr(tally, kind)[name]:,}" for tally in waves)
            print(f"| {label.format(name)} | {counts} |")
    lost = [tally.lost.total() for tally in waves]
    print("| neither | " + " | ".join(f"{count:,}" for count in lost) + " |")
    medians = [statistics.median(tally.seconds or [0]) for tally in waves]
    print("| an answer took, median | " + " | ".join(f"{m:.1f} s" for m in medians) + " |")
    longest = [max(tally.seconds, default=0) for tally in waves]
    print("| an answer took, at most | " + " | ".join(f"{m:.1f} s" for m in longest) + " |")
    if any(lost) or not alive:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
