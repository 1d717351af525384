"""From a photo's bytes to both distributions: `python tests/benchmarks/photo_latency.py`.

Compares what is served with two fastai `learn.predict`, with PyTorch eager and ONNX Runtime in
fp32, all on the same weights, at the pair's own image size and on all cores, in turns. The limit is
both networks' multiply-adds over the best matrix rate that this machine reaches in the same run;
below it stands what is left where both begin with the same layers, which then run once.
The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from model import engine, network, pets, quantize  # noqa: E402
from model.calibration import softmax  # noqa: E402
from model.checkpoint import CHECKPOINTS, PAIR  # noqa: E402
from model.classifier import Pair, open_photo  # noqa: E402
from tests import hostile  # noqa: E402
from tests.benchmarks.fastai_peer import learners  # noqa: E402

TO_FASTAI, TO_LIMIT = 0.25, 1.0  # the targets


def matrix_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Multiply-adds per second of the best of ten square matrix products."""
    a, b = torch.randn(2, size, size).to(dtype)
    best = min(timed(lambda: a @ b) for _ in range(10))
    return size**3 / best


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def multiply_adds(networks: Sequence[nn.Module], size: int) -> int:
    """Of all networks, on one photo."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for net in networks:
            net(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=30, help="each (%(default)s)")
    parser.add_argument("--photo", type=Path, help="a JPEG; one of 1,600 × 1,200 is made if absent")
    arguments = parser.parse_args()
    picture = hostile.encode(hostile.picture(1600, 1200), "JPEG")
    data = arguments.photo.read_bytes() if arguments.photo else picture
    torch.set_num_threads(engine.cores())
    pair = Pair()
    size = pair.image_size
    networks = [network.load(CHECKPOINTS / f"{name}.safetensors")[0] for name in PAIR]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        fastai = learners(place)
        photo = place / "photo.jpg"
        photo.write_bytes(data)
        sessions = []
        for name in PAIR:
            quantize.export(CHECKPOINTS / f"{name}.safetensors", place / f"{name}.onnx")
            sessions.append(quantize.onnx_runtime(place / f"{name}.onnx"))

        def predict() -> None:
            for learner in fastai:
                with learner.no_bar():
                    learner.predict(photo)

        def eager() -> None:
            tensor = pets.evaluation_transform(open_photo(data, size), size)[None]
            with torch.inference_mode():
                for classifier in networks:
                    softmax(classifier(tensor)[0].numpy())

        def exact() -> None:
            pixels = pets.pixels(open_photo(data, size), size)[None]
            for session in sessions:
                softmax(session(pixels)[0])

        def served() -> None:
            softmax(pair(open_photo(data, size)).logits)

        runs = {
            f"served ({pair.engine.name})": served,
            "two fastai learn.predict": predict,
            "PyTorch eager fp32": eager,
            "ONNX Runtime fp32": exact,
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(arguments.times + 2):  # the first two are not counted
            for name, run in runs.items():
                took = timed(run)
                if turn >= 2:
                    seconds[name].append(took)
        pixels = pets.pixels(Image.open(photo).convert("RGB"), size)[None]
        bare = statistics.median(timed(lambda: pair.engine(pixels)) for _ in range(arguments.times))
    work = multiply_adds(networks, size)
    once = multiply_adds([network.Together(networks)], size)
    rates = {name: matrix_rate(getattr(torch, name)) for name in ("bfloat16", "float32")}
    limits = {
        "limit in bf16": work / rates["bfloat16"],
        "limit in fp32": work / rates["float32"],
        "limit in bf16, common layers once": once / rates["bfloat16"],
    }
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = next(iter(medians.values()))
    print(f"{size} px, {work / 1e9:.1f} G multiply-adds, {engine.cores()} cores, ", end="")
    print(f"medians of {arguments.times}\n\n| | ms | served takes |\n| --- | --: | --: |")
    for name, median in (medians | limits).items():
        print(f"| {name} | {median * 1000:.1f} | × {ours / median:.2f} |")
    print(f"| served, without decoding | {bare * 1000:.1f} | |")
    kept = ours <= TO_FASTAI * medians["two fastai learn.predict"] and ours <= TO_LIMIT * min(
        limits["limit in bf16"], limits["limit in fp32"]
    )
    print(f"\nTargets: × {TO_FASTAI} of fastai, × {TO_LIMIT} of the lower limit: ", end="")
    print("met" if kept else "missed")
    return 0 if kept and np.isfinite(ours) else 1


if __name__ == "__main__":
    raise SystemExit(main())
