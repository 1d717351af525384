"""A linear head, trained live at any ε on frozen penultimate activations: `python -m model.head`.

The backbones learned from trainval, so a head that is to be measured honestly learns from photos
that they never saw: one half of the test split, and it is measured on the other. The command trains
a head at every ε from 0 to 0.9 and prints the table of README.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from model import calibration, report
from model.calibration import Bins, Floats, Ints
from model.checkpoint import CHECKPOINTS, PAIR
from model.evaluate import Evaluation, Penultimate, load
from model.pets import BREEDS, HALVES_SEED, stratified_part
from model.pets import test_halves as halves_of  # its own name would make pytest collect it
from model.words import Say, english

if TYPE_CHECKING:  # imported where it is used: it takes a second, and the page needs it later
    import torch
    from torch import Tensor

FEWEST, MOST_NOISE, MOST_EPSILON, MOST_STEPS, MOST_DROPOUT = 5, 0.6, 0.9, 400, 0.9
VALIDATION_SHARE = 0.2
PATIENCE = 5  # steps without a better validation NLL
CONVERGED = 1e-5  # relative fall of the loss, two steps running; far below what the page shows
CURVE_POINTS = 10
ADAM_RATE = 0.03
EPSILONS = tuple(round(0.1 * i, 1) for i in range(10))
SEEDS = 5
HISTOGRAM_BINS = 20
SCORES = ("error", "nll", "ece", "overconfidence")
SWEPT = ("error", "nll", "ece")


@dataclass(frozen=True)
class Settings:
    """How a head is trained.

    Args:
        epsilon: ε of the smoothed target, 0 to 0.9.
        noise: the share of training labels moved to another breed, 0 to 0.6.
        photos: training photos per breed, at least 5; ``None`` for all of the half.
        weight_decay: λ; the loss gains ``λ/2 · Σ w²`` over the weights, not the biases.
        dropout: the probability that an activation is set to 0, 0 to 0.9.
        early_stopping: train on four fifths of the photos and stop when the rest stop improving.
        steps: the most optimiser steps, 1 to 400.
        seed: of the photos, the noise, the validation slice and dropout.

    Raises:
        ValueError: one of them is out of its range.
    """

    epsilon: float = 0.1
    noise: float = 0.0
    photos: int | None = None
    weight_decay: float = 1e-3
    dropout: float = 0.0
    early_stopping: bool = False
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epsilon", 0, MOST_EPSILON),
            ("noise", 0, MOST_NOISE),
            ("weight_decay", 0, 10),
            ("dropout", 0, MOST_DROPOUT),
            ("steps", 1, MOST_STEPS),
            ("seed", 0, 2**31 - 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(
                    f"{name} must lie in [{low}, {high}], got {value}: choose one in it."
                )
        if self.photos is not None and self.photos < FEWEST:
            raise ValueError(f"photos must be at least {FEWEST} per breed, got {self.photos}.")


# The photos.


class Bench:
    """One backbone's activations in two halves: heads learn from one, the other measures them.

    Activations are centred by the training half's mean and divided by one number, the root mean
    square of what is left. One number, not one per direction: it keeps the geometry, so that weight
    decay means what it would mean on the unrotated activations.
    """

    def __init__(
        self, penultimate: Penultimate, labels: Ints, halves: tuple[Ints, Ints] | None = None
    ) -> None:
        """Standardise ``penultimate`` with its ``labels`` ``(n,)``.

        ``halves`` holds indices, training first; without it those of ``pets.test_halves``.
        """
        import torch

        self.halves = halves_of(labels) if halves is None else halves
        train, test = (penultimate.features[half].astype(np.float32) for half in self.halves)
        self.centre = train.mean(axis=0)
        self.scale = float(np.sqrt(np.square(train - self.centre, dtype=np.float64).mean())) or 1.0
        self.train = torch.from_numpy((train - self.centre) / self.scale)  # (n_train, k)
        self.test = torch.from_numpy((test - self.centre) / self.scale)  # (n_test, k)
        self.train_labels, self.test_labels = (
            labels[half].astype(np.int64) for half in self.halves
        )


class Draw(NamedTuple):
    """What chance decides before training; indices into the training half."""

    photos: Ints  # (m,), the ones to learn from
    validation: Ints  # (v,), the ones that early stopping watches; often none
    labels: Ints  # (n_train,), with the noise


def draw(labels: Ints, settings: Settings) -> Draw:
    """Choose photos, move labels and cut the validation slice, from the seed alone.

    Each has a stream of its own: more photos add to those chosen before, and more noise to the
    labels moved before. The validation slice comes from the training photos, so its labels are as
    noisy as theirs.
    """
    seed = settings.seed
    chosen = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng((seed, 1))
    for breed in range(len(BREEDS)):
        chosen[rng.permutation(np.flatnonzero(labels == breed))[: settings.photos]] = True
    rng = np.random.default_rng((seed, 2))
    order = rng.permutation(len(labels))
    shift = rng.integers(1, len(BREEDS), len(labels))
    order = order[chosen[order]]
    moved = order[: round(settings.noise * len(order))]
    noisy = labels.copy()
    noisy[moved] = (labels[moved] + shift[moved]) % len(BREEDS)
    photos = np.flatnonzero(chosen)
    held = np.zeros(len(photos), dtype=bool)
    if settings.early_stopping:
        held = stratified_part(labels[photos], VALIDATION_SHARE, seed)
    return Draw(photos[~held], photos[held], noisy)


# The training.


@dataclass(frozen=True)
class Head:
    """A trained head: logits of ``f`` ``(k,)`` are ``(f - centre) / scale @ weight + bias``."""

    weight: Tensor  # (k, 37)
    bias: Tensor  # (37,)
    centre: Floats  # (k,)
    scale: float

    def on_standardised(self, features: Tensor) -> Floats:
        """Logits ``(m, 37)`` of activations ``(m, k)`` that a ``Bench`` has standardised."""
        import torch

        return torch.addmm(self.bias, features, self.weight).numpy()

    def logits(self, features: Floats) -> Floats:
        """Logits ``(m, 37)`` of a ``Penultimate``'s rotated activations ``(m, k)``."""
        import torch

        standardised = (np.asarray(features, dtype=np.float32) - self.centre) / self.scale
        return self.on_standardised(torch.from_numpy(standardised.astype(np.float32)))


def probabilities_of(head: Head, penultimate: Penultimate, activations: Floats) -> Floats:
    """What the head says of one photo: ``(37,)``, from its unrotated activations ``(D,)``."""
    rotated = (activations - penultimate.mean) @ penultimate.rotation
    return calibration.softmax(head.logits(rotated[None])[0])


class Step(NamedTuple):
    """Where the training stands."""

    number: int
    loss: float  # what is minimised: mean loss over the photos plus weight decay
    head: Head
    kept: int  # the number of the step that this head is of: early stopping goes back
    ended: str  # "", or why this is the last step: "steps", "converged", "stopped early"


def training(bench: Bench, drawn: Draw, settings: Settings) -> Iterator[Step]:
    """Train a head from zero on all of ``drawn.photos`` at a time, step by step.

    The optimiser is L-BFGS (Nocedal 1980, with a strong Wolfe line search), which finds the optimum
    of this convex loss; under dropout, whose loss is another at every step, it is Adam. Both work
    on activations divided by ``√(1 + variance)``, with the decay adapted so that the optimum stays:
    that makes the loss rounder, and 40 steps are enough. The last step's head is the result.
    """
    import torch

    from model.loss import LabelSmoothingCrossEntropy

    fit, watched = torch.from_numpy(drawn.photos), torch.from_numpy(drawn.validation)
    labels = torch.from_numpy(drawn.labels)
    features, target = bench.train[fit], labels[fit]
    rounding = (1 + features.var(dim=0, correction=0)).rsqrt()  # (k,)
    features = features * rounding
    decay = settings.weight_decay * rounding[:, None] ** 2
    loss_func = LabelSmoothingCrossEntropy(settings.epsilon)
    weight = torch.zeros(features.shape[1], len(BREEDS), requires_grad=True)
    bias = torch.zeros(len(BREEDS), requires_grad=True)
    parameters = [weight, bias]
    rng = np.random.default_rng((settings.seed, 3))
    optimizer: torch.optim.Optimizer
    if settings.dropout > 0:
        optimizer = torch.optim.Adam(parameters, lr=ADAM_RATE)
    else:
        optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=1,
            max_eval=25,  # the line search's; by default a step of one iteration has none
            history_size=10,
            tolerance_grad=1e-9,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )
    seen: tuple[Tensor, ...] = ()
    loss = torch.zeros(())

    def evaluate() -> Tensor:
        """The loss, with its gradient; L-BFGS asks again for the point where it left off."""
        nonlocal seen, loss
        if seen and all(map(torch.equal, seen, parameters)):
            return loss
        inputs = features
        if settings.dropout > 0:
            kept = rng.random(features.shape, dtype=np.float32) >= settings.dropout
            inputs = features * torch.from_numpy(kept) / (1 - settings.dropout)
        else:
            seen = tuple(parameter.detach().clone() for parameter in parameters)
        optimizer.zero_grad()
        with torch.enable_grad():
            value = loss_func(torch.addmm(bias, inputs, weight), target)
            value = value + 0.5 * (decay * weight.square()).sum()
        value.backward()
        loss = value.detach()
        return loss

    def head() -> Head:
        scaled = weight.detach() * rounding[:, None]
        return Head(scaled, bias.detach().clone(), bench.centre, bench.scale)

    best, best_nll, best_step, still = head(), np.inf, 0, 0
    before = np.inf
    for number in range(1, settings.steps + 1):
        optimizer.step(evaluate)
        now, value = head(), float(evaluate() if settings.dropout == 0 else loss)
        ended = "steps" if number == settings.steps else ""
        still = still + 1 if before - value <= CONVERGED * abs(value) else 0
        if settings.dropout == 0 and still >= 2:
            ended = "converged"
        before = value
        if len(watched):
            logits = now.on_standardised(bench.train[watched])
            nll = calibration.nll(calibration.softmax(logits), drawn.labels[drawn.validation])
            if nll < best_nll:
                best, best_nll, best_step = now, nll, number
            elif number - best_step >= PATIENCE:
                ended = "stopped early"
        # The validation slice chooses, also where the steps ran out.
        now, at = (best, best_step) if len(watched) and ended else (now, number)
        yield Step(number, value, now, at, ended)
        if ended:
            return


# What is shown of it.


class Measured(NamedTuple):
    """A head on one set of photos."""

    photos: int
    scores: dict[str, float]  # those of SCORES, and the mean norm of the logits
    confidence: Floats  # (n,)
    right: Floats  # (n,), 1.0 or 0.0

    def reliability(self, bins: int = calibration.BINS) -> Bins:
        """The bins of its reliability diagram."""
        return calibration.reliability(self.confidence, self.right, bins)

    def histogram(self) -> Floats:
        """The share ``(HISTOGRAM_BINS,)`` of photos in equal bins of confidence from 0 to 1."""
        counts, _ = np.histogram(self.confidence, np.linspace(0, 1, HISTOGRAM_BINS + 1))
        return counts / self.photos


def measure(logits: Floats, labels: Ints) -> Measured:
    """Score logits ``(n, 37)`` against labels ``(n,)``."""
    probabilities = calibration.softmax(logits)
    scores = {name: calibration.score(name, probabilities, labels) for name in SCORES}
    scores["norm"] = float(np.linalg.norm(logits.astype(np.float64), axis=-1).mean())
    return Measured(len(labels), scores, *calibration.top1(probabilities, labels))


class Point(NamedTuple):
    """A point of the training curve: the smoothed loss, without decay, on both halves."""

    step: int
    train: float
    test: float


@dataclass(frozen=True)
class Result:
    """A head, and what it is worth on the photos it learned from and on the others."""

    settings: Settings
    head: Head
    train: Measured  # against the labels it was given, noise included
    test: Measured
    steps: int  # taken
    kept: int  # the step whose head this is
    ended: str
    watched: int  # photos in the validation slice


class Progress(NamedTuple):
    """What ``run`` reports on its way."""

    step: int
    curve: tuple[Point, ...]
    result: Result | None  # with the last report


def run(bench: Bench, settings: Settings) -> Iterator[Progress | None]:
    """Train a head and measure it.

    Yields after every step, so that whoever asked can walk away: ``None``, or, some ten times, a
    ``Progress``. The last one holds the result.
    """
    import torch

    from model.loss import LabelSmoothingCrossEntropy

    drawn = draw(bench.train_labels, settings)
    features, given = bench.train[torch.from_numpy(drawn.photos)], drawn.labels[drawn.photos]
    targets = torch.from_numpy(given), torch.from_numpy(bench.test_labels)
    loss_func = LabelSmoothingCrossEntropy(settings.epsilon)
    curve: tuple[Point, ...] = ()
    for step in training(bench, drawn, settings):
        shown = {1, *np.linspace(1, settings.steps, CURVE_POINTS).astype(int).tolist()}
        if step.number not in shown and not step.ended:
            yield None
            continue
        logits = step.head.on_standardised(features), step.head.on_standardised(bench.test)
        train, test = (
            float(loss_func(torch.from_numpy(values), target))
            for values, target in zip(logits, targets, strict=True)
        )
        curve = tuple(sorted({*curve, Point(step.kept, train, test)}))
        result = None
        if step.ended:
            result = Result(
                settings,
                step.head,
                measure(logits[0], given),
                measure(logits[1], bench.test_labels),
                step.number,
                step.kept,
                step.ended,
                len(drawn.validation),
            )
        yield Progress(step.number, curve, result)


# The sweep over ε.


@dataclass(frozen=True)
class Sweep:
    """Scores on the measuring half of heads at several ε, each trained with several seeds."""

    settings: Settings
    epsilons: Floats  # (E,)
    values: dict[str, Floats]  # (E, S) for each of SWEPT

    def mean(self, score: str) -> Floats:
        """``(E,)``"""
        return self.values[score].mean(axis=1)

    def sd(self, score: str) -> Floats:
        """The standard deviation over the seeds, ``(E,)``."""
        return self.values[score].std(axis=1, ddof=1)

    def best(self, score: str) -> int:
        """Which ε has the lowest mean; of equals the smallest."""
        return int(self.mean(score).argmin())

    def rise(self, score: str, row: int) -> tuple[float, float]:
        """From ε = 0 to that of ``row``: mean and standard deviation of the seeds' differences."""
        difference = self.values[score][row] - self.values[score][0]
        return float(difference.mean()), float(difference.std(ddof=1))


def sweep(
    penultimate: Penultimate,
    labels: Ints,
    settings: Settings,
    epsilons: tuple[float, ...] = EPSILONS,
    seeds: int = SEEDS,
) -> Iterator[tuple[float, Sweep | None]]:
    """Train a head for every ε and seed; yields the share done, at the end with the ``Sweep``.

    A seed draws everything anew, the halves too (stratified, seed ``HALVES_SEED`` plus its number,
    so that the first is ``pets.test_halves``): the loss is convex, so without it nothing but the
    draws for noise, dropout and the like could differ, and by default there are none. What is
    compared at one seed, is compared on the same photos.
    """
    values: dict[str, Floats] = {score: np.zeros((len(epsilons), seeds)) for score in SWEPT}
    for number in range(seeds):
        first = stratified_part(labels, 0.5, HALVES_SEED + number)
        bench = Bench(penultimate, labels, (np.flatnonzero(first), np.flatnonzero(~first)))
        for row, epsilon in enumerate(epsilons):
            here = replace(settings, epsilon=epsilon, seed=settings.seed + number)
            head = None
            for step in training(bench, draw(bench.train_labels, here), here):
                head = step.head
                yield (number * len(epsilons) + row) / (seeds * len(epsilons)), None
            assert head is not None  # there is at least one step
            scores = measure(head.on_standardised(bench.test), bench.test_labels).scores
            for score in SWEPT:
                values[score][row, number] = scores[score]
    yield 1.0, Sweep(settings, np.array(epsilons), values)


def written(score: str, value: float) -> str:
    """A score as the sweep writes it."""
    return f"{100 * value:.1f} %" if score == "error" else f"{value:.3f}"


def sweep_table(swept: Sweep) -> report.Table:
    """Mean ± standard deviation of each score for every ε; the lowest mean is marked."""
    table = report.Table(["ε", *(report.SCORES[score].label for score in SWEPT)])
    for row, epsilon in enumerate(swept.epsilons):
        cells = [report.Cell(f"{epsilon:g}")]
        for score in SWEPT:
            mean, sd = (float(v[row]) for v in (swept.mean(score), swept.sd(score)))
            text = f"{written(score, mean).removesuffix(' %')} ± {written(score, sd)}"
            cells.append(report.Cell(text, marked=row == swept.best(score)))
        table.rows.append(cells)
    return table


def sweep_sentence(swept: Sweep, say: Say = english) -> str:
    """Which ε is best for what, and whether by more than the difference varies between seeds."""
    parts = []
    for score, name in zip(SWEPT, ("the error", "NLL", "ECE"), strict=True):

        def size(value: float, score: str = score) -> str:
            text = written(score, abs(value))
            return say("{points} points", points=text[:-2]) if text.endswith(" %") else text

        best = swept.best(score)
        rise, sd = swept.rise(score, best or 1)  # ε = 0 itself is compared with the next
        spread = say(
            "more than the {spread} by which this difference varies between seeds"
            if abs(rise) > sd and size(rise) != size(sd)  # also as they are written
            else "no more than the {spread} by which this difference varies between seeds",
            spread=size(sd),
        )
        against = say(
            "{size} below ε = 0, {spread}" if best else "ε = {next:g} has {size} more, {spread}",
            next=swept.epsilons[1],
            size=size(rise),
            spread=spread,
        )
        parts.append(
            say(
                "{name} is lowest at ε = {epsilon:g} ({value}; {against})",
                name=say(name),
                epsilon=swept.epsilons[best],
                value=written(score, float(swept.mean(score)[best])),
                against=against,
            )
        )
    text = say("{one}, {two}, {three}.", **dict(zip(("one", "two", "three"), parts, strict=True)))
    return text[0].upper() + text[1:]


# The geometry.


def plane(templates: Floats) -> Floats:
    """An orthonormal basis ``(k, 2)`` of the plane through three templates ``(3, k)``.

    Müller, Kornblith & Hinton 2019 (arXiv 1906.02629), figure 1: activations ``@`` this basis are
    the coordinates that they draw. Templates on one line span no plane: the second direction is
    then arbitrary.
    """
    spanning = (templates[1:] - templates[0]).astype(np.float64).T
    basis, triangular = np.linalg.qr(spanning)
    return basis * np.where(np.diag(triangular) < 0, -1, 1)  # the sign that the spanning has


def tightness(features: Floats, labels: Ints) -> float:
    """Within-class over between-class variance of ``(n, d)``, weighted by photos; 0 is tightest.

    The mean squared distance to the own class's mean over that of the own class's mean to the mean
    of all; infinite where all means coincide.
    """
    features = np.asarray(features, dtype=np.float64)
    _, member = np.unique(labels, return_inverse=True)
    sums = np.zeros((member.max() + 1, features.shape[1]))
    np.add.at(sums, member, features)
    means = (sums / np.bincount(member)[:, None])[member]
    between = np.square(means - features.mean(axis=0)).sum()
    within = np.square(features - means).sum()
    return float(within / between) if between > 0 else float("inf")


class Projection(NamedTuple):
    """Photos of three breeds on the plane through their templates, for one classifier."""

    points: Floats  # (m, 2)
    labels: Ints  # (m,)
    names: np.ndarray  # (m,), file stems
    tightness: float  # of these three breeds, on the plane
    tightness_of_all: float  # of all breeds, in all directions


def project(evaluation: Evaluation, classifier: int, breeds: tuple[int, int, int]) -> Projection:
    """The test photos of three different breeds as classifier 0 or 1 sees them.

    Raises:
        ValueError: the breeds are not three different ones.
    """
    if len(set(breeds)) != 3:
        raise ValueError("Choose three different breeds: two of yours are the same.")
    penultimate = evaluation.penultimate[classifier]
    shown = np.flatnonzero(np.isin(evaluation.labels, breeds))
    basis = plane(penultimate.templates[list(breeds)])
    points = penultimate.features[shown].astype(np.float64) @ basis
    return Projection(
        points,
        evaluation.labels[shown],
        evaluation.names[shown],
        tightness(points, evaluation.labels[shown]),
        tightness(penultimate.features, evaluation.labels),
    )


def telling_breeds(evaluation: Evaluation) -> tuple[int, int, int]:
    """Three breeds to begin with: the two most mistaken for one another, and one far from both.

    By the mean probability of one breed on photos of another, over both classifiers.
    """
    mean = np.zeros((len(BREEDS), len(BREEDS)))
    for logits in evaluation.logits:
        probabilities = calibration.softmax(logits)
        for breed in np.unique(evaluation.labels):
            mean[breed] += probabilities[evaluation.labels == breed].mean(axis=0)
    mistaken = mean + mean.T
    np.fill_diagonal(mistaken, -1)
    first, second = np.unravel_index(mistaken.argmax(), mistaken.shape)
    away = mistaken[first] + mistaken[second]
    away[[first, second]] = np.inf
    return int(first), int(second), int(away.argmin())


def geometry_sentence(both: tuple[Projection, Projection], say: Say = english) -> str:
    """What is measured, and whether smoothing made the clusters tighter as in the paper."""
    (three, smoothed_three), (all_of, smoothed_all) = (
        [getattr(projection, name) for projection in both]
        for name in ("tightness", "tightness_of_all")
    )

    def change(before: float, after: float) -> str:
        if f"{before:.2f}" == f"{after:.2f}":
            return say("is {before:.2f} for both classifiers", before=before)
        text = "rises from {before:.2f} (unsmoothed) to {after:.2f} (smoothed)"
        if after < before:
            text = "falls from {before:.2f} (unsmoothed) to {after:.2f} (smoothed)"
        return say(text, before=before, after=after)

    # Judged as written: what looks equal counts as no tighter.
    tighter = (
        round(smoothed_three, 2) < round(three, 2),
        round(smoothed_all, 2) < round(all_of, 2),
    )
    verdict = {
        (True, True): "Both say that smoothing made the clusters tighter, as in the paper.",
        (False, False): "Neither says that smoothing made the clusters tighter, unlike in the "
        "paper.",
        (True, False): "These three are tighter, as in the paper; all breeds together are not.",
        (False, True): "All breeds together are tighter, as in the paper; these three are not.",
    }[tighter]
    return say(
        "Variance within breeds over variance between them {plane} for these three breeds on the "
        "plane, and {space} for all {breeds} breeds in all directions; 0 is tightest. {verdict}",
        plane=change(three, smoothed_three),
        space=change(all_of, smoothed_all),
        breeds=len(BREEDS),
        verdict=say(verdict),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.head",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--checkpoints",
        type=Path,
        default=CHECKPOINTS,
        help="folder of evaluation.npz (%(default)s)",
    )
    add("--backbone", choices=PAIR, default=PAIR[0], help="whose activations (%(default)s)")
    add("--seeds", type=int, default=SEEDS, help="at least 2 (%(default)s)")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error("--seeds must be at least 2: one seed has no spread.")
    try:
        evaluation = load(args.checkpoints / "evaluation.npz")
    except ValueError as problem:
        parser.exit(1, f"{problem}\n")
    penultimate = evaluation.penultimate[PAIR.index(args.backbone)]
    for _, swept in sweep(penultimate, evaluation.labels, Settings(), seeds=args.seeds):
        if swept is not None:
            print(sweep_table(swept).markdown())
            print(f"\n{sweep_sentence(swept)}")


if __name__ == "__main__":
    main()
