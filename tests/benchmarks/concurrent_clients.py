"""Clients that classify at once: `python tests/benchmarks/concurrent_clients.py`.

Starts the app on this machine. 1, 4, 16 and 64 clients upload a photo and ask for both
distributions over HTTP, one after another as fast as they are answered. The exit code is 1 when a
target is missed: throughput of 16 at least 1.3 times that of one, no error with 64, and the 95th
percentile of 16 within twice 16 ÷ throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import hostile  # noqa: E402
from tests.serving import memory, served  # noqa: E402

CLIENTS = (1, 4, 16, 64)
FASTER, SLOWER = 1.3, 2.0  # the targets
PHOTO = hostile.encode(hostile.picture(800, 600), "JPEG")


@dataclass
class Round:
    """What a number of clients got."""

    clients: int
    lasted: float = 0.0
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    megabytes: float = 0.0

    @property
    def throughput(self) -> float:
        """Photos per second."""
        return len(self.seconds) / self.lasted

    def percentile(self, share: float) -> float:
        """Seconds that this share of the answers took at most."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


async def classify(client: httpx.AsyncClient) -> None:
    """Upload the photo and wait for its answer."""
    upload = await client.post("upload", files={"files": ("photo.jpg", PHOTO)})
    data = [{"path": upload.raise_for_status().json()[0], "meta": {"_type": "gradio.FileData"}}]
    asked = await client.post("call/classify", json={"data": data})
    event = asked.raise_for_status().json()["event_id"]
    answer = await client.get(f"call/classify/{event}")
    if "event: complete" not in answer.text:
        raise ValueError(answer.text[-200:])
    line = next(line for line in answer.text.splitlines() if line.startswith("data: "))
    if len(json.loads(line[6:])[0]["smoothed"]["probabilities"]) != 37:
        raise ValueError("an answer without 37 probabilities")


async def ask(url: str, clients: int, seconds: float) -> Round:
    """All clients at once, for some seconds."""
    result = Round(clients)
    start = time.monotonic()

    async def one() -> None:
        async with httpx.AsyncClient(base_url=f"{url}/gradio_api/", timeout=120) as client:
            while time.monotonic() < start + seconds:
                began = time.monotonic()
                try:
                    await classify(client)
                    result.seconds.append(time.monotonic() - began)
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    result.errors.append(repr(error))
                    await asyncio.sleep(0.1)

    await asyncio.gather(*(one() for _ in range(clients)))
    result.lasted = time.monotonic() - start
    return result


@contextmanager
def running(url: str | None) -> Iterator[tuple[str, int | None]]:
    """The address of a server, and its process if it was started here."""
    if url:
        yield url, None
        return
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        yield server.url, server.process.pid


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30, help="each (%(default)s)")
    parser.add_argument("--url", help="of a server that runs already; one is started if absent")
    arguments = parser.parse_args()
    rounds: dict[int, Round] = {}
    with running(arguments.url) as (url, pid):
        asyncio.run(ask(url, 4, 2))  # so that all that is loaded once is loaded
        for clients in CLIENTS:
            rounds[clients] = asyncio.run(ask(url, clients, arguments.seconds))
            rounds[clients].megabytes = memory(pid) if pid else 0
    print("| clients | photos/s | median s | 95 % s | errors | memory MB |")
    print("| --: | --: | --: | --: | --: | --: |")
    for clients, got in rounds.items():
        if not got.seconds:
            print(f"| {clients} | 0 | | | {len(got.errors)} | |")
            continue
        median, late = statistics.median(got.seconds), got.percentile(0.95)
        size = f"{got.megabytes:.0f}" if got.megabytes else ""
        cells = f"{got.throughput:.1f} | {median:.3f} | {late:.3f} | {len(got.errors)} | {size}"
        print(f"| {clients} | {cells} |")
    for message in {message for got in rounds.values() for message in got.errors}:
        print(f"error: {message}")
    if not all(got.seconds for got in rounds.values()):
        return 1
    gain, many = rounds[16].throughput / rounds[1].throughput, rounds[16]
    allowed = SLOWER * 16 / many.throughput
    print(f"\n16 clients: × {gain:.2f} of one's throughput (target {FASTER}), ", end="")
    print(f"95 % within {many.percentile(0.95):.3f} s (target {allowed:.3f} s)")
    errors = sum(len(got.errors) for got in rounds.values())
    kept = gain >= FASTER and many.percentile(0.95) <= allowed and not errors
    print(f"Targets: {'met' if kept else 'missed'}")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
