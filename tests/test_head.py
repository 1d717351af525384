"""Protects the live head: it reaches the optimum, it is honest, and no setting breaks it."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from model import head
from model.calibration import softmax
from model.evaluate import Evaluation, Penultimate, load, rotate
from model.head import Bench, Settings
from model.pets import BREEDS
from model.pets import test_halves as halves_of

LABELS = np.repeat(np.arange(37), 30)


def penultimate(seed: int = 0, width: int = 60, keep: int = 48) -> Penultimate:
    """Activations of 30 photos per breed around breed means, and the mean's own templates."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(37, width))
    activations = means[LABELS] + rng.normal(scale=1.2, size=(len(LABELS), width))
    made = rotate(activations.astype(np.float32), means, -0.5 * (means**2).sum(axis=1))
    return replace(
        made,
        features=made.features[:, :keep],
        rotation=made.rotation[:, :keep],
        templates=made.templates[:, :keep],
    )


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(penultimate(), LABELS)


def finish(bench: Bench, settings: Settings) -> head.Result:
    *_, last = head.run(bench, settings)
    assert last is not None
    assert last.result is not None
    return last.result


def penalised(
    weight: np.ndarray, bias: np.ndarray, x: np.ndarray, target: np.ndarray, decay: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss and its gradient in float64, written out."""
    logits = x @ weight + bias
    p = softmax(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -(target * log_p).sum(axis=1).mean() + decay / 2 * (weight**2).sum()
    residual = (p - target) / len(x)
    return loss, x.T @ residual + decay * weight, residual.sum(axis=0)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("source", ["made", "released"])
def test_the_default_head_is_the_optimum_to_one_percent(source: str, epsilon: float) -> None:
    """Against SciPy's L-BFGS in float64, run until it cannot go on."""
    if source == "made":
        bench = Bench(penultimate(), LABELS)
    else:
        evaluation = load()
        bench = Bench(evaluation.penultimate[0], evaluation.labels)
    settings = Settings(epsilon=epsilon)
    x = bench.train.numpy().astype(np.float64)
    n, k = x.shape
    target = np.full((n, 37), epsilon / 37)
    target[np.arange(n), bench.train_labels] += 1 - epsilon

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[:-37].reshape(k, 37), flat[-37:]
        loss, by_weight, by_bias = penalised(weight, bias, x, target, settings.weight_decay)
        return loss, np.concatenate([by_weight.ravel(), by_bias])

    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-13, "gtol": 1e-8}
    optimum = minimize(
        objective, np.zeros(37 * k + 37), jac=True, method="L-BFGS-B", options=options
    )
    assert optimum.success, optimum.message
    *_, last = head.training(bench, head.draw(bench.train_labels, settings), settings)
    ours = penalised(
        last.head.weight.double().numpy(), last.head.bias.double().numpy(), x, target, 1e-3
    )[0]
    assert settings.weight_decay == 1e-3
    assert optimum.fun * (1 - 1e-6) <= ours <= optimum.fun * 1.01
    assert last.loss == pytest.approx(ours, rel=1e-4)


VARIED = [
    Settings(epsilon=0.2, noise=0.3, photos=10, seed=5),
    Settings(dropout=0.5, early_stopping=True, seed=5),
]


@pytest.mark.parametrize("settings", VARIED)
def test_same_seed_same_bits_and_nobody_elses_chance(bench: Bench, settings: Settings) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state(legacy=True)[1]
    first = finish(bench, settings)
    torch.manual_seed(2)
    np.random.seed(2)
    second = finish(bench, settings)
    assert torch.equal(first.head.weight, second.head.weight)
    assert torch.equal(first.head.bias, second.head.bias)
    assert first.test.scores == second.test.scores
    other = finish(bench, replace(settings, seed=6))
    assert not torch.equal(first.head.weight, other.head.weight)
    torch.manual_seed(1)
    np.random.seed(1)
    finish(bench, settings)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state(legacy=True)[1], before[1])


def test_interleaved_visitors_get_what_each_alone_gets(bench: Bench) -> None:
    alone = [finish(bench, settings) for settings in VARIED]
    runs = [head.run(bench, settings) for settings in VARIED]
    results: list[head.Result | None] = [None, None]
    while runs != [None, None]:
        for i, going in enumerate(runs):
            progress = next(going, None) if going is not None else None
            if progress is not None and progress.result is not None:
                results[i], runs[i] = progress.result, None
    for one, other in zip(alone, results, strict=True):
        assert other is not None
        assert torch.equal(one.head.weight, other.head.weight)


EXTREMES = {"photos": 5, "noise": 0.6, "epsilon": 0.9, "weight_decay": 0.0, "steps": 400}
ALL_AT_ONCE = EXTREMES | {"dropout": 0.9, "early_stopping": True, "steps": 60}


@pytest.mark.parametrize(
    "extreme",
    [
        *({name: value} for name, value in EXTREMES.items()),
        EXTREMES,
        ALL_AT_ONCE,
        {"weight_decay": 0.0, "epsilon": 0.0, "steps": 400, "photos": 5},
        {"weight_decay": 10.0},
        {"steps": 1},
    ],
)
def test_extremes_are_finite(bench: Bench, extreme: dict) -> None:
    result = finish(bench, Settings(**extreme))
    assert torch.isfinite(result.head.weight).all()
    for measured in (result.train, result.test):
        assert np.isfinite(list(measured.scores.values())).all()
        assert 0 < measured.confidence.min() <= measured.confidence.max() <= 1


def test_settings_out_of_range_are_explained() -> None:
    for wrong in ({"epsilon": 1.0}, {"noise": -0.1}, {"steps": 0}, {"photos": 4}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Settings(**wrong)
    with pytest.raises(ValueError, match="epsilon"):
        Settings(epsilon=float("nan"))


def test_nothing_of_the_measuring_half_is_learned_from() -> None:
    """The halves are disjoint and complete; other test photos change nothing but the scores."""
    data = penultimate()
    train, test = halves_of(LABELS)
    bench = Bench(data, LABELS)
    np.testing.assert_array_equal(bench.halves[0], train)
    assert sorted([*train, *test]) == list(range(len(LABELS)))
    features = data.features.copy()
    features[test] = np.random.default_rng(1).normal(size=features[test].shape)
    other = Bench(replace(data, features=features), LABELS)
    settings = Settings(early_stopping=True)
    one, two = finish(bench, settings), finish(other, settings)
    assert torch.equal(one.head.weight, two.head.weight)
    assert one.test.scores["error"] < two.test.scores["error"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.6])
@pytest.mark.parametrize("photos", [None, 5])
def test_the_share_of_noise_is_exact(share: float, photos: int | None) -> None:
    labels = LABELS[halves_of(LABELS)[0]]
    settings = Settings(noise=share, photos=photos, early_stopping=True)
    drawn = head.draw(labels, settings)
    used = np.concatenate([drawn.photos, drawn.validation])
    assert len(used) == len(np.unique(used)) == 37 * (photos or 15)
    assert (drawn.labels[used] != labels[used]).sum() == round(share * len(used))
    assert 0 <= drawn.labels.min() <= drawn.labels.max() < 37
    assert len(drawn.validation) == 37 * round(0.2 * (photos or 15))
    assert set(np.bincount(labels[used])) == {photos or 15}


def test_noise_is_uniform_over_the_other_breeds_and_only_grows() -> None:
    labels = np.repeat(np.arange(37), 2000)
    little, much = (head.draw(labels, Settings(noise=share)) for share in (0.2, 0.6))
    moved = much.labels != labels
    shift = (much.labels[moved] - labels[moved]) % 37
    counts = np.bincount(shift, minlength=37)
    assert counts[0] == 0
    expected = moved.sum() / 36
    assert np.abs(counts[1:] - expected).max() < 5 * np.sqrt(expected)
    before = little.labels != labels
    assert moved[before].all()
    np.testing.assert_array_equal(little.labels[before], much.labels[before])


def test_noise_is_memorised_by_the_training_photos_alone(bench: Bench) -> None:
    clean, noisy = finish(bench, Settings()), finish(bench, Settings(noise=0.5))
    assert noisy.train.scores["error"] < 0.5
    assert noisy.test.scores["error"] > clean.test.scores["error"] + 0.1


def test_early_stopping_stops_and_keeps_the_best(bench: Bench) -> None:
    settings = Settings(epsilon=0.0, early_stopping=True, noise=0.5, weight_decay=0.0, steps=200)
    drawn = head.draw(bench.train_labels, settings)
    steps = list(head.training(bench, drawn, settings))
    assert steps[-1].ended == "stopped early"
    assert len(steps) < 200
    watched = bench.train[torch.from_numpy(drawn.validation)]
    true = drawn.labels[drawn.validation]

    def nll(step: head.Step) -> float:
        p = softmax(step.head.on_standardised(watched))
        return float(-np.log(p[np.arange(len(true)), true]).mean())

    values = [nll(step) for step in steps]
    assert values[-1] == min(values)
    assert values[:-1].index(min(values)) == len(steps) - 1 - head.PATIENCE
    assert [step.kept for step in steps[:-1]] == [step.number for step in steps[:-1]]
    assert steps[-1].kept == len(steps) - head.PATIENCE
    without = finish(bench, replace(settings, early_stopping=False))
    assert finish(bench, settings).test.scores["nll"] < without.test.scores["nll"]
    assert without.ended != "stopped early"


def test_the_curve_ends_at_the_result(bench: Bench) -> None:
    reports = [progress for progress in head.run(bench, Settings(epsilon=0)) if progress]
    curve = reports[-1].curve
    result = reports[-1].result
    assert result is not None
    assert [p.curve for p in reports] == [curve[: i + 1] for i in range(len(reports))]
    assert [p.step for p in curve] == sorted({p.step for p in curve})
    assert curve[-1].step == result.steps
    assert curve[-1].test == pytest.approx(result.test.scores["nll"], rel=1e-5)
    assert curve[-1].train == pytest.approx(result.train.scores["nll"], rel=1e-4)
    assert curve[0].train > curve[-1].train


@pytest.mark.parametrize("steps", [200, 12])  # stopped early, and out of steps
def test_the_curve_shows_the_step_that_is_kept(bench: Bench, steps: int) -> None:
    """Not as if the best head were that of the last step."""
    settings = Settings(epsilon=0.0, early_stopping=True, noise=0.5, weight_decay=0.0, steps=steps)
    last = list(head.run(bench, settings))[-1]
    assert last is not None
    result = last.result
    assert result is not None
    assert result.kept < result.steps <= steps
    at = next(point for point in last.curve if point.step == result.kept)
    assert at.test == pytest.approx(result.test.scores["nll"], rel=1e-5)
    assert [p.step for p in last.curve] == sorted({p.step for p in last.curve})
    assert result.steps not in [p.step for p in last.curve]


def test_scores_by_hand() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.25, 0.5, 0.25]]))
    measured = head.measure(logits, np.array([0, 2]))
    assert measured.scores["error"] == 0.5
    assert measured.scores["nll"] == pytest.approx(-(np.log(0.8) + np.log(0.25)) / 2)
    assert measured.scores["ece"] == pytest.approx((0.2 + 0.5) / 2)
    assert measured.scores["overconfidence"] == pytest.approx(0.65 - 0.5)
    assert measured.scores["norm"] == pytest.approx(np.linalg.norm(logits, axis=1).mean())
    assert measured.histogram().sum() == pytest.approx(1)
    assert measured.histogram()[[10, 16]].tolist() == pytest.approx([0.5, 0.5])


def test_a_photo_under_the_new_head() -> None:
    """Unrotated activations of a test photo get the probabilities that its rotated ones get."""
    rng = np.random.default_rng(3)
    activations = rng.normal(size=(len(LABELS), 40)).astype(np.float32)
    data = rotate(activations, rng.normal(size=(37, 40)), np.zeros(37))
    trained = finish(Bench(data, LABELS), Settings()).head
    p = head.probabilities_of(trained, data, activations[7])
    assert p.shape == (37,)
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(p, softmax(trained.logits(data.features[7:8]))[0], atol=0.01)


# The sweep.


@pytest.fixture(scope="module")
def swept() -> head.Sweep:
    settings = Settings(noise=0.2, photos=10)
    *steps, (share, result) = head.sweep(penultimate(), LABELS, settings, (0.0, 0.1, 0.5), 2)
    shares = [share for share, _ in steps]
    assert shares == sorted(shares)
    assert (share, shares[0]) == (1, 0)
    assert result is not None
    return result


def test_the_sweep_is_single_heads(swept: head.Sweep, bench: Bench) -> None:
    """Its first seed uses the fixed halves, so it finds what the tab finds."""
    for row, epsilon in enumerate(swept.epsilons):
        alone = finish(bench, Settings(epsilon=float(epsilon), noise=0.2, photos=10))
        for score in head.SWEPT:
            assert swept.values[score][row, 0] == alone.test.scores[score]
            assert swept.values[score][row, 0] != swept.values[score][row, 1]


def test_the_sweep_in_words() -> None:
    values = {
        "error": np.array([[0.10, 0.12], [0.07, 0.08], [0.2, 0.2]]),
        "nll": np.array([[0.3, 0.4], [0.45, 0.5], [0.5, 0.6]]),
        "ece": np.array([[0.05, 0.02], [0.01, 0.05], [0.2, 0.3]]),
    }
    made = head.Sweep(Settings(), np.array([0.0, 0.1, 0.2]), values)
    assert head.sweep_sentence(made) == (
        "The error is lowest at ε = 0.1 (7.5 %; 3.5 points below ε = 0, more than the 0.7 points "
        "by which this difference varies between seeds), NLL is lowest at ε = 0 (0.350; ε = 0.1 "
        "has 0.125 more, more than the 0.035 by which this difference varies between seeds), ECE "
        "is lowest at ε = 0.1 (0.030; 0.005 below ε = 0, no more than the 0.049 by which this "
        "difference varies between seeds)."
    )
    table = head.sweep_table(made).markdown().splitlines()
    assert table[0].startswith("| ε | Wrong | NLL | ECE |")
    assert table[3] == "| 0.1 | **7.5 ± 0.7 %** | 0.475 ± 0.035 | **0.030 ± 0.028** |"


def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = penultimate()
    evaluation = Evaluation(
        np.zeros((2, len(LABELS), 37)), LABELS, LABELS.astype(str), (made, made)
    )
    monkeypatch.setattr(head, "load", lambda _: evaluation)
    monkeypatch.setattr(sys, "argv", ["head", "--seeds", "2"])
    head.main()
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2 + 10 + 1 + 1
    assert "lowest at ε" in lines[-1]


# The geometry.


def test_the_plane_is_orthonormal_and_nearest() -> None:
    """Projected points are the least-squares nearest on the plane through the templates."""
    rng = np.random.default_rng(0)
    templates, points = rng.normal(size=(3, 20)), rng.normal(size=(50, 20))
    basis = head.plane(templates)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
    spanning = np.stack([templates[1] - templates[0], templates[2] - templates[0]], axis=1)
    coefficients, *_ = np.linalg.lstsq(spanning, (points - templates[0]).T, rcond=None)
    nearest = templates[0] + (spanning @ coefficients).T
    ours = templates[0] + (points - templates[0]) @ basis @ basis.T
    np.testing.assert_allclose(ours, nearest, atol=1e-10)
    np.testing.assert_allclose(  # all distances between templates survive: they lie on it
        np.linalg.norm((templates[1] - templates[2]) @ basis),
        np.linalg.norm(templates[1] - templates[2]),
    )
    assert (templates[1] - templates[0]) @ basis[:, 0] > 0


def test_tightness_by_hand() -> None:
    """Means (0, 0) and (4, 0): within (1 + 1 + 1 + 1) / 4, between 4."""
    points = np.array([[-1.0, 0], [1, 0], [4, 1], [4, -1]])
    labels = np.array([3, 3, 9, 9])
    assert head.tightness(points, labels) == pytest.approx(1 / 4)
    assert head.tightness(3 * points + 5, labels) == pytest.approx(1 / 4)
    weighted = np.array([[0.0], [0], [0], [4]])  # mean 1: between 3·1 + 9, within 0
    assert head.tightness(weighted, np.array([0, 0, 0, 1])) == 0
    assert head.tightness(np.ones((4, 2)), labels) == float("inf")


def test_a_projection_holds_the_three_breeds() -> None:
    made = penultimate()
    logits = np.stack([made.features @ made.templates.T + made.bias] * 2)
    names = np.array([f"photo_{i}" for i in range(len(LABELS))])
    evaluation = Evaluation(logits, LABELS, names, (made, penultimate(1)))
    breeds = head.telling_breeds(evaluation)
    assert len(set(breeds)) == 3
    shown = head.project(evaluation, 1, breeds)
    assert shown.points.shape == (90, 2)
    assert set(shown.labels) == set(breeds)
    row = int(np.flatnonzero(names == shown.names[40])[0])
    assert LABELS[row] == shown.labels[40]
    data = evaluation.penultimate[1]
    basis = head.plane(data.templates[list(breeds)])
    np.testing.assert_allclose(shown.points[40], data.features[row] @ basis, rtol=1e-3)
    with pytest.raises(ValueError, match="three different breeds"):
        head.project(evaluation, 0, (1, 2, 1))


@pytest.mark.parametrize(
    ("three", "everyone", "verdict"),
    [
        ((0.5, 0.2), (0.9, 0.4), "tighter, as in the paper."),
        ((0.5, 0.7), (0.9, 1.4), "Neither"),
        ((0.5, 0.2), (0.9, 1.4), "These three are tighter"),
        ((0.5, 0.7), (0.9, 0.4), "these three are not"),
    ],
)
def test_the_geometry_in_words(three: tuple, everyone: tuple, verdict: str) -> None:
    empty = np.zeros(0)
    both = tuple(
        head.Projection(empty, empty, empty, a, b) for a, b in zip(three, everyone, strict=True)
    )
    text = head.geometry_sentence(both)
    assert verdict in text
    for value in (*three, *everyone):
        assert f"{value:.2f}" in text


def test_there_is_a_template_for_every_breed() -> None:
    evaluation = load()
    for data in evaluation.penultimate:
        assert data.templates.shape == (len(BREEDS), data.features.shape[1])
