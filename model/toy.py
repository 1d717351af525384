"""The toy's mathematics: what one-hot and smoothed targets ask of a handful of logits.

The page computes the same in the browser (``assets/toy.js``); tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported where it is used: it takes a second, and the page needs it later
    import torch

MIN_CLASSES, MAX_CLASSES = 2, 1000
MAX_LOGIT = 1e300  # differences and sums of 1,000 such logits are still finite


def optimal_lead(epsilon: float, num_classes: int) -> float:
    """How far the true-class logit leads N - 1 equal others where the loss is least.

    ``log((1 - ε + ε/N) / (ε/N))``, which follows from setting the softmax equal to the smoothed
    target (Szegedy et al. 2016, section 7); infinite for ε = 0, and 0 for ε = 1.

    Raises:
        ValueError: ε outside [0, 1], or fewer than two classes.
    """
    _check_setting(epsilon, num_classes)
    if epsilon == 0:
        return math.inf
    # the same ratio as odds + 1: exact near ε = 1, where the lead tends to 0
    odds = num_classes * (1 - epsilon) / epsilon
    if math.isfinite(odds):
        return math.log1p(odds)
    return math.log(num_classes) - math.log(epsilon)


def optimal_confidence(epsilon: float, num_classes: int) -> float:
    """The true class's probability where the loss is least: ``1 - ε + ε/N``.

    Raises:
        ValueError: ε outside [0, 1], or fewer than two classes.
    """
    _check_setting(epsilon, num_classes)
    return 1 - epsilon + epsilon / num_classes


def smooth(logits: Sequence[float], true_class: int, epsilon: float) -> dict[str, Any]:
    """Targets, probabilities, losses and gradients of one example, one-hot and smoothed.

    Args:
        logits: N finite numbers, 2 to 1,000 of them.
        true_class: the label's index, from 0 to N - 1.
        epsilon: ε, from 0 to 1.

    Returns:
        ``epsilon``, ``num_classes``, ``true_class``, ``probabilities`` (N), and under both
        ``one_hot`` and ``smoothed``: ``target`` (N), ``loss`` in nats, its summands ``label_part``
        ``(1 - ε)·ce(true class)`` and ``uniform_part`` ``ε·mean ce``, ``gradient`` (N) of the loss
        on the logits, ``optimum_lead`` (None where it is infinite) and ``optimum_confidence``.
        Nothing but what JSON can say.

    Raises:
        ValueError: an argument outside the above, in one sentence.
    """
    import torch

    values = _check_logits(logits)
    label = _check_true_class(true_class, len(values))
    strength = _check_epsilon(epsilon)
    z = torch.tensor(values, dtype=torch.float64)
    return {
        "epsilon": strength,
        "num_classes": len(values),
        "true_class": label,
        "probabilities": z.softmax(dim=-1).tolist(),
        "one_hot": _side(z, label, 0.0),
        "smoothed": _side(z, label, strength),
    }


def _side(z: torch.Tensor, label: int, epsilon: float) -> dict[str, Any]:
    """Everything about one of the two losses at the logits ``z`` ``(N,)``."""
    n = len(z)
    target = [epsilon / n] * n
    target[label] = optimal_confidence(epsilon, n)
    loss, gradient = _loss_and_gradient(z, label, epsilon)
    lead = optimal_lead(epsilon, n)
    return {
        "target": target,
        "loss": loss,
        "label_part": (1 - epsilon) * _loss_and_gradient(z, label, 0.0)[0],
        "uniform_part": epsilon * _loss_and_gradient(z, label, 1.0)[0],
        "gradient": gradient,
        "optimum_lead": lead if math.isfinite(lead) else None,
        "optimum_confidence": optimal_confidence(epsilon, n),
    }


def _loss_and_gradient(z: torch.Tensor, label: int, epsilon: float) -> tuple[float, list[float]]:
    """The loss at ``z`` ``(N,)`` and its gradient, by differentiating the loss itself."""
    import torch

    from model.loss import LabelSmoothingCrossEntropy

    with torch.inference_mode(False), torch.enable_grad():
        leaf = z.clone().requires_grad_()
        loss = LabelSmoothingCrossEntropy(epsilon)(leaf, torch.tensor(label))
        (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item(), gradient.tolist()


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _finite(value: object) -> float | None:
    """``value`` as a finite float, or None: also for an integer no float can hold."""
    if not _is_number(value):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _check_logits(logits: object) -> list[float]:
    if isinstance(logits, (str, bytes)) or not isinstance(logits, Sequence):
        raise ValueError("The logits must be a list of numbers.")
    if not MIN_CLASSES <= len(logits) <= MAX_CLASSES:
        raise ValueError(
            f"Give {MIN_CLASSES} to {MAX_CLASSES} logits, one per class; there are {len(logits)}."
        )
    values = []
    for index, logit in enumerate(logits):
        value = _finite(logit)
        if value is None or abs(value) > MAX_LOGIT:
            raise ValueError(
                f"Logit {index} must be a finite number of at most {MAX_LOGIT:g} in size."
            )
        values.append(value)
    return values


def _check_true_class(true_class: object, num_classes: int) -> int:
    whole = isinstance(true_class, Integral) and not isinstance(true_class, bool)
    if not whole or not 0 <= true_class < num_classes:  # type: ignore[operator]
        raise ValueError(
            f"The true class must be a whole number from 0 to {num_classes - 1}, "
            f"since there are {num_classes} logits."
        )
    return int(true_class)  # type: ignore[call-overload]


def _check_epsilon(epsilon: object) -> float:
    value = _finite(epsilon)
    if value is None or not 0 <= value <= 1:
        raise ValueError("Epsilon must be a number from 0 to 1.")
    return value


def _check_setting(epsilon: object, num_classes: object) -> None:
    _check_epsilon(epsilon)
    whole = isinstance(num_classes, Integral) and not isinstance(num_classes, bool)
    if not whole or num_classes < MIN_CLASSES:  # type: ignore[operator]
        raise ValueError(f"The number of classes must be a whole number from {MIN_CLASSES} up.")
