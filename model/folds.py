"""Compare penalties of the head's last fit, without the test split: `python -m model.folds`.

Five-fold cross-validation on trainval: the body is the initialisation, which has seen no photo of
the dataset, and a head is fitted to its activations as at the end of `model/train.py`. A fold is a
run of each breed's file names, since neighbours often show the same animal on the same day. Writes
`model/checkpoints/folds.csv` and prints it as a table.
"""

from __future__ import annotations

import argparse
import csv
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import calibration, network, pets, report, train

FOLDS = 5
EPSILONS = (0.0, 0.1)
ROWS = network.CHECKPOINTS / "folds.csv"


@dataclass(frozen=True)
class Penalty:
    """See ``train.fit_head`` and, for the first two, ``train.imagenet_templates``."""

    prior: float
    others: float
    shrink: float
    decay: float


GRID = [
    Penalty(*values)
    for values in (
        (0, 0, 1, 0.05),
        (0, 0, 0.6, 0.03),
        (0.7, 0, 1, 0.05),
        (0.7, 0, 0.6, 0.03),
        (0.7, 0.7, 0.6, 0.01),
        (0.7, 0.7, 0.6, 0.02),
        (0.7, 0.7, 0.6, 0.03),
        (0.7, 0.7, 0.6, 0.05),
        (0.7, 0.7, 0.3, 0.03),
        (0.7, 0.7, 0.8, 0.03),
        (1, 1, 0.6, 0.03),
    )
]


@dataclass(frozen=True)
class Row(Penalty):
    """A penalty with the scores on the folds left out, of all of trainval at once."""

    epsilon: float
    error: float
    nll: float
    confidence: float


def folds(labels: NDArray[np.int64], count: int = FOLDS) -> NDArray[np.int64]:
    """The fold ``(n,)``, 0 to ``count`` − 1, of photos sorted by name with labels ``(n,)``."""
    result = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        for fold, members in enumerate(np.array_split(np.flatnonzero(labels == label), count)):
            result[members] = fold
    return result


def validate(
    views: list[Tensor],
    labels: NDArray[np.int64],
    epsilon: float,
    penalty: Penalty,
    known: train.ImageNetHead,
) -> Row:
    """Fit a head without each fold in turn, and score all answers on the photos left out.

    Args:
        views: activations ``(n, D)`` of the photos, sorted by name, then of their mirror images.
        labels: ``(n,)``.
        epsilon: of the label smoothing loss.
        penalty: of the fit.
        known: ImageNet's head.
    """
    logits = np.zeros((len(labels), len(pets.BREEDS)), dtype=np.float32)
    member = folds(labels)
    for fold in range(FOLDS):
        kept = torch.from_numpy(member != fold)
        features = torch.cat([view[kept] for view in views])
        learned = torch.from_numpy(labels)[kept].repeat(len(views))
        templates = train.imagenet_templates(
            known, features, learned, penalty.prior, penalty.others
        )
        weight, bias = train.fit_head(
            features, learned, epsilon, penalty.decay, templates, penalty.shrink
        )
        logits[~kept.numpy()] = (views[0][~kept] @ weight.T + bias).numpy()
    probabilities = calibration.softmax(logits)
    return Row(
        **asdict(penalty),
        epsilon=epsilon,
        error=calibration.error(probabilities, labels),
        nll=calibration.nll(probabilities, labels),
        confidence=float(probabilities.max(axis=-1).mean()),
    )


def table(rows: list[Row]) -> report.Table:
    """A line for each penalty, the lowest of each column marked."""
    scores = [(name, epsilon) for name in ("error", "nll") for epsilon in EPSILONS]
    titles = [f"{'Wrong' if name == 'error' else 'NLL'}, ε = {e:g}" for name, e in scores]
    result = report.Table(["Prior", "Others", "Shrink", "Decay", *titles])
    found: dict[Penalty, dict[tuple[str, float], float]] = {}
    for row in rows:
        values = found.setdefault(Penalty(row.prior, row.others, row.shrink, row.decay), {})
        for name in ("error", "nll"):
            values[name, row.epsilon] = getattr(row, name)
    lowest = {score: min(values[score] for values in found.values()) for score in scores}
    for penalty, values in found.items():
        cells = [report.Cell(f"{value:g}") for value in asdict(penalty).values()]
        for score in scores:
            value = values[score]
            text = f"{100 * value:.2f} %" if score[0] == "error" else f"{value:.3f}"
            cells.append(report.Cell(text, marked=value == lowest[score]))
        result.rows.append(cells)
    return result


def read(path: Path = ROWS) -> list[Row]:
    """What was measured last.

    Raises:
        ValueError: the file is missing or not one of ours; it says what to do.
    """
    try:
        with path.open(newline="") as file:
            return [
                Row(**{name: float(text) for name, text in row.items()})
                for row in csv.DictReader(file)
            ]
    except (OSError, TypeError, ValueError) as problem:
        raise ValueError(
            f"{path} cannot be read ({problem}). Restore it from the repository, or make it with "
            "`python -m model.folds`."
        ) from problem


def write(rows: list[Row], path: Path = ROWS) -> None:
    """Write the rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(asdict(rows[0]))
        writer.writerows([f"{value:.6g}" for value in asdict(row).values()] for row in rows)


def measure(args: argparse.Namespace) -> list[Row]:
    """Every penalty of ``GRID`` at every ε."""
    torch.set_num_threads(args.threads)
    photos = pets.official_split(pets.find_root(args.data), "trainval")
    labels = np.array([photo.label for photo in photos])
    classifier = train.untrained(args.arch, args.init)
    views = [
        network.predict(classifier, photos, args.image_size, bf16=True, mirrored=mirrored)[1]
        for mirrored in (False, True)
    ]
    known = train.imagenet_head(args.arch, args.init)
    rows = []
    for penalty in GRID:
        for epsilon in EPSILONS:
            rows.append(validate(views, labels, epsilon, penalty, known))
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.folds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with oxford-iiit-pet/; PETS_DATA or download if absent")
    add("--init", type=Path, help="local ImageNet state dict; torchvision's weights if absent")
    add("--arch", choices=network.ARCHITECTURES, default="resnet50", help="the body (%(default)s)")
    add("--image-size", type=int, default=320, help="side of the square, pixels (%(default)s)")
    add("--threads", type=int, default=os.cpu_count(), help="CPU threads (all of them)")
    add("--rows", type=Path, default=ROWS, help="the file of the results (%(default)s)")
    add("--table-only", action="store_true", help="fit nothing, print what was measured")
    args = parser.parse_args()
    try:
        if not args.table_only:
            write(measure(args), args.rows)
        print(table(read(args.rows)).markdown())
    except ValueError as problem:
        raise SystemExit(str(problem)) from None


if __name__ == "__main__":
    main()
