"""What the app does under load: `python tests/benchmarks/load_test.py`.

Starts the app on this machine and lets 200 sessions send it photos and logits for 60 seconds, one
request after another, as programs do that do not wait when they are told to come back later.
Prints how many requests were answered, how many were told that the queue is full and in which
words, how many got neither (has to be 0); and latency and memory of one session before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
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
from tests.serving import Server, children, served  # noqa: E402

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


def memory(server: Server) -> float:
    """MB of the server and its decoders (Linux)."""
    size = 0.0
    for pid in [server.process.pid, *children(server.process.pid)]:
        status = Path(f"/proc/{pid}/status").read_text()
        size += int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1000
    return size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=200, help="at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of load (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        one_session(server)  # so that all that is loaded once is loaded
        latency, size = one_session(server), memory(server)
        start = time.monotonic()
        tally = asyncio.run(load(server, arguments.sessions, arguments.seconds))
        lasted = time.monotonic() - start
        time.sleep(5)
        latency_after, size_after = one_session(server), memory(server)
        alive = server.process.poll() is None
    seconds = sorted(tally.seconds) or [0.0]
    print("| | before | after |\n| --- | --: | --: |")
    print(f"| one photo, median | {latency * 1000:.0f} ms | {latency_after * 1000:.0f} ms |")
    print(f"| memory | {size:.0f} MB | {size_after:.0f} MB |\n")
    print(f"| {arguments.sessions} sessions, {lasted:.0f} s | requests |\n| --- | --: |")
    for name, count in tally.answered.items():
        print(f"| answered: {name} | {count:,} |")
    for message, count in tally.full.items():
        print(f"| “{message}” | {count:,} |")
    print(f"| neither | {tally.lost.total():,} |")
    for message, count in tally.lost.most_common(5):
        print(f"  {count} × {message}")
    median, longest = statistics.median(seconds), seconds[-1]
    print(f"\nAn answer took {median:.1f} s (median), at most {longest:.1f} s.")
    if tally.lost or not alive:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
