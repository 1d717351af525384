"""What ε does, measured: `python -m model.study` trains 15 small classifiers and compares them.

ε ∈ {0, 0.05, 0.1, 0.2, 0.4}, three seeds each, the whole of a ResNet-18 fine-tuned on trainval at
a resolution that a CPU can afford, measured on the official test split. At one seed all ε see the
same photos, crops and flips in the same batches. Every finished run adds a row to
`model/checkpoints/study.csv`; a command given again does what is missing, and prints the table. The
Calibration tab shows it too, so PyTorch is imported only where something is trained.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model import calibration, pets, report
from model.calibrators import fit_temperature
from model.checkpoint import CHECKPOINTS
from model.words import Say, english

EPSILONS = (0.0, 0.05, 0.1, 0.2, 0.4)
SEEDS = (0, 1, 2)
ROWS = CHECKPOINTS / "study.csv"

# Cheap, and without what the released pair's recipe adds after training (averaging with the
# initialisation, a last fit of the head), so that nothing but ε shapes what is compared.
RECIPE = {
    "arch": "resnet18",
    "size": 128,
    "image-size": 160,
    "head-epochs": 1,
    "epochs": 3,
    "share": 1,
}


@dataclass(frozen=True)
class Row:
    """One trained classifier on the test split. Errors and confidences are shares in [0, 1].

    ``*_cured``: after a temperature that was fitted on the other half of the test split.
    ``overconfidence``: mean confidence minus accuracy.
    ``aurc``: area under the risk–coverage curve of the maximum softmax probability.
    """

    epsilon: float
    seed: int
    error: float
    nll: float
    nll_cured: float
    ece: float
    ece_cured: float
    overconfidence: float
    aurc: float
    minutes: float


def cured(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities ``(n, 37)``, each half's by the temperature fitted on the other half."""
    probabilities = np.empty(logits.shape)
    halves = pets.test_halves(labels)
    for fitted, applied in (halves, halves[::-1]):
        temperature = fit_temperature(logits[fitted], labels[fitted])
        probabilities[applied] = temperature.apply(logits[applied])
    return probabilities


def measure(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    epsilon: float,
    seed: int,
    minutes: float,
) -> Row:
    """The row of a classifier with these test logits ``(n, 37)``."""
    before, after = calibration.softmax(logits), cured(logits, labels)
    confidence, right = calibration.top1(before, labels)
    return Row(
        epsilon=epsilon,
        seed=seed,
        error=calibration.error(before, labels),
        nll=calibration.nll(before, labels),
        nll_cured=calibration.nll(after, labels),
        ece=calibration.ece(before, labels),
        ece_cured=calibration.ece(after, labels),
        overconfidence=float(confidence.mean() - right.mean()),
        aurc=float(calibration.aurc_of_top1(confidence, right)),
        minutes=minutes,
    )


def possible(row: Row) -> bool:
    """Whether a row could have been measured: finite, and shares between 0 and 1."""
    shares = (row.epsilon, row.error, row.ece, row.ece_cured, row.aurc, abs(row.overconfidence))
    return bool(np.isfinite(list(asdict(row).values())).all()) and all(0 <= s <= 1 for s in shares)


def read(path: Path = ROWS) -> list[Row]:
    """The rows measured so far; none where there is no file.

    Raises:
        ValueError: the file is not one of ours; it says where, and what to do.
    """
    if not path.is_file():
        return []
    rows: list[Row] = []
    line = 0
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for fields in reader:
                line = reader.line_num
                seed = int(fields.pop("seed"))
                row = Row(seed=seed, **{name: float(text) for name, text in fields.items()})
                if not possible(row):
                    raise ValueError  # worded below
                rows.append(row)
    except (KeyError, TypeError, ValueError, csv.Error, OSError) as problem:
        raise ValueError(
            f"{path} is damaged or cannot be read (after line {line}): restore it from the "
            "repository, or delete it and measure it anew with `python -m model.study`."
        ) from problem
    return rows


def append(path: Path, row: Row) -> None:
    """Add a row; in one write, so that two commands may work on the same file."""
    values = [f"{value:.6g}" for value in asdict(row).values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        header = "" if file.tell() else ",".join(asdict(row)) + "\n"
        file.write(header + ",".join(values) + "\n")


@dataclass(frozen=True)
class Study:
    """All rows, by ε and seed; complete if each ε has every seed."""

    epsilons: NDArray[np.float64]  # (E,)
    seeds: tuple[int, ...]  # S of them
    values: dict[str, NDArray[np.float64]]  # (E, S) for each score of Row

    def rise(self, score: str, row: int) -> tuple[float, float]:
        """From ε = 0 to that of ``row``: mean and standard deviation of the seeds' differences."""
        difference = self.values[score][row] - self.values[score][0]
        return float(difference.mean()), float(difference.std(ddof=1))


def study(rows: list[Row]) -> Study:
    """The rows of every ε with the seeds that all of them have.

    Raises:
        ValueError: fewer than two ε, ε = 0 not among them, or fewer than two seeds in common.
    """
    found = {(row.epsilon, row.seed): row for row in rows}
    epsilons = sorted({epsilon for epsilon, _ in found})
    seeds = [
        seed
        for seed in sorted({seed for _, seed in found})
        if all((epsilon, seed) in found for epsilon in epsilons)
    ]
    if len(epsilons) < 2 or epsilons[0] != 0 or len(seeds) < 2:
        raise ValueError(
            "The study is not finished: it needs ε = 0, another ε and two seeds of each; give "
            "`python -m model.study` again."
        )
    scores = [name for name in Row.__dataclass_fields__ if name not in ("epsilon", "seed")]
    values = {
        score: np.array([[getattr(found[e, s], score) for s in seeds] for e in epsilons])
        for score in scores
    }
    return Study(np.array(epsilons), tuple(seeds), values)


def load(path: Path = ROWS) -> Study:
    """What was measured.

    Raises:
        ValueError: the file is missing, damaged or unfinished; one sentence says what to do.
    """
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: restore it from the repository, or measure it anew with "
            "`python -m model.study`."
        )
    return study(read(path))


COLUMNS = {
    "error": "Wrong, %",
    "nll": "NLL",
    "nll_cured": "NLL, cured",
    "ece": "ECE",
    "ece_cured": "ECE, cured",
    "overconfidence": "Confidence − accuracy, points",
    "aurc": "AURC",
}
PERCENT = ("error", "overconfidence")
DECIMALS = {"aurc": 4}


def written(score: str, value: float) -> str:
    """A score as the table writes it, in the unit of its column's title."""
    return (
        f"{100 * value:.1f}".replace("-", "−")
        if score in PERCENT
        else f"{value:.{DECIMALS.get(score, 3)}f}"
    )


def table(measured: Study) -> report.Table:
    """Mean ± standard deviation over the seeds of each score at each ε; the best is marked."""
    result = report.Table(["ε", *COLUMNS.values()])
    means = {score: np.abs(measured.values[score].mean(axis=1)) for score in COLUMNS}
    for row, epsilon in enumerate(measured.epsilons):
        cells = [report.Cell(f"{epsilon:g}")]
        for score in COLUMNS:
            values = measured.values[score][row]
            text = f"{written(score, values.mean())} ± {written(score, values.std(ddof=1))}"
            cells.append(report.Cell(text, marked=row == int(means[score].argmin())))
        result.rows.append(cells)
    return result


def on_error(measured: Study, say: Say = english) -> str:
    """Whether any ε lowers the error, and by more than the seeds differ."""
    rows = range(1, len(measured.epsilons))
    best = min(rows, key=lambda row: measured.rise("error", row)[0])
    rise, sd = measured.rise("error", best)
    spread = say(
        "more than the {spread} by which this difference varies between seeds"
        if abs(rise) > sd
        else "no more than the {spread} by which this difference varies between seeds",
        spread=written("error", sd),
    )
    return say(
        "ε = {epsilon:g} lowers the error by {points} points, {spread}."
        if rise < 0
        else "No ε above 0 lowers the error: the best of them, ε = {epsilon:g}, raises it by "
        "{points} points, {spread}.",
        epsilon=measured.epsilons[best],
        points=written("error", abs(rise)),
        spread=spread,
    )


# What ``on_calibration`` speaks of, and how it calls it.
JUDGED = {"ece": "ECE", "nll_cured": "NLL after a temperature", "aurc": "AURC"}


def on_calibration(measured: Study, say: Say = english) -> str:
    """What ε does to calibration, to cured calibration and to the ranking by confidence."""
    one, two, three = (
        say(
            "{name} is lowest at ε = {epsilon:g}",
            name=say(name),
            epsilon=measured.epsilons[int(measured.values[score].mean(axis=1).argmin())],
        )
        for score, name in JUDGED.items()
    )
    return say("{one}, {two}, {three}.", one=one, two=two, three=three)


def words(measured: Study) -> str:
    """The table, and what it shows, for the README."""
    return (
        f"{table(measured).markdown()}\n\n"
        f"Mean ± standard deviation over {len(measured.seeds)} seeds. "
        f"{on_error(measured)} {on_calibration(measured)}"
    )


def recipe(epsilon: float, seed: int, args: argparse.Namespace, out: Path) -> list[str]:
    """The flags for ``model.train``."""
    settings = {**RECIPE, "epsilon": epsilon, "seed": seed, "out": out, "threads": args.threads}
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    flags.append("--no-refit")
    for name in ("data", "init"):
        if getattr(args, name) is not None:
            flags += [f"--{name}", str(getattr(args, name))]
    return flags


def run(epsilon: float, seed: int, args: argparse.Namespace) -> Row:
    """Train and measure one classifier; what an interrupted run has done is used."""
    from model import network, train

    started = time.monotonic()
    args.work.mkdir(parents=True, exist_ok=True)
    out = args.work / f"study-{epsilon:g}-{seed}.safetensors"
    if not out.is_file():
        train.train(train.parser().parse_args(recipe(epsilon, seed, args, out)))
    classifier, metadata = network.load(out)
    photos = pets.official_split(pets.find_root(args.data), "test")
    logits, _ = network.predict(classifier, photos, metadata.image_size)
    labels = np.array([photo.label for photo in photos])
    return measure(logits.numpy(), labels, epsilon, seed, (time.monotonic() - started) / 60)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with oxford-iiit-pet/; PETS_DATA or download if absent")
    add(
        "--init",
        type=Path,
        help="local ImageNet state dict of a ResNet-18; torchvision's if absent",
    )
    add("--rows", type=Path, default=ROWS, help="the file of finished runs (%(default)s)")
    add("--seeds", type=int, nargs="+", default=SEEDS, help="which seeds to run (%(default)s)")
    add("--threads", type=int, default=os.cpu_count(), help="CPU threads (all of them)")
    add(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "label-smoothing-study",
        help="folder for checkpoints while the command works (%(default)s)",
    )
    add("--table-only", action="store_true", help="train nothing, print what was measured")
    args = parser.parse_args()
    try:
        for seed in args.seeds:
            for epsilon in EPSILONS:
                done = {(row.epsilon, row.seed) for row in read(args.rows)}
                if not args.table_only and (epsilon, seed) not in done:
                    row = run(epsilon, seed, args)
                    append(args.rows, row)
                    print(row, flush=True)
        measured = load(args.rows)
    except (OSError, ValueError) as problem:
        raise SystemExit(str(problem)) from None
    print(words(measured))


if __name__ == "__main__":
    main()
