"""Cures after training: temperature, Platt scaling, isotonic regression; and logit normalisation.

A fitted calibrator is a few plain arrays with ``apply(logits (..., N)) -> probabilities (..., N)``,
in NumPy alone and cheap enough for every photo. A cure of the test split is fitted on one half and
applied to the other, both ways round; a visitor's photo is in no half, so its cure is fitted on the
whole test split.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeVar

import numpy as np

from model.calibration import Floats, Interval, Ints, aurc_of_top1, softmax, top1, wilson
from model.pets import test_halves as halves_of  # its own name would make pytest collect it

NONE, TEMPERATURE, PLATT, ISOTONIC = CURES = ("none", "temperature", "platt", "isotonic")
TEMPERATURES = (0.01, 100.0)
TIE_BREAK = 1e-10
PROBABILITY_DECIMALS = 12  # isotonic: probabilities that agree this far are one point
NORMS = tuple(range(1, 11))  # Cattelan & Silva 2024 try up to 8

Method = TypeVar("Method", bound=Callable[..., Any])


class Calibrator(Protocol):
    """Turns logits into calibrated probabilities."""

    def apply(self, logits: Floats) -> Floats:
        """Probabilities ``(..., N)`` that sum to 1, from logits ``(..., N)``."""


@dataclass(frozen=True)
class Temperature:
    """``softmax(logits / temperature)``: one number, never changes the answer (Guo et al. 2017)."""

    temperature: float = 1.0

    def apply(self, logits: Floats) -> Floats:
        return softmax(np.asarray(logits, dtype=np.float64) / self.temperature)


@dataclass(frozen=True)
class Platt:
    """A sigmoid of each class's log-odds against the rest, renormalised (Platt 1999)."""

    slope: Floats  # (N,)
    intercept: Floats  # (N,)

    def apply(self, logits: Floats) -> Floats:
        return renormalise(sigmoid(self.slope * log_odds(logits) + self.intercept))


@dataclass(frozen=True)
class Isotonic:
    """A rising curve of each class's probability, renormalised (Zadrozny & Elkan 2002).

    Its steps make ties, even of all classes at 0, which become uniform. Among equals the class that
    was more probable before stays so, by one part in 10¹⁰.
    """

    curves: tuple[tuple[Floats, Floats], ...]  # of each class: (m,) probabilities before, after

    def apply(self, logits: Floats) -> Floats:
        before = softmax(logits).round(PROBABILITY_DECIMALS)
        columns = [np.interp(before[..., k], *curve) for k, curve in enumerate(self.curves)]
        cured = renormalise(np.stack(columns, axis=-1))
        return renormalise(cured * (1 + TIE_BREAK * softmax(logits)))


def sigmoid(x: Floats) -> Floats:
    """``1 / (1 + exp(-x))`` without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def log_odds(logits: Floats) -> Floats:
    """``log p / (1 - p)`` of each class, ``(..., N)``: the logit less the log-sum-exp of the rest.

    Like softmax, and unlike the logits, it does not change when a constant is added to all logits;
    with it, slope 1 and intercept 0 is "no cure".
    """
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    rest = exponentials.sum(axis=-1, keepdims=True) - exponentials
    # The largest class's rest would be a difference of nearly equal numbers: sum it afresh.
    largest = np.expand_dims(logits.argmax(axis=-1), -1)
    others = exponentials.copy()
    np.put_along_axis(others, largest, 0, axis=-1)
    np.put_along_axis(rest, largest, others.sum(axis=-1, keepdims=True), axis=-1)
    return shifted - np.log(np.maximum(rest, np.finfo(np.float64).tiny))


def renormalise(values: Floats) -> Floats:
    """Divide by the sum ``(..., N)``; where all are 0, uniform (as scikit-learn does)."""
    total = values.sum(axis=-1, keepdims=True)
    uniform = np.full_like(values, 1 / values.shape[-1])
    return np.divide(values, total, out=uniform, where=total > 0)


def fit_temperature(logits: Floats, labels: Ints) -> Temperature:
    """The temperature of least NLL on logits ``(n, N)``, within ``TEMPERATURES``.

    NLL is convex in 1 / temperature (Guo et al. 2017), so the bounded search finds the minimum; at
    a bound the photos were all right (ever surer is ever better) or mostly wrong (ever less sure).
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, dtype=np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)
    true = logits[np.arange(len(labels)), labels]

    def nll(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(np.log(np.exp(scale * logits).sum(axis=-1)) - scale * true))

    bounds = np.log(TEMPERATURES)
    found = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return Temperature(float(np.exp(found.x)))


def fit_platt(logits: Floats, labels: Ints) -> Platt:
    """One logistic regression per class on its log-odds, all classes at once.

    Targets are Platt's (1999, section 2.2), ``(n₊ + 1) / (n₊ + 2)`` and ``1 / (n₋ + 2)``, which
    keeps the fit finite when a class is separable or absent. Newton's method with step halving
    (Lin, Lin & Weng 2007).
    """
    x = log_odds(logits)  # (n, N)
    n, classes = x.shape
    scale = np.maximum(np.abs(x).max(axis=0), 1e-12)
    x = x / scale
    positive = labels[:, None] == np.arange(classes)
    count = positive.sum(axis=0)
    target = np.where(positive, (count + 1) / (count + 2), 1 / (n - count + 2))
    parameters = np.stack([np.zeros(classes), np.log((count + 1) / (n - count + 1))])

    def loss(parameters: Floats) -> Floats:
        z = parameters[0] * x + parameters[1]
        return (np.logaddexp(0, z) - target * z).sum(axis=0)

    value = loss(parameters)
    for _ in range(100):
        p = sigmoid(parameters[0] * x + parameters[1])
        residual, curvature = p - target, p * (1 - p)
        gradient = np.stack([(residual * x).sum(axis=0), residual.sum(axis=0)])
        xx, xo, oo = ((curvature * x**k).sum(axis=0) for k in (2, 1, 0))
        xx, oo = xx + 1e-12, oo + 1e-12  # constant log-odds leave the slope undetermined
        step = np.stack([oo * gradient[0] - xo * gradient[1], xx * gradient[1] - xo * gradient[0]])
        step /= np.maximum(xx * oo - xo**2, 1e-24)
        for _ in range(40):
            trial = loss(parameters - step)
            worse = trial > value + 1e-12 * np.abs(value)
            if not worse.any():
                break
            step[:, worse] /= 2
        else:  # no descent left in floating point
            break
        parameters, value = parameters - step, trial
        if np.abs(gradient).max() < 1e-9 * n:
            break
    return Platt(slope=parameters[0] / scale, intercept=parameters[1])


def fit_isotonic(logits: Floats, labels: Ints) -> Isotonic:
    """One isotonic regression per class of "it is this class" on its probability.

    Pool-adjacent-violators from SciPy on the distinct probabilities, linear between them and flat
    beyond, as scikit-learn's ``IsotonicRegression(out_of_bounds="clip")``.
    """
    from scipy.optimize import isotonic_regression

    before = softmax(logits).round(PROBABILITY_DECIMALS)
    curves = []
    for k, column in enumerate(before.T):
        points, index, count = np.unique(column, return_inverse=True, return_counts=True)
        share = np.bincount(index, weights=labels == k) / count
        after = isotonic_regression(share, weights=count).x.clip(0, 1)
        # Points inside a plateau say nothing: keep its two ends.
        inner = np.zeros(len(after), dtype=bool)
        inner[1:-1] = (after[1:-1] == after[:-2]) & (after[1:-1] == after[2:])
        curves.append((points[~inner], after[~inner]))
    return Isotonic(tuple(curves))


FIT: dict[str, Callable[[Floats, Ints], Calibrator]] = {
    NONE: lambda *_: Temperature(1.0),
    TEMPERATURE: fit_temperature,
    PLATT: fit_platt,
    ISOTONIC: fit_isotonic,
}


@dataclass(frozen=True)
class Normalisation:
    """A confidence for declining: the largest centred logit over the p-norm of all of them.

    Cattelan & Silva, UAI 2024 (arXiv 2305.15508); it mends what label smoothing does to selective
    classification: Xia et al., ICLR 2025 (arXiv 2403.14715). Not a probability.
    """

    p: int | None  # None: the softmax confidence ranked the fitting half better than any p-norm

    def apply(self, logits: Floats) -> Floats:
        """Scores ``(..., )`` from logits ``(..., N)``: only their order means something."""
        if self.p is None:
            return softmax(logits).max(axis=-1)
        centred = np.asarray(logits, dtype=np.float64)
        centred = centred - centred.mean(axis=-1, keepdims=True)
        norm = np.linalg.norm(centred, ord=self.p, axis=-1)
        return centred.max(axis=-1) / np.maximum(norm, np.finfo(np.float64).tiny)


def fit_normalisation(logits: Floats, labels: Ints) -> Normalisation:
    """The p of least AURC on logits ``(n, N)``; ``None`` if softmax confidence does as well."""
    _, right = top1(softmax(logits), labels)
    candidates = [Normalisation(p) for p in (None, *NORMS)]
    areas = [float(aurc_of_top1(candidate.apply(logits), right)) for candidate in candidates]
    return candidates[int(np.argmin(areas))]


def cached(method: Method) -> Method:
    """Compute a method's answer once per instance and arguments, also under many threads."""

    @wraps(method)
    def once(self: Any, *args: Any) -> Any:
        lock = self.__dict__.setdefault("_lock", threading.RLock())
        with lock:
            answers = self.__dict__.setdefault("_answers", {})
            key = (method.__name__, *args)
            if key not in answers:
                answers[key] = method(self, *args)
            return answers[key]

    return once  # type: ignore[return-value]


TRACK_RECORDS = tuple(
    "Of the {photos:,} test photos that it rated between {low:.1%} and {high:.1%}, {right:,} "
    + verb
    + " right ({share:.0%}; 95% interval {below:.0%} to {above:.0%})."
    for verb in ("were", "was")
)


@dataclass(frozen=True)
class TrackRecord:
    """How often test photos of about the same confidence were right."""

    low: float  # the photos' confidence is in [low, high]
    high: float
    right: int
    photos: int
    share: Interval  # right / photos, 95 % Wilson interval

    @property
    def template(self) -> str:
        """Which of ``TRACK_RECORDS`` is said of it."""
        return TRACK_RECORDS[self.right == 1]

    @property
    def values(self) -> dict[str, float]:
        """What ``template`` has places for."""
        share = {"share": self.share.value, "below": self.share.low, "above": self.share.high}
        return {"photos": self.photos, "right": self.right, "low": self.low, "high": self.high} | (
            share
        )

    @property
    def sentence(self) -> str:
        return self.template.format(**self.values)


def track_record(
    confidence: float, test_confidence: Floats, test_right: Floats, enough: int = 100
) -> TrackRecord:
    """The record of test photos ``(n,)`` rated about as highly as ``confidence``.

    The neighbourhood widens from ± 0.5 points until it holds ``enough`` photos.
    """
    for width in (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0):
        low, high = max(confidence - width, 0.0), min(confidence + width, 1.0)
        inside = (test_confidence >= low) & (test_confidence <= high)
        if inside.sum() >= min(enough, len(test_confidence)):
            break
    photos, right = int(inside.sum()), int(test_right[inside].sum())
    below, above = wilson(right, photos)
    share = Interval(right / max(photos, 1), float(below), float(above))
    return TrackRecord(low, high, right, photos, share)


class Cures:
    """Every cure of the pair: fitted when first asked for, then kept.

    On the Classify tab::

        cures = Cures(evaluation.logits, evaluation.labels)
        probabilities = cures.apply("platt", prediction.logits)
        changed = cures.changed_answer("platt", prediction.logits)
        records = cures.track_records("platt", prediction.logits)
    """

    def __init__(self, logits: Floats, labels: Ints) -> None:
        """Take the test split: logits ``(2, n, N)``, labels ``(n,)``. Fits nothing yet.

        Raises:
            ValueError: too few photos for two halves.
        """
        self.logits = np.asarray(logits, dtype=np.float64)
        self.labels = labels
        self.halves = halves_of(labels)
        if not all(len(half) for half in self.halves):
            raise ValueError(
                f"{len(labels)} photos cannot be halved by class: give at least two of some class."
            )

    @cached
    def fitted(self, cure: str, classifier: int, half: int | None = None) -> Calibrator:
        """A calibrator of one classifier, fitted on half 0 or 1, or on the whole test split.

        Raises:
            ValueError: no such cure.
        """
        if cure not in FIT:
            raise ValueError(f"There is no cure {cure!r}: choose one of {', '.join(CURES)}.")
        photos = slice(None) if half is None else self.halves[half]
        return FIT[cure](self.logits[classifier, photos], self.labels[photos])

    @cached
    def crossed(self, cure: str) -> Floats:
        """Test probabilities ``(2, n, N)``, each photo's from the fit on the half it is not in."""
        probabilities = np.empty_like(self.logits)
        for classifier, logits in enumerate(self.logits):
            for half, other in ((0, 1), (1, 0)):
                photos = self.halves[other]
                calibrator = self.fitted(cure, classifier, half)
                probabilities[classifier, photos] = calibrator.apply(logits[photos])
        return probabilities

    @cached
    def top1(self, cure: str) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """Of each classifier, ``crossed`` confidence ``(n,)`` and whether right ``(n,)``."""
        first, second = (top1(probabilities, self.labels) for probabilities in self.crossed(cure))
        return first, second

    def apply(self, cure: str, logits: Floats) -> Floats:
        """A new photo's probabilities ``(2, N)`` from its logits ``(2, N)``.

        The cure is fitted on the whole test split, which the new photo is not in.
        """
        rows = [self.fitted(cure, k).apply(row) for k, row in enumerate(logits)]
        return np.stack(rows)

    def changed_answer(self, cure: str, logits: Floats) -> tuple[bool, bool]:
        """Whether the cure made another class the answer of logits ``(2, N)``."""
        after = self.apply(cure, logits).argmax(axis=-1)
        first, second = after != np.asarray(logits).argmax(axis=-1)
        return bool(first), bool(second)

    def track_records(self, cure: str, logits: Floats) -> tuple[TrackRecord, TrackRecord]:
        """How often each classifier was right on test photos rated like a photo ``(2, N)``.

        The test photos' confidence is that of ``crossed``: none was rated by a fit that saw it.
        """
        confidence = self.apply(cure, logits).max(axis=-1)
        first, second = (
            track_record(float(c), *answers)
            for c, answers in zip(confidence, self.top1(cure), strict=True)
        )
        return first, second

    @cached
    def normalisation(self, classifier: int, half: int) -> Normalisation:
        """Logit normalisation with the p fitted on half 0 or 1."""
        photos = self.halves[half]
        return fit_normalisation(self.logits[classifier, photos], self.labels[photos])

    @cached
    def normalised_scores(self, classifier: int) -> Floats:
        """Scores to decline by ``(n,)``, each photo's with the p fitted on the other half.

        Two norms have two scales: if the halves chose differently, the scores are ranks within the
        photo's half, from 0 to 1.
        """
        fits = self.normalisation(classifier, 0), self.normalisation(classifier, 1)
        if fits[0] == fits[1]:
            return fits[0].apply(self.logits[classifier])
        scores = np.empty(len(self.labels))
        for fit, other in zip(fits, (1, 0), strict=True):
            photos = self.halves[other]
            raw = fit.apply(self.logits[classifier, photos])
            _, place, count = np.unique(raw, return_inverse=True, return_counts=True)
            scores[photos] = ((count.cumsum() - count / 2) / len(photos))[place]
        return scores
