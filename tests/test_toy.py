"""The toy's mathematics: closed forms, the loss's parts and gradients, and what it refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from model.toy import optimal_confidence, optimal_lead, smooth

# a busy machine is slow, not wrong
patient = hypothesis.settings(deadline=None)

epsilons = st.floats(0, 1)
vectors = st.lists(st.floats(-60, 60), min_size=2, max_size=50)


@st.composite
def settings(draw: st.DrawFn) -> tuple[list[float], int, float]:
    """Logits, true class and ε."""
    logits = draw(vectors)
    return logits, draw(st.integers(0, len(logits) - 1)), draw(epsilons)


@patient
@given(settings())
def test_losses_are_pytorchs(setting: tuple[list[float], int, float]) -> None:
    logits, label, epsilon = setting
    result = smooth(logits, label, epsilon)
    z = torch.tensor(logits, dtype=torch.float64)
    for side, strength in (("one_hot", 0.0), ("smoothed", epsilon)):
        expected = F.cross_entropy(z, torch.tensor(label), label_smoothing=strength)
        assert result[side]["loss"] == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)


@patient
@given(settings())
def test_the_parts_make_the_loss(setting: tuple[list[float], int, float]) -> None:
    result = smooth(*setting)
    for side in ("one_hot", "smoothed"):
        part = result[side]
        assert part["label_part"] + part["uniform_part"] == pytest.approx(part["loss"], abs=1e-9)
    assert result["one_hot"]["uniform_part"] == 0


@patient
@given(settings())
def test_gradients_are_p_minus_q_and_sum_to_zero(setting: tuple[list[float], int, float]) -> None:
    result = smooth(*setting)
    for side in ("one_hot", "smoothed"):
        part = result[side]
        gaps = [p - q for p, q in zip(result["probabilities"], part["target"], strict=True)]
        assert part["gradient"] == pytest.approx(gaps, abs=1e-12)
        assert sum(part["gradient"]) == pytest.approx(0, abs=1e-12)
        assert sum(part["target"]) == pytest.approx(1, abs=1e-12)


@patient
@given(vectors)
def test_epsilon_0_is_cross_entropy_on_both_sides(logits: list[float]) -> None:
    result = smooth(logits, 0, 0)
    assert result["one_hot"] == result["smoothed"]
    assert result["smoothed"]["optimum_lead"] is None  # infinity


@patient
@given(vectors)
def test_epsilon_1_is_cross_entropy_to_the_uniform_distribution(logits: list[float]) -> None:
    n = len(logits)
    results = [smooth(logits, label, 1.0)["smoothed"] for label in (0, n - 1)]
    z = torch.tensor(logits, dtype=torch.float64)
    uniform = torch.full_like(z, 1 / n)
    expected = F.cross_entropy(z, uniform).item()
    for result in results:  # the label is forgotten
        assert result["loss"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert result["optimum_lead"] == 0
        assert result["optimum_confidence"] == pytest.approx(1 / n)


@patient
@given(st.floats(1e-6, 1), st.integers(2, 1000))
def test_the_optimum_is_where_the_gradient_vanishes(epsilon: float, n: int) -> None:
    lead = optimal_lead(epsilon, n)
    off, on = epsilon / n, 1 - epsilon + epsilon / n
    assert lead == pytest.approx(math.log(on / off), rel=1e-9, abs=1e-12)
    result = smooth([lead] + [0.0] * (n - 1), 0, epsilon)
    assert max(map(abs, result["smoothed"]["gradient"])) < 1e-12
    assert result["probabilities"][0] == pytest.approx(optimal_confidence(epsilon, n), abs=1e-12)
    nearby = [smooth([lead + d] + [0.0] * (n - 1), 0, epsilon) for d in (-0.5, 0.5)]
    assert all(r["smoothed"]["loss"] > result["smoothed"]["loss"] for r in nearby)


@pytest.mark.parametrize(
    ("epsilon", "n", "lead", "confidence"),
    [(0.1, 2, math.log(19), 0.95), (0.1, 10, math.log(91), 0.91), (0.1, 50, math.log(451), 0.902)],
)
def test_worked_examples(epsilon: float, n: int, lead: float, confidence: float) -> None:
    assert optimal_lead(epsilon, n) == pytest.approx(lead, abs=1e-12)
    assert optimal_confidence(epsilon, n) == pytest.approx(confidence, abs=1e-12)


def test_the_lead_grows_without_bound_as_epsilon_vanishes() -> None:
    leads = [optimal_lead(epsilon, 10) for epsilon in (1, 0.1, 1e-9, 1e-300, 5e-324)]
    assert leads == sorted(leads)
    assert math.isfinite(leads[-1])
    assert optimal_lead(0, 10) == math.inf


@patient
@given(
    st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=20),
    epsilons,
)
def test_every_answer_is_plain_json(logits: list[float], epsilon: float) -> None:
    json.dumps(smooth(logits, 0, epsilon), allow_nan=False)


def test_a_thousand_classes() -> None:
    assert len(smooth([0.0] * 1000, 999, 0.1)["probabilities"]) == 1000


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("logits", "true_class", "epsilon", "says"),
    [
        ([1.0, NAN], 0, 0.1, "Logit 1"),
        ([INF, 1.0], 0, 0.1, "Logit 0"),
        ([-INF, 1.0], 0, 0.1, "Logit 0"),
        ([1e301, 1.0], 0, 0.1, "Logit 0"),
        ([10**400, 1.0], 0, 0.1, "Logit 0"),
        ([True, 1.0], 0, 0.1, "Logit 0"),
        (["1", 1.0], 0, 0.1, "Logit 0"),
        ([None, 1.0], 0, 0.1, "Logit 0"),
        ([[1.0], 1.0], 0, 0.1, "Logit 0"),
        ([], 0, 0.1, "2 to 1000 logits"),
        ([1.0], 0, 0.1, "2 to 1000 logits"),
        ([0.0] * 1001, 0, 0.1, "2 to 1000 logits"),
        ("12", 0, 0.1, "list of numbers"),
        (None, 0, 0.1, "list of numbers"),
        ({0: 1.0, 1: 2.0}, 0, 0.1, "list of numbers"),
        ([1.0, 2.0], 2, 0.1, "true class"),
        ([1.0, 2.0], -1, 0.1, "true class"),
        ([1.0, 2.0], True, 0.1, "true class"),
        ([1.0, 2.0], 0.0, 0.1, "true class"),
        ([1.0, 2.0], "0", 0.1, "true class"),
        ([1.0, 2.0], None, 0.1, "true class"),
        ([1.0, 2.0], 0, -0.01, "Epsilon"),
        ([1.0, 2.0], 0, 1.01, "Epsilon"),
        ([1.0, 2.0], 0, NAN, "Epsilon"),
        ([1.0, 2.0], 0, INF, "Epsilon"),
        ([1.0, 2.0], 0, True, "Epsilon"),
        ([1.0, 2.0], 0, "0.1", "Epsilon"),
        ([1.0, 2.0], 0, None, "Epsilon"),
    ],
)
def test_bad_input_gets_one_sentence(logits: Any, true_class: Any, epsilon: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        smooth(logits, true_class, epsilon)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.floats())
)


@patient
@given(anything | st.lists(anything, max_size=5), anything, anything)
def test_nothing_but_an_answer_or_a_sentence(logits: Any, true_class: Any, epsilon: Any) -> None:
    try:
        json.dumps(smooth(logits, true_class, epsilon), allow_nan=False)
    except ValueError as error:
        sentence = str(error)
    else:
        sentence = "An answer."
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("epsilon", "n"), [(1.5, 10), (NAN, 10), (True, 10), (0.1, 1), (0.1, 2.0), (0.1, True)]
)
def test_closed_forms_check_their_setting(epsilon: Any, n: Any) -> None:
    for closed_form in (optimal_lead, optimal_confidence):
        with pytest.raises(ValueError, match="must be"):
            closed_form(epsilon, n)
