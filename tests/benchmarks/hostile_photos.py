"""What the app does with 2,000 damaged photos: `python tests/benchmarks/hostile_photos.py`.

Sends every kind of valid file, each truncated at every tenth, files that are no photos, bombs, and
seeded mutations through `open_photo` and both classifiers. Prints, by kind: how many were tried,
how many ended in a distribution and in which sentence, the longest time, the highest memory; and
crashes, hangs (over 10 s) and leaks, which all have to be 0.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from model import sandbox  # noqa: E402
from model.calibration import softmax  # noqa: E402
from model.classifier import Pair, open_photo  # noqa: E402
from tests import hostile  # noqa: E402
from tests.serving import held  # noqa: E402

HANG = 10.5  # seconds: the limit, and the time that ending a process takes
LEAK = 60.0  # MB that a decoder may have more after an ordinary photo than before


@dataclass
class Row:
    """What happened to one kind of input."""

    tried: int = 0
    distributions: int = 0
    refusals: int = 0
    ended: int = 0  # decoders that crashed or were ended; the server goes on
    crashes: int = 0
    hangs: int = 0
    slowest: float = 0.0
    memory: float = 0.0
    messages: Counter[str] = field(default_factory=Counter)


def inputs(mutations: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Everything that is sent, with its kind."""
    valid = hostile.valid_files()
    for data in valid.values():
        yield "valid files", data
    for data in valid.values():
        for tenth in range(1, 10):
            yield "truncated", data[: len(data) * tenth // 10]
    for data in hostile.foreign_files().values():
        yield "no photos", data
    for data in hostile.bombs().values():
        yield "bombs", data
    for _, kind, data in hostile.mutations(mutations, seed):
        yield f"mutation: {kind}", data


def send(pair: Pair, data: bytes, row: Row) -> None:
    """One input, as the page would."""
    row.tried += 1
    resting = hostile.reset_peak() if sandbox.idle.qsize() else 45.0
    before = {decoder.process.pid for decoder in sandbox.idle.queue}
    start = time.monotonic()
    try:
        probabilities = softmax(pair(open_photo(data, pair.image_size)).logits)
        if not np.allclose(probabilities.sum(axis=-1), 1):
            raise AssertionError("no distribution")
        row.distributions += 1
    except ValueError as refusal:
        row.refusals += 1
        row.messages[" ".join(str(refusal).split(":")[-1].split())] += 1
    except Exception as error:
        row.crashes += 1
        row.messages[f"CRASH {error!r}"] += 1
    took = time.monotonic() - start
    row.hangs += took > HANG
    row.slowest = max(row.slowest, took)
    row.ended += bool(before - {decoder.process.pid for decoder in sandbox.idle.queue})
    if sandbox.idle.qsize():
        row.memory = max(row.memory, hostile.decoder_memory("VmHWM") - resting)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutations", type=int, default=2000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (%(default)s)")
    arguments = parser.parse_args()
    pair = Pair()
    ordinary = hostile.valid_files()["JPEG"]
    pair(open_photo(ordinary, pair.image_size))  # so that its threads are there
    resting, before = hostile.decoder_memory("VmRSS"), held(os.getpid())
    rows: dict[str, Row] = defaultdict(Row)
    for kind, data in inputs(arguments.mutations, arguments.seed):
        send(pair, data, rows[kind])
    open_photo(ordinary)
    open_photo(ordinary)
    leaked = hostile.decoder_memory("VmRSS") - resting
    after = held(os.getpid())
    more = {key: int(after[key] - before[key]) for key in ("descriptors", "threads", "processes")}
    leaks = int(leaked > LEAK) + sum(max(0, count) for count in more.values())

    print("| input | tried | distribution | one sentence | decoders ended | longest | memory |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for kind, row in rows.items():
        print(
            f"| {kind} | {row.tried} | {row.distributions} | {row.refusals} | {row.ended} "
            f"| {row.slowest:.1f} s | {row.memory:.0f} MB |"
        )
    total = list(rows.values())
    print(
        f"\n{sum(r.tried for r in total):,} inputs: crashes {sum(r.crashes for r in total)}, "
        f"hangs {sum(r.hangs for r in total)}, leaks {leaks} "
        f"(at the end, memory of the decoder {leaked:+.0f} MB, "
        + ", ".join(f"{key} {count:+d}" for key, count in more.items())
        + ").\n"
    )
    print("| what the sentence advises | times |\n| --- | --: |")
    messages = sum((row.messages for row in total), Counter())
    for message, times in messages.most_common():
        print(f"| {message} | {times} |")
    if leaks or any(row.crashes or row.hangs for row in total):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
