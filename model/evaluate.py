"""Measure the pair on the official test split: `python -m model.evaluate`.

Writes, beside the checkpoints, what everything after training is computed from:
`evaluation.npz` (logits and penultimate activations of all 3,669 test photos) and `metrics.json`
(scores with 95 % bootstrap intervals).
They speak of what is served, the 8-bit models of `python -m model.quantize`, unless `--fp32` is
given.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import calibration, engine, integrity, pets
from model.checkpoint import CHECKPOINTS, PAIR

KEPT_VARIANCE = 0.99
BATCH = 8


@dataclass(frozen=True)
class Penultimate:
    """Penultimate activations of n photos in the k directions that carry their variance.

    A new photo's activations ``f`` ``(D,)`` become ``(f - mean) @ rotation`` ``(k,)``; logits are
    ``features @ templates.T + bias``, up to the variance left out.
    """

    features: NDArray[np.float16]  # (n, k)
    mean: NDArray[np.float32]  # (D,)
    rotation: NDArray[np.float32]  # (D, k), orthonormal columns
    templates: NDArray[np.float32]  # (37, k), the head's weights, rotated
    bias: NDArray[np.float32]  # (37,)


@dataclass(frozen=True)
class Evaluation:
    """Both classifiers on the test split; index 0 is the unsmoothed, 1 the smoothed."""

    logits: NDArray[np.float32]  # (2, n, 37)
    labels: NDArray[np.int64]  # (n,)
    names: NDArray[np.str_]  # (n,), file stems
    penultimate: tuple[Penultimate, Penultimate]


def rotate(features: NDArray[np.float32], weight: NDArray, bias: NDArray) -> Penultimate:
    """Principal components of activations ``(n, D)`` that keep 99 % of their variance."""
    mean = features.mean(axis=0)
    _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
    share = np.cumsum(singular**2) / np.sum(singular**2)
    kept = int(np.searchsorted(share, KEPT_VARIANCE)) + 1
    rotation = directions[:kept].T
    return Penultimate(
        features=((features - mean) @ rotation).astype(np.float16),
        mean=mean.astype(np.float32),
        rotation=np.ascontiguousarray(rotation, dtype=np.float32),
        templates=(weight @ rotation).astype(np.float32),
        bias=(bias + weight @ mean).astype(np.float32),
    )


def save(path: Path, evaluation: Evaluation) -> None:
    """Write an ``Evaluation`` as ``evaluation.npz``; the file appears whole or not at all, and
    its sum beside it."""
    arrays: dict[str, Any] = {
        "logits": evaluation.logits,
        "labels": evaluation.labels,
        "names": evaluation.names,
    }
    for name, penultimate in zip(PAIR, evaluation.penultimate, strict=True):
        arrays |= {f"{field}_{name}": array for field, array in vars(penultimate).items()}
    unfinished = path.with_suffix(".unfinished.npz")
    try:
        np.savez_compressed(unfinished, **arrays)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    integrity.record(path)


def load(path: Path = CHECKPOINTS / "evaluation.npz") -> Evaluation:
    """Read ``evaluation.npz``.

    Raises:
        ValueError: the file is missing, damaged or does not fit our 37 breeds; it says what to do.
    """
    remedy = "Restore it from the repository, or make it anew with `python -m model.evaluate`."
    if not path.is_file():
        raise ValueError(f"{path} is missing. {remedy}")
    integrity.check(path, remedy)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            fields = Penultimate.__dataclass_fields__
            evaluation = Evaluation(
                logits=arrays["logits"],
                labels=arrays["labels"],
                names=arrays["names"],
                penultimate=tuple(  # type: ignore[arg-type]
                    Penultimate(**{field: arrays[f"{field}_{name}"] for field in fields})
                    for name in PAIR
                ),
            )
        fits = fits_together(evaluation)
    except Exception as problem:  # a damaged archive makes zipfile, zlib or NumPy raise anything
        raise ValueError(f"{path} is damaged: {problem}. {remedy}") from problem
    if not fits:
        raise ValueError(
            f"{path} does not hold the logits and activations of our 37 breeds. {remedy}"
        )
    return evaluation


def fits_together(evaluation: Evaluation) -> bool:
    """Whether all arrays have the shapes and types they must have, and hold numbers alone."""
    n, classes = evaluation.labels.size, len(pets.BREEDS)
    numbers = [evaluation.logits]
    shapes = [(evaluation.logits, (2, n, classes)), (evaluation.names, (n,))]
    shapes.append((evaluation.labels, (n,)))
    for penultimate in evaluation.penultimate:
        size, kept = penultimate.rotation.shape
        shapes += [
            (penultimate.features, (n, kept)),
            (penultimate.mean, (size,)),
            (penultimate.templates, (classes, kept)),
            (penultimate.bias, (classes,)),
        ]
        numbers += vars(penultimate).values()
    return (
        all(array.shape == shape for array, shape in shapes)
        and all(np.issubdtype(a.dtype, np.floating) and np.isfinite(a).all() for a in numbers)
        and np.issubdtype(evaluation.labels.dtype, np.integer)
        and evaluation.names.dtype.kind == "U"
        and bool(np.isin(evaluation.labels, np.arange(classes)).all())
        and n > 0
    )


def metrics(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    """What ``metrics.json`` holds: for each classifier each score with its interval."""
    labels, drawn = evaluation.labels, calibration.draws(len(evaluation.labels))
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, logits in zip(PAIR, evaluation.logits, strict=True):
        probabilities = calibration.softmax(logits)
        spread = calibration.resampled(calibration.SCORES, probabilities, labels, drawn)
        result[name] = {
            score: calibration.interval(
                calibration.score(score, probabilities, labels), spread[score]
            )._asdict()
            for score in calibration.SCORES
        }
    return result


def table(scores: dict[str, dict[str, dict[str, float]]]) -> str:
    """``metrics.json`` as the Markdown table of README.md."""
    percent = ("error", "mean_confidence")

    def cell(score: str, interval: dict[str, float]) -> str:
        value, low, high = (interval[key] for key in ("value", "low", "high"))
        if score in percent:
            return f"{value:.1%} ({low:.1%} to {high:.1%})"
        return f"{value:.3f} ({low:.3f} to {high:.3f})"

    lines = ["| | " + " | ".join(PAIR) + " |", "| --- |" + " --- |" * len(PAIR)]
    for score in next(iter(scores.values())):
        cells = [cell(score, scores[name][score]) for name in PAIR]
        lines.append(f"| {score.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def evaluate(
    folder: Path, photos: list[pets.Photo], choose: Callable[[Path], engine.Engine]
) -> Evaluation:
    """Run the pair in ``folder`` over ``photos``, in the engine that ``choose`` gives for it."""
    from fastprogress.fastprogress import progress_bar

    from model import network

    chosen = choose(folder)
    for name, metadata in zip(PAIR, chosen.metadata, strict=True):
        print(f"{name}: {metadata.arch}, ε = {metadata.epsilon}, {metadata.image_size} px")
    print(f"In {chosen.name}.")
    batches = pets.pixel_batches(photos, chosen.metadata[0].image_size, BATCH)
    bar = progress_bar(batches, total=-(-len(photos) // BATCH))
    outputs = [chosen(pixels) for pixels in bar]
    logits, features = (np.concatenate(parts, axis=1) for parts in zip(*outputs, strict=True))
    penultimate = []
    for name, activations in zip(PAIR, features, strict=True):
        classifier, _ = network.load(folder / f"{name}.safetensors")
        head = classifier.resnet.fc
        weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
        penultimate.append(rotate(activations, weight, bias))
    return Evaluation(
        logits=logits,
        labels=np.array([photo.label for photo in photos]),
        names=np.array([photo.name for photo in photos]),
        penultimate=(penultimate[0], penultimate[1]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with oxford-iiit-pet/; PETS_DATA or a download if absent")
    add("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of the pair (%(default)s)")
    add("--fp32", action="store_true", help="the checkpoints in PyTorch, not the 8-bit models")
    add("--metrics-only", action="store_true", help="only recompute metrics.json from the .npz")
    args = parser.parse_args()
    if not (args.metrics_only or args.fp32 or engine.has_dot_products()):
        parser.exit(1, "This CPU has no 8-bit dot products: use another one, or --fp32.\n")
    try:
        if args.metrics_only:
            evaluation = load(args.checkpoints / "evaluation.npz")
        else:
            photos = pets.official_split(pets.find_root(args.data), "test")
            exact = partial(engine.Float, bf16=False)
            evaluation = evaluate(args.checkpoints, photos, exact if args.fp32 else engine.EightBit)
            save(args.checkpoints / "evaluation.npz", evaluation)
    except (OSError, ValueError) as problem:
        parser.exit(1, f"{problem}\n")
    scores = metrics(evaluation)
    (args.checkpoints / "metrics.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(table(scores))


if __name__ == "__main__":
    main()
