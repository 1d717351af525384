"""Label smoothing: the smoothed target, and the cross entropy to it.

Label smoothing (Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7)
replaces the one-hot target by ``1 - ε + ε/N`` on the true class and ``ε/N`` on every other.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Reduction = Literal["mean", "sum", "none"]


def check_epsilon(epsilon: float) -> float:
    """``epsilon`` itself; a ``ValueError`` unless it is a number in [0, 1]."""
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must lie in [0, 1], got {epsilon}.")
    return epsilon


def check_target(target: Tensor, num_classes: int) -> None:
    """A ``ValueError`` unless ``target`` holds integers from 0 to ``num_classes - 1``."""
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise ValueError(f"target must hold integer class indices, got {target.dtype}.")
    if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < num_classes:
        raise ValueError(
            f"target must lie in [0, {num_classes - 1}] for {num_classes} classes, "
            f"got values from {int(target.min())} to {int(target.max())}."
        )


def smoothed_target(target: Tensor, num_classes: int, epsilon: float = 0.1) -> Tensor:
    """The distribution that label smoothing asks for.

    Args:
        target: class indices, integers, any shape ``(...)``.
        num_classes: N.
        epsilon: the mass spread evenly over all N classes, in [0, 1].

    Returns:
        ``(..., N)``, the default float type: ``1 - ε + ε/N`` on the true class, ``ε/N`` elsewhere.

    Raises:
        ValueError: ε outside [0, 1], or a target that is no class index.
    """
    check_epsilon(epsilon)
    check_target(target, num_classes)
    one_hot = nn.functional.one_hot(target.long(), num_classes).to(torch.get_default_dtype())
    return (1 - epsilon) * one_hot + epsilon / num_classes


class LabelSmoothingCrossEntropy(nn.Module):
    """Cross entropy to the smoothed target: ``(1 - ε)·ce(i) + ε·Σ_j ce(j)/N``.

    Here ``ce(j) = -log softmax(logits)_j``, i is the true class and N the number of classes.
    ε = 0 is plain cross entropy; ε = 1 forgets the label. It serves as a PyTorch loss and as a
    fastai ``loss_func``: ``activation`` and ``decodes`` are what fastai's ``get_preds`` and
    ``show_results`` call.

    Args:
        epsilon: ε, in [0, 1].
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ε outside [0, 1], or an unknown reduction.

    Example:
        >>> loss = LabelSmoothingCrossEntropy(epsilon=0.1)
        >>> round(loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).item(), 4)
        0.2269
    """

    def __init__(self, epsilon: float = 0.1, reduction: Reduction = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
        self.epsilon = check_epsilon(epsilon)
        self.reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of ``logits`` ``(..., N)`` for class indices ``target`` ``(...)``.

        Returns:
            A scalar, or ``(...)`` for reduction ``"none"``.

        Raises:
            ValueError: shapes that do not match, or a target that is no class index.
        """
        if logits.shape[:-1] != target.shape:
            raise ValueError(
                "logits need the shape of target plus a last dimension of classes, "
                f"got {tuple(logits.shape)} and {tuple(target.shape)}."
            )
        check_target(target, logits.shape[-1])
        cross_entropies = -logits.log_softmax(dim=-1)
        loss = cross_entropies.gather(-1, target.long().unsqueeze(-1)).squeeze(-1)
        if self.epsilon > 0:  # a logit of -inf has infinite cross entropy, and 0·inf is not 0
            loss = (1 - self.epsilon) * loss + self.epsilon * cross_entropies.mean(dim=-1)
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def activation(self, logits: Tensor) -> Tensor:
        """Probabilities ``(..., N)`` from logits ``(..., N)``."""
        return logits.softmax(dim=-1)

    def decodes(self, logits: Tensor) -> Tensor:
        """The most probable class ``(...)`` from logits or probabilities ``(..., N)``."""
        return logits.argmax(dim=-1)

    def extra_repr(self) -> str:
        return f"epsilon={self.epsilon}, reduction={self.reduction!r}"
