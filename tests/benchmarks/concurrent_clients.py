"""Clients that classify at once: `python tests/benchmarks/concurrent_clients.py`.

Starts the app on this machine. 1, 4, 16 and 64 clients upload a photo and ask for both
distributions over HTTP, one after another as fast as they are answered. The exit code is 1 when a
target is missed: throughput of 16 at least 1.3 times that of one, no error with 64, and the 95th
percentile of 16 within twice 16 ÷ throughput.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import hostile  # noqa: E402
from tests.serving import memory, served  # noqa: E402

CLIENTS = (1, 4, 16, 64)
FASTER, SLOWER = 1.3, 2.0  # the targets
PHOTO = hostile.encode(hostile.picture(800, 600), "JPEG")
# Put together once, and sent by the plainest of clients: it shares the server's cores.
BOUNDARY = "boundary=between-parts"
UPLOAD = b"".join(
    (
        b"--between-parts\r\n",
        b'Content-Disposition: form-data; name="files"; filename="photo.jpg"\r\n\r\n',
        PHOTO,
        b"\r\n--between-parts--\r\n",
    )
)


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


def exchange(connection: HTTPConnection, path: str, body: bytes | None, kind: str) -> str:
    """The answer to a GET, or to a POST of ``body``."""
    method = "GET" if body is None else "POST"
    connection.request(method, f"/gradio_api/{path}", body, {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        raise ValueError(f"{answer.status} {text[-200:]}")
    return text


def classify(connection: HTTPConnection) -> None:
    """Upload the photo and wait for its answer."""
    (path,) = json.loads(exchange(connection, "upload", UPLOAD, f"multipart/form-data; {BOUNDARY}"))
    asked = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()
    event = json.loads(exchange(connection, "call/classify", asked, "application/json"))["event_id"]
    answer = exchange(connection, f"call/classify/{event}", None, "")
    if "event: complete" not in answer:
        raise ValueError(answer[-200:])
    line = next(line for line in answer.splitlines() if line.startswith("data: "))
    if len(json.loads(line[6:])[0]["smoothed"]["probabilities"]) != 37:
        raise ValueError("an answer without 37 probabilities")


def ask(url: str, clients: int, seconds: float) -> Round:
    """All clients at once, for some seconds."""
    result = Round(clients)
    start = time.monotonic()

    def one() -> None:
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=120)) as connection:
            while time.monotonic() < start + seconds:
                began = time.monotonic()
                try:
                    classify(connection)
                    result.seconds.append(time.monotonic() - began)
                except (HTTPException, OSError, ValueError, KeyError) as error:
                    result.errors.append(repr(error))
                    connection.close()  # it opens again by itself
                    time.sleep(0.1)

    with ThreadPoolExecutor(clients) as pool:
        for client in [pool.submit(one) for _ in range(clients)]:
            client.result()
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
        ask(url, 4, 2)  # so that all that is loaded once is loaded
        for clients in CLIENTS:
            rounds[clients] = ask(url, clients, arguments.seconds)
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
