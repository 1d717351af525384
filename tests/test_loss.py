"""Protects the loss: it must be PyTorch's label smoothing to the last digit, and say no clearly."""

from __future__ import annotations

import doctest
import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import model.loss
from model.loss import LabelSmoothingCrossEntropy, smoothed_target

SHAPES = [(), (1,), (5,), (2, 3), (2, 1, 4)]


def random_batch(shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes + 100 * len(shape))
    logits = 3 * torch.randn(*shape, classes, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(classes, shape, generator=generator)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("shape", "classes"), itertools.product(SHAPES, [2, 3, 37, 1000]))
def test_equals_pytorch(
    epsilon: float, reduction: str, shape: tuple[int, ...], classes: int
) -> None:
    logits, target = random_batch(shape, classes)
    ours = LabelSmoothingCrossEntropy(epsilon, reduction)(logits, target)
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    # PyTorch wants the classes in dimension 1.
    theirs = cross_entropy(
        logits.reshape(-1, classes),
        target.reshape(-1),
        label_smoothing=epsilon,
        reduction=reduction,
    )
    (their_gradient,) = torch.autograd.grad(theirs.sum(), logits)
    assert ours.shape == (target.shape if reduction == "none" else ())
    torch.testing.assert_close(ours.reshape(theirs.shape), theirs, rtol=0, atol=1e-10)
    torch.testing.assert_close(gradient, their_gradient, rtol=0, atol=1e-10)


def test_against_hand_computed_numbers() -> None:
    # softmax = (3/4, 1/4): ce(0) = ln(4/3), ce(1) = ln 4; with ε = 0.2 the second class weighs 0.1.
    logits = torch.tensor([math.log(3), 0.0], dtype=torch.float64)
    expected = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert LabelSmoothingCrossEntropy(0.2)(logits, torch.tensor(0)).item() == pytest.approx(
        expected
    )
    # Equal logits: every cross entropy is ln N, whatever ε.
    for epsilon in (0, 0.3, 1):
        flat = LabelSmoothingCrossEntropy(epsilon)(torch.zeros(4, 5), torch.zeros(4).long())
        assert flat.item() == pytest.approx(math.log(5))


def test_smoothed_target() -> None:
    target = smoothed_target(torch.tensor([[2, 0]]), 4, 0.2)
    expected = torch.tensor([[[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]]])
    torch.testing.assert_close(target, expected)
    logits, labels = random_batch((6,), 4)
    soft = cross_entropy(logits, smoothed_target(labels, 4, 0.3).double())
    ours = LabelSmoothingCrossEntropy(0.3)(logits, labels)
    torch.testing.assert_close(ours, soft, rtol=0, atol=1e-6)


def test_an_impossible_class_costs_nothing_without_smoothing() -> None:
    logits = torch.tensor([0.0, -math.inf])
    assert LabelSmoothingCrossEntropy(0.0)(logits, torch.tensor(0)).item() == 0
    assert LabelSmoothingCrossEntropy(0.1)(logits, torch.tensor(0)).item() == math.inf


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, math.nan, math.inf])
def test_refuses_epsilon(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon must lie in"):
        LabelSmoothingCrossEntropy(epsilon)
    with pytest.raises(ValueError, match="epsilon must lie in"):
        smoothed_target(torch.tensor([0]), 2, epsilon)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.tensor([0, 3]), r"target must lie in \[0, 2\]"),
        (torch.tensor([-100, 0]), r"target must lie in \[0, 2\]"),
        (torch.tensor([0.0, 1.0]), "integer class indices"),
        (torch.tensor([True, False]), "integer class indices"),
        (torch.tensor([0]), "shape of target"),
    ],
)
def test_refuses_targets(target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSmoothingCrossEntropy()(torch.zeros(2, 3), target)


def test_refuses_reductions() -> None:
    with pytest.raises(ValueError, match="reduction must be"):
        LabelSmoothingCrossEntropy(reduction="average")  # type: ignore[arg-type]


def test_docstring_example() -> None:
    assert doctest.testmod(model.loss).failed == 0


def test_serves_fastai() -> None:
    """`get_preds` must apply the softmax, decode classes and give a loss for each item."""
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    inputs, target = torch.randn(12, 5), torch.randint(3, (12,))
    dataset = list(zip(inputs, target, strict=True))
    dls = DataLoaders.from_dsets(dataset, dataset, bs=4, num_workers=0, device="cpu")
    learn = Learner(dls, torch.nn.Linear(5, 3), loss_func=LabelSmoothingCrossEntropy(0.1))
    with learn.no_logging():
        probabilities, labels, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    logits = learn.model(inputs)
    torch.testing.assert_close(probabilities, logits.softmax(-1))
    torch.testing.assert_close(decoded, logits.argmax(-1))
    expected = cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(losses, expected)
