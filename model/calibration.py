"""Scores of a classifier's probabilities, and what their confidence is worth.

Two kinds of arrays: probabilities ``(n, N)`` with labels ``(n,)``, and, for all that looks at the
answer alone, its confidence and whether it is right, both ``(..., n)``: leading axes hold bootstrap
resamples, which are scored all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

BOOTSTRAP_SEED = 0
RESAMPLES = 1000
BINS = 15
Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


class Interval(NamedTuple):
    """A score with its 95 % interval: the bootstrap's, or of a share Wilson's."""

    value: float
    low: float
    high: float


def softmax(logits: Floats) -> Floats:
    """Probabilities ``(..., N)`` in float64 from logits ``(..., N)``."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def top1(probabilities: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """The answer's confidence ``(n,)`` and whether it is right, 1.0 or 0.0 ``(n,)``."""
    right = probabilities.argmax(axis=-1) == labels
    return probabilities.max(axis=-1), right.astype(np.float64)


# Per photo: each score is the mean of one value per photo.


def losses(probabilities: Floats, labels: Ints) -> dict[str, Floats]:
    """For each score that is a mean over photos, the values ``(n,)`` it is the mean of.

    The probability of the true class is floored at the float64 epsilon, 2.2e-16, as in
    scikit-learn's ``log_loss``: a class ruled out that turns out true costs 36 nats.
    """
    confidence, right = top1(probabilities, labels)
    true = probabilities[np.arange(len(labels)), labels]
    return {
        "error": 1 - right,
        "nll": -np.log(np.maximum(true, np.finfo(np.float64).eps)),
        "brier": (probabilities**2).sum(axis=-1) - 2 * true + 1,
        "mean_confidence": confidence,
        "overconfidence": confidence - right,
    }


def error(probabilities: Floats, labels: Ints) -> float:
    """The share of photos ``(n,)`` whose most probable class ``(n, N)`` is wrong."""
    return float(losses(probabilities, labels)["error"].mean())


def nll(probabilities: Floats, labels: Ints) -> float:
    """Negative log-likelihood: the mean of ``-log p(true class)``, in nats."""
    return float(losses(probabilities, labels)["nll"].mean())


def brier(probabilities: Floats, labels: Ints) -> float:
    """Brier score (1950): the mean squared distance to the one-hot target, from 0 to 2."""
    return float(losses(probabilities, labels)["brier"].mean())


# By confidence: binned, smoothed, ranked.


class Bins(NamedTuple):
    """Photos sorted into bins of confidence; a bin is ``(a, b]`` between two ``edges``."""

    edges: Floats  # (bins + 1,)
    photos: Ints  # (bins,), how many
    confidence: Floats  # (bins,), the mean; NaN where the bin is empty
    accuracy: Floats  # (bins,), the share right; NaN where the bin is empty


def bin_edges(confidence: Floats, bins: int, equal_mass: bool) -> Floats:
    """Edges ``(..., bins + 1)``: equally spaced in [0, 1], or quantiles of the confidence."""
    spaced = np.linspace(0, 1, bins + 1)
    if equal_mass:
        return np.moveaxis(np.quantile(confidence, spaced, axis=-1), 0, -1)
    return np.broadcast_to(spaced, (*confidence.shape[:-1], bins + 1))


def bin_totals(
    confidence: Floats, right: Floats, bins: int, equal_mass: bool
) -> tuple[Floats, Floats, Floats]:
    """Per bin ``(..., bins)``: the number of photos, the sum of confidence, the number right."""
    if equal_mass:
        inner = bin_edges(confidence, bins, equal_mass)[..., 1:-1]
        index: Ints = (confidence[..., None] > inner[..., None, :]).sum(axis=-1)
    else:
        index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = confidence.size // confidence.shape[-1]
    flat = (index.reshape(rows, -1) + bins * np.arange(rows)[:, None]).ravel()

    def total(weights: Floats | None) -> Floats:
        weights = None if weights is None else weights.ravel()
        counted = np.bincount(flat, weights=weights, minlength=rows * bins).astype(np.float64)
        return counted.reshape(*confidence.shape[:-1], bins)

    return total(None), total(confidence), total(right)


def reliability(confidence: Floats, right: Floats, bins: int, equal_mass: bool = False) -> Bins:
    """What a reliability diagram shows of n photos (Niculescu-Mizil & Caruana 2005)."""
    count, sum_confidence, sum_right = bin_totals(confidence, right, bins, equal_mass)
    filled = np.where(count > 0, count, np.nan)
    return Bins(
        edges=bin_edges(confidence, bins, equal_mass),
        photos=count.astype(int),
        confidence=sum_confidence / filled,
        accuracy=sum_right / filled,
    )


def ece_of_top1(
    confidence: Floats, right: Floats, bins: int = BINS, equal_mass: bool = False
) -> Floats:
    """Expected calibration error ``(...)`` of answers ``(..., n)``.

    Naeini, Cooper, Hauskrecht 2015; Guo et al. 2017, equation 3. With ``equal_mass`` the bins hold
    equally many photos (ties stay together): Nguyen & O'Connor 2015; Nixon et al. 2019.
    """
    _, sum_confidence, sum_right = bin_totals(confidence, right, bins, equal_mass)
    return np.abs(sum_right - sum_confidence).sum(axis=-1) / confidence.shape[-1]


def max_ce_of_top1(confidence: Floats, right: Floats, bins: int = BINS) -> Floats:
    """Maximum calibration error ``(...)``: the worst equal-width bin (Guo et al. 2017, eq. 5)."""
    count, sum_confidence, sum_right = bin_totals(confidence, right, bins, equal_mass=False)
    return (np.abs(sum_right - sum_confidence) / np.maximum(count, 1)).max(axis=-1)


def smooth_ece_of_top1(confidence: Floats, right: Floats, cells: int = 1024) -> Floats:
    """Smooth calibration error ``(...)`` of answers ``(..., n)``: no bins to choose.

    Błasiok & Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing", ICLR
    2024 (arXiv 2309.12236): the residuals are smoothed with a reflected Gaussian of bandwidth σ;
    their mean magnitude falls as σ grows, and the score is where it equals σ. A reflected Gaussian
    is diagonal in the cosine basis, hence the DCT on a grid of ``cells``. Ours because the authors'
    relplot imports matplotlib and seaborn; tested against it.
    """
    from scipy.fft import dct, idct

    shape, n = confidence.shape[:-1], confidence.shape[-1]
    residual = (confidence - right).reshape(-1, n)
    position = np.clip(confidence.reshape(-1, n) * cells - 0.5, 0, cells - 1)
    left = np.minimum(position.astype(int), cells - 2)
    share = position - left
    rows = np.arange(len(residual))[:, None] * cells
    size = len(residual) * cells
    grid = np.bincount((rows + left).ravel(), ((1 - share) * residual).ravel(), size)
    grid += np.bincount((rows + left + 1).ravel(), (share * residual).ravel(), size)
    spectrum = dct(grid.reshape(-1, cells) / n, type=2, axis=-1)
    frequency = np.pi * np.arange(cells)

    def smoothed(sigma: Floats) -> Floats:
        damped = spectrum * np.exp(-0.5 * (frequency * sigma[:, None]) ** 2)
        return np.abs(idct(damped, type=2, axis=-1)).sum(axis=-1)

    low, high = np.zeros(len(residual)), np.ones(len(residual))
    for _ in range(12):  # σ to 1/4096: the score moves far less
        middle = (low + high) / 2
        above = smoothed(middle) > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return smoothed(high).reshape(shape)


def risk_coverage(score: Floats, right: Floats) -> Floats:
    """Selective risk ``(..., n)``: the share wrong among the k photos of highest score, k = 1 … n.

    Geifman & El-Yaniv 2017. Photos of equal score count as if in random order, so that the curve
    does not depend on how they happen to be stored.
    """
    order = np.argsort(-score, axis=-1, kind="stable")
    ranked = np.take_along_axis(score, order, axis=-1)
    wrong = 1 - np.take_along_axis(right, order, axis=-1)
    starts = np.ones(score.shape, dtype=int)
    starts[..., 1:] = np.diff(ranked, axis=-1) != 0
    group = starts.ravel().cumsum() - 1  # a new row always starts a new group
    tied = np.bincount(group, wrong.ravel()) / np.bincount(group)
    expected = tied[group].reshape(score.shape)
    return expected.cumsum(axis=-1) / np.arange(1, score.shape[-1] + 1)


def aurc_of_top1(score: Floats, right: Floats) -> Floats:
    """Area ``(...)`` under the risk–coverage curve (Geifman, Uziel, El-Yaniv, ICLR 2019)."""
    return risk_coverage(score, right).mean(axis=-1)


def ece(probabilities: Floats, labels: Ints, bins: int = BINS) -> float:
    """Expected calibration error of the top-1 confidence over equal-width bins ``(a, b]``."""
    return float(ece_of_top1(*top1(probabilities, labels), bins))


def class_residuals(probabilities: Floats, labels: Ints, bins: int = BINS) -> Floats:
    """Each photo's share ``(n, N * bins)`` in the gap of each class's bins: one-hot − p."""
    n, classes = probabilities.shape
    index = np.clip(np.ceil(probabilities * bins).astype(int) - 1, 0, bins - 1)
    residuals = np.zeros((n, classes * bins))
    gap = (labels[:, None] == np.arange(classes)) - probabilities
    np.put_along_axis(residuals, index + bins * np.arange(classes), gap, axis=1)
    return residuals


def classwise_ece(probabilities: Floats, labels: Ints, bins: int = BINS) -> float:
    """ECE of each class's probability against all others, averaged over the N classes.

    Kull et al., NeurIPS 2019; Nixon et al. 2019 (static calibration error).
    """
    residuals = class_residuals(probabilities, labels, bins)
    return float(np.abs(residuals.mean(axis=0)).sum() / probabilities.shape[1])


# Intervals.

SCORES = ("error", "nll", "brier", "ece", "mean_confidence")  # what `metrics.json` holds

OF_TOP1: dict[str, Callable[[Floats, Floats], Floats]] = {
    "ece": ece_of_top1,
    "ece_equal_mass": lambda confidence, right: ece_of_top1(confidence, right, equal_mass=True),
    "max_ce": max_ce_of_top1,
    "smooth_ece": smooth_ece_of_top1,
    "aurc": aurc_of_top1,
}


def score(name: str, probabilities: Floats, labels: Ints) -> float:
    """One score by its name: those of ``losses`` and ``OF_TOP1``, and ``classwise_ece``."""
    if name == "classwise_ece":
        return classwise_ece(probabilities, labels)
    if name in OF_TOP1:
        return float(OF_TOP1[name](*top1(probabilities, labels)))
    return float(losses(probabilities, labels)[name].mean())


def draws(n: int, resamples: int = RESAMPLES, seed: int = BOOTSTRAP_SEED) -> Ints:
    """Which of n photos are in each bootstrap resample ``(resamples, n)``."""
    return np.random.default_rng(seed).integers(n, size=(resamples, n))


def resampled(
    names: Sequence[str], probabilities: Floats, labels: Ints, drawn: Ints
) -> dict[str, Floats]:
    """The named scores of every resample: ``(resamples,)`` each, for ``drawn`` ``(resamples, n)``.

    The bootstrap (Efron 1979): photos drawn with replacement. All resamples are scored at once,
    which is far faster than one by one. Two classifiers scored on the same ``drawn`` can be
    compared in pairs.
    """
    n = len(labels)
    confidence, right = top1(probabilities, labels)
    per_photo = losses(probabilities, labels)
    residuals = class_residuals(probabilities, labels) if "classwise_ece" in names else None
    values: dict[str, list[Floats]] = {name: [] for name in names}
    for chunk in np.array_split(drawn, -(-len(drawn) // 50)):  # some 50 resamples fit the cache
        top1_of_chunk = confidence[chunk], right[chunk]
        for name in names:
            if name == "classwise_ece" and residuals is not None:
                times = np.stack([np.bincount(draw, minlength=n) for draw in chunk])
                totals = np.abs(times @ residuals).sum(axis=-1)
                values[name].append(totals / n / probabilities.shape[1])
            elif name in OF_TOP1:
                values[name].append(OF_TOP1[name](*top1_of_chunk))
            else:
                values[name].append(per_photo[name][chunk].mean(axis=-1))
    return {name: np.concatenate(parts) for name, parts in values.items()}


def interval(value: float, resampled_values: Floats) -> Interval:
    """A value with the spread of its resampled values, 2.5 % to 97.5 %, centred on the value.

    Centred, because a resample repeats photos, which adds noise, and scores that sum magnitudes
    (ECE and its kin) rise with noise: their raw percentiles may lie wholly above the value.
    """
    low, high = np.percentile(resampled_values, [2.5, 97.5]) + value - resampled_values.mean()
    if resampled_values.min() >= 0:
        low = max(low, 0)
    return Interval(float(value), float(low), float(high))


def ece_by_chance(confidence: Floats, repeats: int = 200, seed: int = BOOTSTRAP_SEED) -> float:
    """The mean ECE of a classifier that is right exactly as often as it says.

    It is above 0: in each bin the share right misses the mean confidence by chance. Right and wrong
    are drawn from the confidences, ``repeats`` times (consistency resampling: Bröcker & Smith 2007;
    for ECE: Vaicenavicius et al. 2019, arXiv 1902.06977).

    Args:
        confidence: ``(n,)``, of n photos.
        repeats: how often.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    right = (rng.random((repeats, len(confidence))) < confidence).astype(np.float64)
    return float(OF_TOP1["ece"](np.broadcast_to(confidence, right.shape), right).mean())


def wilson(right: Floats | float, photos: Floats | Ints | float) -> tuple[Floats, Floats]:
    """The 95 % interval of a share ``right / photos`` (Wilson 1927); 0 to 1 for no photos."""
    right, photos = np.asarray(right, dtype=float), np.asarray(photos, dtype=float)
    centre = right + Z95**2 / 2
    spread = right * (photos - right) / np.where(photos > 0, photos, 1) + Z95**2 / 4
    spread = Z95 * np.sqrt(spread)
    total = photos + Z95**2
    return np.clip((centre - spread) / total, 0, 1), np.clip((centre + spread) / total, 0, 1)
