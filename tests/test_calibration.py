"""Protects the scores, the cures and the words about them: against libraries and definitions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import relplot
import torch
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from model import calibration, calibrators, report
from model.calibrators import CURES, ISOTONIC, NONE, PLATT, TEMPERATURE, Cures, Normalisation
from model.evaluate import Evaluation, load

EVERY_SCORE = list(report.SCORES)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return load()


@pytest.fixture(scope="module")
def cures(evaluation: Evaluation) -> Cures:
    return Cures(evaluation.logits, evaluation.labels)


@pytest.fixture(params=[0, 1], ids=["unsmoothed", "smoothed"])
def classifier(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def probabilities(evaluation: Evaluation, classifier: int) -> np.ndarray:
    return calibration.softmax(evaluation.logits[classifier])


def synthetic(
    n: int = 3000, classes: int = 5, temperature: float = 1.0, seed: int = 0, spread: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``(n, classes)`` and labels; calibrated once divided by ``temperature``."""
    rng = np.random.default_rng(seed)
    z = spread * rng.normal(size=(n, classes))
    labels = (z + rng.gumbel(size=z.shape)).argmax(axis=-1)  # a draw from softmax(z)
    return temperature * z, labels


def stand_in(unsmoothed: np.ndarray, smoothed: np.ndarray, labels: np.ndarray) -> Evaluation:
    names = np.array([f"photo_{i}" for i in range(len(labels))])
    empty: Any = None  # no calibration looks at the activations
    return Evaluation(np.stack([unsmoothed, smoothed]), labels, names, (empty, empty))


# Scores.


def for_torchmetrics(probabilities: np.ndarray) -> torch.Tensor:
    """Below 1, which torchmetrics, whose bins are [a, b), would put into a bin of its own.

    In fp64: its sums over all photos in fp32 may be off by more than a test's bound.
    """
    below_one = np.nextafter(np.float32(1), np.float32(0))
    return torch.from_numpy(np.minimum(probabilities.astype(np.float64), float(below_one)))


@pytest.mark.parametrize("bins", [1, 10, 15, 50])
def test_ece_and_maximum_equal_torchmetrics(
    probabilities: np.ndarray, evaluation: Evaluation, bins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # torchmetrics rounds to fp32
    tensors = for_torchmetrics(probabilities), torch.from_numpy(evaluation.labels)
    classes = probabilities.shape[1]
    theirs = multiclass_calibration_error(*tensors, classes, n_bins=bins, norm="l1")
    assert calibration.ece(probabilities, evaluation.labels, bins) == pytest.approx(
        float(theirs), abs=1e-6
    )
    theirs = multiclass_calibration_error(*tensors, classes, n_bins=bins, norm="max")
    top1 = calibration.top1(probabilities, evaluation.labels)
    assert calibration.max_ce_of_top1(*top1, bins) == pytest.approx(float(theirs), abs=1e-5)


def test_classwise_ece_is_the_mean_of_torchmetrics_binary_ones(
    probabilities: np.ndarray, evaluation: Evaluation
) -> None:
    tensors, labels = for_torchmetrics(probabilities), torch.from_numpy(evaluation.labels)
    each = [
        float(binary_calibration_error(column.contiguous(), (labels == k).int(), n_bins=15))
        for k, column in enumerate(tensors.T)
    ]
    ours = calibration.classwise_ece(probabilities, evaluation.labels)
    assert ours == pytest.approx(np.mean(each), abs=1e-6)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_bins_equal_scikit_learn(
    probabilities: np.ndarray, evaluation: Evaluation, equal_mass: bool
) -> None:
    confidence, right = calibration.top1(probabilities, evaluation.labels)
    bins = calibration.reliability(confidence, right, 12, equal_mass)
    accuracy, mean = calibration_curve(
        right, confidence, n_bins=12, strategy="quantile" if equal_mass else "uniform"
    )
    filled = bins.photos > 0
    np.testing.assert_allclose(bins.accuracy[filled], accuracy, atol=1e-12)
    np.testing.assert_allclose(bins.confidence[filled], mean, atol=1e-12)
    assert bins.photos.sum() == len(right)
    gap = np.abs(bins.accuracy - bins.confidence)[filled] @ bins.photos[filled] / len(right)
    assert calibration.ece_of_top1(confidence, right, 12, equal_mass) == pytest.approx(gap)


def test_nll_and_brier_equal_scikit_learn(
    probabilities: np.ndarray, evaluation: Evaluation, cures: Cures, classifier: int
) -> None:
    classes = list(range(probabilities.shape[1]))
    for cure in CURES:
        cured = cures.crossed(cure)[classifier]
        theirs = log_loss(evaluation.labels, cured, labels=classes)
        assert calibration.nll(cured, evaluation.labels) == pytest.approx(theirs, rel=1e-9)
        theirs = brier_score_loss(evaluation.labels, cured, labels=classes)
        assert calibration.brier(cured, evaluation.labels) == pytest.approx(theirs, rel=1e-9)


def test_smooth_ece_equals_relplot_away_from_the_ends() -> None:
    """At 0 and 1 relplot's grid loses half of the mass; the next test covers the ends."""
    rng = np.random.default_rng(0)
    for bias in (-0.15, 0.0, 0.02, 0.1):
        confidence = rng.uniform(0.3, 0.8, 4000)
        right = (rng.random(4000) < confidence + bias).astype(float)
        ours = calibration.smooth_ece_of_top1(confidence, right)
        assert ours == pytest.approx(relplot.smECE(confidence, right), abs=1.5e-3)


def test_smooth_ece_solves_its_equation(probabilities: np.ndarray, evaluation: Evaluation) -> None:
    """∫ |r̂_σ| = σ, with the reflected Gaussian summed over its mirror images, photo by photo."""
    confidence, right = calibration.top1(probabilities, evaluation.labels)
    sigma = float(calibration.smooth_ece_of_top1(confidence, right))
    t = (np.arange(2000) + 0.5) / 2000
    smoothed = np.zeros_like(t)
    for mirror in range(-2, 3):
        for image in (2 * mirror + confidence, 2 * mirror - confidence):
            kernel = np.exp(-0.5 * ((t[:, None] - image) / sigma) ** 2)
            smoothed += kernel @ (confidence - right) / (sigma * np.sqrt(2 * np.pi))
    assert np.abs(smoothed / len(right)).mean() == pytest.approx(sigma, abs=1e-3)


def test_aurc_by_definition(probabilities: np.ndarray, evaluation: Evaluation) -> None:
    confidence, right = calibration.top1(probabilities, evaluation.labels)
    order = np.argsort(-confidence, kind="stable")
    wrong = (1 - right)[order]
    risks = [wrong[:k].mean() for k in range(1, len(wrong) + 1)]
    # Only photos that tie in confidence may tell the two apart.
    ties = len(confidence) - len(np.unique(confidence))
    assert calibration.aurc_of_top1(confidence, right) == pytest.approx(
        np.mean(risks), abs=1e-12 + ties / len(confidence)
    )


def test_aurc_has_its_published_optimum() -> None:
    """Perfectly ranked at error r: r + (1 − r) ln(1 − r) (Geifman, Uziel, El-Yaniv 2019)."""
    n, r = 20000, 0.2
    right = np.arange(n) >= r * n
    best = calibration.aurc_of_top1(np.arange(n) / n, right.astype(float))
    assert best == pytest.approx(r + (1 - r) * np.log(1 - r), abs=1e-3)


def test_ties_do_not_depend_on_the_order_of_storage() -> None:
    rng = np.random.default_rng(0)
    score, right = rng.integers(4, size=300) / 4, rng.integers(2, size=300).astype(float)
    shuffle = rng.permutation(300)
    np.testing.assert_allclose(
        calibration.risk_coverage(score, right),
        calibration.risk_coverage(score[shuffle], right[shuffle]),
    )
    np.testing.assert_allclose(calibration.risk_coverage(np.ones(300), right), 1 - right.mean())


def test_wilson_equals_scipy() -> None:
    for right, photos in ((0, 5), (5, 5), (3, 17), (900, 1000)):
        theirs = binomtest(right, photos).proportion_ci(0.95, method="wilson")
        low, high = calibration.wilson(right, photos)
        assert (float(low), float(high)) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    low, high = calibration.wilson(0, 0)
    assert (float(low), float(high)) == pytest.approx((0, 1))


# Intervals.


def test_all_resamples_at_once_equal_one_by_one() -> None:
    logits, labels = synthetic(n=200, temperature=2)
    probabilities = calibration.softmax(logits)
    drawn = calibration.draws(len(labels), 60)
    fast = calibration.resampled(EVERY_SCORE, probabilities, labels, drawn)
    for name in EVERY_SCORE:
        slow = [calibration.score(name, probabilities[draw], labels[draw]) for draw in drawn]
        np.testing.assert_allclose(fast[name], slow, atol=1e-12, err_msg=name)


def test_intervals_hold_their_value(evaluation: Evaluation) -> None:
    lab = report.Lab(evaluation)
    for name, intervals in lab.scores().items():
        for interval in intervals[:2]:
            assert interval.low <= interval.value <= interval.high, name
            assert interval.low < interval.high, name


def test_the_interval_of_a_mean_covers_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values = rng.normal(size=80)
        draws = calibration.draws(80, 300, seed=trial)
        interval = calibration.interval(values.mean(), values[draws].mean(axis=1))
        covered += interval.low <= 0 <= interval.high
    assert 180 <= covered <= 199


# Cures.


class Logits(ClassifierMixin, BaseEstimator):
    """Logits as a scikit-learn classifier, for ``CalibratedClassifierCV`` to calibrate."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Logits:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X.argmax(axis=-1)


class LogOdds(Logits):
    def decision_function(self, X: np.ndarray) -> np.ndarray:
        return calibrators.log_odds(X)


class Softmax(Logits):
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return calibration.softmax(X).round(calibrators.PROBABILITY_DECIMALS)


@pytest.mark.parametrize(
    ("cure", "method", "stub"), [(PLATT, "sigmoid", LogOdds), (ISOTONIC, "isotonic", Softmax)]
)
@pytest.mark.parametrize("half", [0, 1])
def test_platt_and_isotonic_equal_scikit_learn(
    cures: Cures, classifier: int, cure: str, method: str, stub: type[Logits], half: int
) -> None:
    fit, other = cures.halves[half], cures.halves[1 - half]
    logits, labels = cures.logits[classifier], cures.labels
    theirs = CalibratedClassifierCV(
        FrozenEstimator(stub().fit(logits[fit], labels[fit])), method=method, ensemble=False
    ).fit(logits[fit], labels[fit])
    expected = theirs.predict_proba(logits[other])
    ours = cures.fitted(cure, classifier, half).apply(logits[other])
    # Its L-BFGS stops at its own tolerance, our Newton goes to the minimum: see the next test.
    np.testing.assert_allclose(ours, expected, atol=1e-9 if cure == ISOTONIC else 1e-4)
    assert calibration.nll(ours, labels[other]) == pytest.approx(
        calibration.nll(expected, labels[other]), abs=1e-5
    )
    np.testing.assert_array_equal(cures.crossed(cure)[classifier, other], ours)


def test_platt_equals_logistic_regression_on_platts_targets(cures: Cures, classifier: int) -> None:
    logits, labels = cures.logits[classifier], cures.labels
    ours = cures.fitted(PLATT, classifier)
    assert isinstance(ours, calibrators.Platt)
    x = calibrators.log_odds(logits)
    for k in (0, 17, 36):
        positive = labels == k
        count, n = positive.sum(), len(labels)
        target = np.where(positive, (count + 1) / (count + 2), 1 / (n - count + 2))
        regression = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky")
        regression.fit(
            np.concatenate([x[:, [k]]] * 2),
            np.repeat([1, 0], n),
            sample_weight=np.concatenate([target, 1 - target]),
        )
        assert ours.slope[k] == pytest.approx(regression.coef_[0, 0], rel=1e-4)
        assert ours.intercept[k] == pytest.approx(regression.intercept_[0], rel=1e-4, abs=1e-4)


def test_temperature_is_the_minimum_of_a_grid(cures: Cures, classifier: int) -> None:
    for half in (0, 1, None):
        photos = slice(None) if half is None else cures.halves[half]
        logits, labels = cures.logits[classifier, photos], cures.labels[photos]
        fitted = cures.fitted(TEMPERATURE, classifier, half)
        grid = [
            calibration.nll(calibration.softmax(logits / t), labels)
            for t in np.geomspace(0.05, 20, 1500)
        ]
        ours = calibration.nll(fitted.apply(logits), labels)
        assert min(grid) - 1e-4 < ours <= min(grid) + 1e-9


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    logits, labels = synthetic(n=20000, classes=37, temperature=temperature)
    fitted = calibrators.fit_temperature(logits, labels)
    assert fitted.temperature == pytest.approx(temperature, rel=0.02)


def test_cures_give_distributions(evaluation: Evaluation, cures: Cures) -> None:
    photo = evaluation.logits[:, 7]
    for cure in CURES:
        for probabilities in (cures.crossed(cure), cures.apply(cure, photo)):
            np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)
            assert probabilities.min() >= 0
        np.testing.assert_allclose(
            cures.apply(cure, photo)[0],
            cures.fitted(cure, 0).apply(evaluation.logits[0])[7],
            atol=1e-12,
            err_msg="one photo or many: the same",
        )
    np.testing.assert_array_equal(cures.crossed(NONE), calibration.softmax(evaluation.logits))


def test_isotonic_ties_keep_the_order_before() -> None:
    """Flat curves call all classes equal, curves at 0 make a photo uniform: no new answer."""
    flat = calibrators.Isotonic(((np.array([0.0, 1.0]), np.array([0.4, 0.4])),) * 3)
    zero = calibrators.Isotonic(((np.array([0.0, 1.0]), np.zeros(2)),) * 3)
    logits = np.array([[0.0, 1.0, 2.0], [0.3, 0.1, 0.2]])
    for calibrator in (flat, zero):
        cured = calibrator.apply(logits)
        np.testing.assert_allclose(cured, 1 / 3, atol=1e-9)
        np.testing.assert_allclose(cured.sum(axis=-1), 1, atol=1e-12)
        np.testing.assert_array_equal(cured.argmax(axis=-1), logits.argmax(axis=-1))


def test_temperature_keeps_the_order_and_changed_answers_are_told(
    evaluation: Evaluation, cures: Cures
) -> None:
    for classifier, logits in enumerate(cures.logits):
        cured = cures.fitted(TEMPERATURE, classifier).apply(logits)
        order = np.argsort(-logits, axis=-1, kind="stable")
        assert (np.diff(np.take_along_axis(cured, order, axis=-1), axis=-1) <= 0).all()
    told = dict.fromkeys(CURES, 0)
    for photo in evaluation.logits.swapaxes(0, 1)[:400]:
        before = photo.argmax(axis=-1)
        for cure in CURES:
            changed = cures.changed_answer(cure, photo)
            after = cures.apply(cure, photo).argmax(axis=-1)
            assert changed == tuple(before != after)
            told[cure] += sum(changed)
    assert told[NONE] == told[TEMPERATURE] == 0


def test_platt_can_change_the_answer() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=900)
    logits = 3 * np.eye(3)[labels] + rng.normal(size=(900, 3))
    logits[:, 0] += 3  # shouts class 0
    cures = Cures(np.stack([logits, logits]), labels)
    doubtful = np.array([[2.5, 2.3, -1.0]] * 2)
    assert cures.changed_answer(PLATT, doubtful) == (True, True)
    assert cures.changed_answer(TEMPERATURE, doubtful) == (False, False)


@pytest.mark.parametrize("cure", [TEMPERATURE, PLATT, ISOTONIC])
def test_no_photo_is_cured_by_a_fit_that_saw_it(cure: str) -> None:
    logits, labels = synthetic(n=400, temperature=2)
    cures = Cures(np.stack([logits, logits]), labels)
    first, second = cures.halves
    other = logits.copy()
    other[first] = np.random.default_rng(1).normal(size=other[first].shape)
    changed = Cures(np.stack([other, other]), labels)
    for half, photos in ((0, first), (1, second)):
        probe = logits[photos]
        before, after = (c.fitted(cure, 0, half).apply(probe) for c in (cures, changed))
        assert np.allclose(before, after) == (half == 1)  # only fits on the first half changed
    np.testing.assert_array_equal(
        cures.crossed(cure)[0, first], cures.fitted(cure, 0, 1).apply(logits[first])
    )


def test_fits_and_scores_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = synthetic(n=200)
    calls = []

    def counted(logits: np.ndarray, labels: np.ndarray) -> calibrators.Temperature:
        calls.append(len(labels))
        return calibrators.fit_temperature(logits, labels)

    monkeypatch.setitem(calibrators.FIT, TEMPERATURE, counted)
    cures = Cures(np.stack([logits, logits]), labels)
    assert not calls, "nothing is fitted before it is asked for"
    for _ in range(3):
        cures.crossed(TEMPERATURE)
        cures.apply(TEMPERATURE, logits[:2])
    assert len(calls) == 6, "two classifiers, on each half and on the whole"


def test_unknown_cure_is_explained(cures: Cures) -> None:
    with pytest.raises(ValueError, match=r"'prayer': choose one of none, temperature"):
        cures.fitted("prayer", 0)


# Degenerate inputs.


@pytest.mark.parametrize("truth", ["all right", "all wrong"])
@pytest.mark.parametrize("classes", [2, 5])
def test_all_right_and_all_wrong(truth: str, classes: int) -> None:
    logits, _ = synthetic(n=300, classes=classes)
    answers = logits.argmax(axis=-1)
    labels = answers if truth == "all right" else (answers + 1) % classes
    lab = report.Lab(stand_in(logits, logits / 2, labels))
    for cure in CURES:
        probabilities = lab.cures.crossed(cure)
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)
        for bins in lab.reliability(cure, 10, True) + lab.reliability(cure, 10, False):
            assert bins.photos.sum() == 300
    low, high = calibrators.TEMPERATURES
    temperature = lab.cures.fitted(TEMPERATURE, 0)
    assert isinstance(temperature, calibrators.Temperature)
    if truth == "all right":
        assert temperature.temperature == pytest.approx(low, rel=0.01)
        assert lab.remainder(0, report.CONFIDENCE, 0.1).wrong == 0
    elif classes == 2:
        assert temperature.temperature == pytest.approx(high, rel=0.01)
    text = report.report(lab, 15, False, NONE, 0.1)
    assert "nan" not in text.lower()
    assert "inf" not in text.lower().replace("info", "")


def test_empty_bins_count_for_nothing() -> None:
    bins = calibration.reliability(np.array([0.9, 0.95]), np.array([1.0, 0.0]), 10)
    assert bins.photos.tolist() == [0] * 8 + [1, 1]
    assert np.isnan(bins.accuracy[:8]).all()
    assert "–" in report.bin_table(bins).markdown()
    ece = calibration.ece_of_top1(np.array([0.9, 0.95]), np.array([1.0, 0.0]), 10)
    assert ece == pytest.approx((0.1 + 0.95) / 2)


@pytest.mark.parametrize("photos_of_class", [0, 1])
def test_a_class_missing_in_a_half(photos_of_class: int) -> None:
    logits, labels = synthetic(n=400, classes=4)
    keep = labels != 3
    keep[np.flatnonzero(labels == 3)[:photos_of_class]] = True
    logits, labels = logits[keep], labels[keep]
    cures = Cures(np.stack([logits, logits]), labels)
    assert any(3 not in labels[half] for half in cures.halves)
    for cure in CURES:
        probabilities = cures.crossed(cure)
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)
        assert np.isfinite(calibration.nll(probabilities[0], labels))


def test_two_classes_equal_the_sigmoid_of_the_difference() -> None:
    logits, labels = synthetic(n=500, classes=2)
    np.testing.assert_allclose(
        calibrators.log_odds(logits)[:, 0], logits[:, 0] - logits[:, 1], atol=1e-12
    )
    cures = Cures(np.stack([logits, 3 * logits]), labels)
    for cure in CURES:
        np.testing.assert_allclose(cures.crossed(cure).sum(axis=-1), 1, atol=1e-6)


def test_extreme_and_constant_logits() -> None:
    labels = np.arange(40) % 4
    for logits in (np.zeros((40, 4)), 1e4 * np.eye(4)[labels], -1e4 * np.eye(4)[labels]):
        for fit in calibrators.FIT.values():
            probabilities = fit(logits, labels).apply(logits)
            np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)
        assert np.isfinite(Normalisation(3).apply(logits)).all()
    odds = calibrators.log_odds(np.array([800.0, 0.0, -800.0]))
    assert np.isfinite(odds).all()


def test_too_few_photos_are_explained() -> None:
    with pytest.raises(ValueError, match="cannot be halved"):
        Cures(np.zeros((2, 2, 2)), np.array([0, 1]))


def test_log_odds_are_exact_for_the_sure(probabilities: np.ndarray, classifier: int) -> None:
    """Where ``log(p / (1 - p))`` loses its digits: p near 1."""
    logits = np.array([30.0, 0.0, 0.0])
    assert calibrators.log_odds(logits)[0] == pytest.approx(30 - np.log(2), abs=1e-12)
    moderate = probabilities[probabilities.max(axis=-1) < 0.999][:200]
    expected = np.log(moderate) - np.log1p(-moderate)
    np.testing.assert_allclose(calibrators.log_odds(np.log(moderate)), expected, rtol=1e-7)


# Selective classification.


def test_normalisation_equals_torch_and_ignores_scale_and_shift(evaluation: Evaluation) -> None:
    logits = evaluation.logits[1, :200].astype(np.float64)
    for p in (1, 3, 8):
        centred = torch.from_numpy(logits - logits.mean(axis=-1, keepdims=True))
        theirs = torch.nn.functional.normalize(centred, p=p, dim=-1).max(dim=-1).values.numpy()
        np.testing.assert_allclose(Normalisation(p).apply(logits), theirs, rtol=1e-9)
        np.testing.assert_allclose(
            Normalisation(p).apply(3 * logits + 11), Normalisation(p).apply(logits), rtol=1e-9
        )


def test_normalisation_mends_what_shrunken_logits_break() -> None:
    """Sure photos' logits shrunk most, as label smoothing does (Xia et al. 2025, section 4)."""
    rng = np.random.default_rng(0)
    z, labels = synthetic(n=3000, classes=10, spread=3)
    broken = z / np.linalg.norm(z, axis=-1, keepdims=True) * rng.uniform(1, 8, size=(3000, 1))
    cures = Cures(np.stack([z, broken]), labels)
    confidence, right = cures.top1(NONE)[1]
    before = calibration.aurc_of_top1(confidence, right)
    assert calibration.aurc_of_top1(cures.normalised_scores(1), right) < before - 0.01
    assert cures.normalisation(1, 0).p is not None
    for half in (0, 1):
        chosen = cures.normalisation(1, half).apply(broken[cures.halves[half]])
        areas = [
            calibration.aurc_of_top1(
                Normalisation(p).apply(broken[cures.halves[half]]), right[cures.halves[half]]
            )
            for p in (None, *calibrators.NORMS)
        ]
        ours = calibration.aurc_of_top1(chosen, right[cures.halves[half]])
        assert ours == pytest.approx(min(areas))


def test_declining_keeps_the_best_ranked(evaluation: Evaluation) -> None:
    lab = report.Lab(evaluation)
    confidence, right = lab.cures.top1(NONE)[0]
    rest = lab.remainder(0, report.CONFIDENCE, 0.25)
    answered = np.argsort(-confidence, kind="stable")[: round(0.75 * len(right))]
    assert rest.photos == len(answered)
    tied = (confidence == confidence[answered[-1]]).sum() - 1
    assert rest.wrong == pytest.approx((1 - right[answered]).sum(), abs=1e-6 + tied)
    assert lab.remainder(0, report.CONFIDENCE, 0).wrong == pytest.approx((1 - right).sum())


# The record of similar photos.


def test_track_record_counts_the_neighbours() -> None:
    confidence = np.linspace(0, 1, 1001)
    right = (np.arange(1001) % 4 > 0).astype(float)
    record = calibrators.track_record(0.6, confidence, right)
    assert record.photos >= 100
    inside = (confidence >= record.low) & (confidence <= record.high)
    assert (record.photos, record.right) == (inside.sum(), right[inside].sum())
    assert record.share.low < record.share.value < record.share.high
    assert f"{record.photos:,} test photos" in record.sentence
    assert f"{record.right:,} were right" in record.sentence
    assert calibrators.track_record(1.0, confidence, right).high == 1
    few = calibrators.track_record(0.9, confidence[:5], right[:5])
    assert few.photos == 5, "with fewer photos than enough: all of them"


def test_track_records_use_cured_confidence(evaluation: Evaluation, cures: Cures) -> None:
    photo = evaluation.logits[:, 3]
    for cure in CURES:
        confidence = cures.apply(cure, photo).max(axis=-1)
        for record, rated in zip(cures.track_records(cure, photo), confidence, strict=True):
            assert record.low <= rated <= record.high
            assert record.photos >= 100


# Words.


def words(scale_first: float, scale_second: float, **options: Any) -> tuple[report.Lab, str]:
    z, labels = synthetic(**options)
    lab = report.Lab(stand_in(scale_first * z, scale_second * z, labels))
    return lab, "\n".join(report.story(lab))


def test_words_for_over_and_under_confidence() -> None:
    lab, text = words(2.5, 0.4)
    first, second = (lab.scores()["overconfidence"][k].value for k in (0, 1))
    assert first > 0 > second
    assert f"unsmoothed classifier is over-confident by {100 * first:.1f} points" in text
    assert f"smoothed one under-confident by {-100 * second:.1f} points" in text
    assert text.count("repairs it") == 2
    assert text.count("lowers NLL") == 2
    for value in (2.5, 0.4):
        fits = lab.cured(TEMPERATURE)[int(value < 1)].temperatures
        assert fits == pytest.approx((value, value), rel=0.06)
        assert f"A temperature of {fits[0]:.2f}" in text


def test_words_for_the_calibrated() -> None:
    lab, text = words(1.0, 1.0, seed=3)
    assert report.direction(lab.scores()["overconfidence"][0]) == 0
    assert "is neither over- nor under-confident, the smoothed one neither" in text
    assert text.count("leaves that so") == 2
    assert "repairs" not in text
    assert "does not clearly change selective classification" in text


def test_words_when_a_cure_hurts() -> None:
    """Isotonic regression on few photos of many classes rules true ones out."""
    lab, text = words(1.0, 1.0, n=600, classes=20)
    assert report.direction(lab.cured(ISOTONIC)[0].nll_change) > 0
    assert "isotonic regression raises it to" in text
    assert f"on {lab.cured(ISOTONIC)[0].ruled_out} photos" in text


def test_words_when_a_temperature_does_not_repair() -> None:
    """Half of the photos far too sure, half far too unsure: one number cannot mend both."""
    z, labels = synthetic(n=4000, spread=3)
    mixed = z * np.where(np.arange(4000) % 2 == 0, 6.0, 0.12)[:, None]
    lab = report.Lab(stand_in(mixed, z, labels))
    after = lab.cured(TEMPERATURE)[0].scores["overconfidence"]
    assert report.direction(after) != 0
    first = report.on_confidence(lab, 0)
    assert "mends part" in first or "does not repair" in first or "spoils" in first


def test_the_mark_follows_nll(evaluation: Evaluation) -> None:
    lab = report.Lab(evaluation)
    for classifier in (0, 1):
        nlls = [calibration.nll(lab.cures.crossed(c)[classifier], lab.labels) for c in CURES]
        rows = report.cure_table(lab, classifier).rows
        marked = [row[1].marked for row in rows]
        assert marked.count(True) == 1
        assert marked.index(True) == int(np.argmin(nlls))
        assert not any(cell.marked for row in rows for cell in (row[0], *row[2:]))


# The command.


def test_the_command_recomputes_the_numbers(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.md"
    flags = ["--bins", "9", "--equal-mass", "--cure", "temperature", "--decline", "20"]
    monkeypatch.setattr(sys, "argv", ["report", *flags, "--out", str(out)])
    report.main()
    text = out.read_text()
    for logits in evaluation.logits:
        probabilities = calibration.softmax(logits)
        true = log_softmax(logits.astype(float), axis=-1)[np.arange(len(logits)), evaluation.labels]
        assert f"{-true.mean():.4f}" in text
        assert f"{calibration.ece(probabilities, evaluation.labels):.4f}" in text
    assert "9 bins of equal mass, temperature" in text
    assert "Declining 20% of photos" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--evaluation", "nowhere.npz"], "nowhere.npz is missing"),
        (["--bins", "0"], "--bins must be at least 1"),
        (["--decline", "100"], "--decline must be"),
    ],
)
def test_the_command_explains_bad_input(
    flags: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", *flags])
    with pytest.raises(SystemExit):
        report.main()
    assert message in capsys.readouterr().err


def test_serving_needs_no_scikit_learn_and_no_matplotlib() -> None:
    """Start-up time is a feature; scikit-learn and relplot are for these tests alone."""
    import subprocess

    code = (
        "import sys, numpy as np\n"
        "from model import report, evaluate\n"
        "from model.tabs import calibration\n"
        "from model.calibrators import CURES\n"
        "lab = report.Lab(evaluate.load())\n"
        "[lab.cures.apply(cure, lab.cures.logits[:, 0]) for cure in CURES]\n"
        "heavy = {'sklearn', 'matplotlib', 'fastai', 'relplot', 'torchmetrics', 'seaborn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(report.__file__).parent.parent
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_ece_by_chance_is_the_mean_deviation_of_a_share() -> None:
    """In one bin it is that of a binomial share, √(2 p (1 − p) / (π n)) for many photos."""
    p, n = 0.8, 2000
    expected = np.sqrt(2 * p * (1 - p) / (np.pi * n))
    measured = calibration.ece_by_chance(np.full(n, p), repeats=2000)
    assert measured == pytest.approx(expected, rel=0.05)
    assert calibration.ece_by_chance(np.ones(50)) == 0
