"""Resident memory over 2,000 classifications: `python tests/benchmarks/memory.py`.

Starts the app and sends it photos of several sizes and formats, from four clients at once. The exit
code is 1 when the memory, decoders included, exceeds 1.5 GiB or still grows: by more than 2 % from
the first half of the run to its end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import hostile  # noqa: E402
from tests.serving import memory, served  # noqa: E402

MOST, GROWTH = 1.5 * 2**30 / 1e6, 1.02  # MB, the targets
PHOTOS = [
    ("JPEG", (800, 600)),
    ("PNG", (400, 500)),
    ("JPEG", (3000, 2000)),
    ("WEBP", (1200, 900)),
]
REPORTS = 10


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=2000, help="in all (%(default)s)")
    times = parser.parse_args().times
    files = [(f"photo.{k}", hostile.encode(hostile.picture(*s), k)) for k, s in PHOTOS]
    sizes: list[float] = []
    print("| classifications | memory MB |\n| --: | --: |")
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        print(f"| 0 | {memory(server.process.pid):.0f} |")
        with ThreadPoolExecutor(4) as pool:
            for part in range(REPORTS):
                numbers = range(part * times // REPORTS, (part + 1) * times // REPORTS)
                list(pool.map(lambda n: server.classify(*files[n % len(files)]), numbers))
                sizes.append(memory(server.process.pid))
                print(f"| {numbers.stop} | {sizes[-1]:.0f} |", flush=True)
    grown = sizes[-1] / max(sizes[: REPORTS // 2])
    kept = max(sizes) <= MOST and grown <= GROWTH
    print(
        f"\nAt most {max(sizes):.0f} MB (target {MOST:.0f}), × {grown:.3f} in the second half ",
        end="",
    )
    print(f"(target {GROWTH}): {'met' if kept else 'missed'}")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
