"""Fine-tune one pets classifier at one ε: `python -m model.train --epsilon 0.1`.

The head first, on a frozen body; then the whole network, the early layers slower than the late
ones, both phases on a one-cycle schedule; then the body is averaged with its initialisation and the
head fitted anew to it. Two runs that differ in --epsilon alone see the same
photos, crops and flips in the same batches: every random number follows from the seed, the phase
and the epoch. That also makes an interrupted run, started again with the same flags, go on from
its last finished epoch to the same result.
"""

from __future__ import annotations

import argparse
import csv
import os
import pickle
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback import schedule as _one_cycle  # noqa: F401 (gives Learner fit_one_cycle)
from fastai.callback.core import Callback
from fastai.callback.training import BnFreeze
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import error_rate
from fastai.vision.learner import vision_learner
from torch import Tensor, nn
from torchvision import models

from model import calibration, network, pets
from model.loss import LabelSmoothingCrossEntropy

# The share of each breed's trainval photos on which recipes are compared (--holdout).
HELD_OUT = 0.2


class Seeded(Callback):
    """Make each epoch's random numbers a function of the seed, the phase and the epoch."""

    order = -10

    def __init__(self, seed: int, phase: int) -> None:
        self.seed, self.phase = seed, phase

    def before_epoch(self) -> None:
        mixed = int(
            np.random.SeedSequence([self.seed, self.phase, self.epoch]).generate_state(1)[0]
        )
        random.seed(mixed)
        np.random.seed(mixed)
        torch.manual_seed(mixed)
        self.dls.train.rng = random.Random(mixed)  # noqa: S311


class Autocast(Callback):
    """Mixed precision in bf16, which needs no loss scaling (fastai's own speaks CUDA alone)."""

    order = 10

    def before_batch(self) -> None:
        self.context = torch.autocast(self.dls.device.type, dtype=torch.bfloat16)
        self.context.__enter__()

    def after_pred(self) -> None:
        self.learn.pred = self.pred.float()
        self.context.__exit__(None, None, None)

    def before_fit(self) -> None:
        self.model.to(memory_format=torch.channels_last)


class Journal(Callback):
    """After each epoch: a row of the history (CSV), and all that a resumed run needs."""

    order = 80  # after the Recorder, whose numbers it writes

    def __init__(self, run: Run, phase: int, start: int) -> None:
        self.run, self.phase, self.start = run, phase, start

    def before_epoch(self) -> None:
        self.started = time.monotonic()
        self.losses: list[float] = []

    def after_batch(self) -> None:
        if self.training:
            self.losses.append(self.loss.item())

    def after_epoch(self) -> None:
        if self.epoch < self.start:  # fastai walks through the epochs it skips, too
            return
        _, *validation = self.final_record  # fastai's training loss is a running one: not ours
        scores = [float(np.mean(self.losses)), *validation]
        row = [
            ["head", "whole"][self.phase],
            self.epoch,
            *[None if score is None else round(float(score), 5) for score in scores],
            round(time.monotonic() - self.started, 1),
        ]
        self.run.finish_epoch(self.learn, self.phase, self.epoch, row)


class Run:
    """The files of one run beside its checkpoint: history, and the state to resume from."""

    HEADER = ("phase", "epoch", "train_loss", "valid_loss", "valid_error", "seconds")

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.history = out.with_suffix(".history.csv")
        self.state = out.with_suffix(".state.pth")
        self.rows: list[list[Any]] = []
        self.phase, self.next_epoch = 0, 0
        out.parent.mkdir(parents=True, exist_ok=True)

    def resume(self) -> dict[str, Any] | None:
        """What an unfinished run with the same settings saved last (``model``, ``opt``), if any.

        Raises:
            SystemExit: the unfinished run had other settings, or its file is damaged.
        """
        if not self.state.is_file():
            return None
        try:
            saved = torch.load(self.state, weights_only=False)
            if saved["settings"] != self.settings:
                raise SystemExit(
                    f"{self.state} belongs to a run with other settings. Delete it to start anew, "
                    "or repeat its flags to go on with it."
                )
            self.rows, self.phase, self.next_epoch = (
                saved[name] for name in ("rows", "phase", "next_epoch")
            )
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise SystemExit(
                f"{self.state} is damaged ({error}). Delete it to start anew."
            ) from None
        return saved

    def finish_epoch(self, learn: Learner, phase: int, epoch: int, row: list[Any]) -> None:
        """Write the history and, in one file that appears whole or not at all, the state."""
        self.rows.append(row)
        unfinished = self.state.with_suffix(".unfinished")
        saved = {
            "settings": self.settings,
            "rows": self.rows,
            "phase": phase,
            "next_epoch": epoch + 1,
            "model": learn.model.state_dict(),
            "opt": learn.opt.state_dict(),
        }
        torch.save(saved, unfinished)
        unfinished.replace(self.state)
        with self.history.open("w", newline="") as file:
            csv.writer(file).writerows([self.HEADER, *self.rows])

    def close(self) -> None:
        self.state.unlink(missing_ok=True)


def head(features: int) -> nn.Sequential:
    """Global average pooling and one linear layer, as in torchvision: features are penultimate."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, len(pets.BREEDS))
    )


def to_torchvision(arch: str, model: nn.Module) -> dict[str, Tensor]:
    """The state dict of fastai's ``Sequential(body, head)`` under torchvision's key names."""
    stages = [name for name, _ in network.build(arch).named_children()]
    renamed = {}
    for key, tensor in model.state_dict().items():
        part, index, rest = key.split(".", 2)
        renamed[f"{stages[int(index)] if part == '0' else 'fc'}.{rest}"] = tensor
    return renamed


def load_init(model: nn.Module, arch: str, file: Path) -> None:
    """Copy a local ImageNet state dict (torchvision's key names) into the body of ``model``."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    resnet = models.get_model(arch, weights=None)
    resnet.load_state_dict(state)
    children = [child for _, child in resnet.named_children()]
    model[0].load_state_dict(nn.Sequential(*children[:-2]).state_dict())  # type: ignore[index]


def learner(dls: DataLoaders, args: argparse.Namespace) -> Learner:
    """fastai's ``vision_learner`` with our loss, initialised from ImageNet weights."""
    torch.manual_seed(args.seed)  # the head's initial weights
    features = network.build(args.arch).fc.in_features
    learn = vision_learner(
        dls,
        getattr(models, args.arch),
        pretrained=args.init is None,
        custom_head=head(features),
        loss_func=LabelSmoothingCrossEntropy(args.epsilon),
        metrics=error_rate,
        normalize=False,  # the DataLoaders do it, whichever the initialisation
        train_bn=False,
        wd=args.weight_decay,
    )
    if args.init is not None:
        load_init(learn.model, args.arch, args.init)
    return learn


def fit(learn: Learner, args: argparse.Namespace, run: Run) -> None:
    """Both phases, from wherever ``run`` stands."""
    saved = run.resume()
    if saved is not None:  # also where only the last fit of the head is left to do
        learn.model.load_state_dict(saved["model"])
    phases: Iterable[tuple[int, float | np.ndarray]] = (
        (args.head_epochs, args.head_lr),
        (args.epochs, np.array([args.body_lr / 4, args.body_lr, args.head_lr / 4])),
    )
    for phase, (epochs, lr) in enumerate(phases):
        start = run.next_epoch if phase == run.phase else 0
        if phase < run.phase or start >= epochs:
            continue
        learn.freeze() if phase == 0 else learn.unfreeze()
        learn.create_opt()
        if saved is not None and start > 0:
            learn.opt.load_state_dict(saved["opt"])
        callbacks = [Seeded(args.seed, phase), Journal(run, phase, start)]
        if phase == 0:
            callbacks.append(BnFreeze())
        if not args.fp32:
            callbacks.append(Autocast())
        learn.fit_one_cycle(epochs, lr_max=lr, cbs=callbacks, start_epoch=start)


def average(body: nn.Module, initial: dict[str, Tensor], share: float) -> None:
    """Move ``body`` back to ``share`` of the way from where it started to where training led.

    Averaging fine-tuned weights with the initial ones keeps what ImageNet taught and epochs over
    few photos make it forget: WiSE-FT, Wortsman et al., CVPR 2022 (arXiv 2109.01903).
    """
    for key, tensor in body.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(initial[key].to(tensor), 1 - share)


def fit_head(
    features: Tensor, labels: Tensor, epsilon: float, decay: float
) -> tuple[Tensor, Tensor]:
    """The best linear head on fixed penultimate activations, by L-BFGS.

    Args:
        features: ``(n, D)``.
        labels: ``(n,)``.
        epsilon: of the label smoothing loss, as in the rest of training.
        decay: λ of the penalty ``λ/2 · ‖W‖²`` on the weights for standardised activations.

    Returns:
        Weight ``(37, D)`` and bias ``(37,)`` for the activations as they are.
    """
    mean, scale = features.mean(0), features.std(0) + 1e-3
    standardised = (features - mean) / scale
    weight = torch.zeros(len(pets.BREEDS), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(pets.BREEDS), requires_grad=True)
    loss_func = LabelSmoothingCrossEntropy(epsilon)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_func(standardised @ weight.T + bias, labels)
        loss = loss + decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    weight = (weight / scale).detach()
    return weight, (bias - weight @ mean).detach()


def finish(
    classifier: network.Classifier,
    initial: dict[str, Tensor],
    photos: list[pets.Photo],
    args: argparse.Namespace,
) -> None:
    """Average the body with its initialisation, and fit the head anew to the averaged body.

    The head learns from every photo and its mirror image.
    """
    resnet = classifier.resnet
    body = nn.Sequential(*[child for name, child in resnet.named_children() if name != "fc"])
    average(body, initial, args.share)
    views = [
        network.predict(classifier, photos, args.image_size, bf16=not args.fp32, mirrored=mirrored)[
            1
        ]
        for mirrored in (False, True)
    ]
    labels = torch.tensor([photo.label for photo in photos]).repeat(len(views))
    weight, bias = fit_head(torch.cat(views), labels, args.epsilon, args.head_decay)
    with torch.no_grad():
        resnet.fc.weight.copy_(weight)
        resnet.fc.bias.copy_(bias)


def report(
    classifier: network.Classifier, photos: list[pets.Photo], args: argparse.Namespace
) -> None:
    """Print the scores on the photos that were held out."""
    logits, _ = network.predict(classifier, photos, args.image_size, bf16=not args.fp32)
    probabilities = calibration.softmax(logits.numpy())
    labels = np.array([photo.label for photo in photos])
    for name in calibration.SCORES:
        print(f"held out {name}: {calibration.score(name, probabilities, labels):.4f}")


def held_out(photos: list[pets.Photo]) -> np.ndarray:
    """A boolean mask ``(n,)``: the last fifth, by file name, of each breed's ``photos``.

    The official test split, too, is a cut through each breed's file names, and neighbours often
    show the same animal on the same day. A random fifth would share animals with the photos
    trained on and flatter whatever remembers them; this fifth does so hardly more than the test.
    """
    mask = np.zeros(len(photos), dtype=bool)
    labels = np.array([photo.label for photo in photos])
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label), key=lambda index: photos[index].name)
        mask[members[len(members) - round(HELD_OUT * len(members)) :]] = True
    return mask


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m model.train",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("--epsilon", type=float, required=True, help="label smoothing, in [0, 1]")
    add("--data", type=Path, help="folder with oxford-iiit-pet/; PETS_DATA or a download if absent")
    add("--init", type=Path, help="local ImageNet state dict; torchvision's weights if absent")
    add("--init-name", help="what the checkpoint says it was initialised from")
    add("--arch", choices=network.ARCHITECTURES, default="resnet50", help="the body")
    add("--out", type=Path, required=True, help="the checkpoint to write (.safetensors)")
    add("--head-epochs", type=int, default=2, help="epochs of the head on a frozen body")
    add("--epochs", type=int, default=5, help="epochs of the whole network")
    add("--head-lr", type=float, default=8e-3, help="peak rate of the head, a quarter of it later")
    add("--body-lr", type=float, default=1e-4, help="peak rate of the late layers, 4 x the early's")
    add("--weight-decay", type=float, default=0.01, help="decoupled weight decay")
    add("--batch-size", type=int, default=64, help="photos per step")
    add("--size", type=int, default=192, help="side of a training crop, pixels")
    add("--min-scale", type=float, default=0.35, help="least share of a photo that a crop covers")
    add("--image-size", type=int, default=256, help="side of the square for evaluation, pixels")
    add("--share", type=float, default=0.5, help="of the way from the initial body to the trained")
    add("--head-decay", type=float, default=1e-2, help="L2 penalty of the head's last fit")
    add("--holdout", action="store_true", help="train on 4/5 of trainval, report on the rest")
    add("--seed", type=int, default=0, help="of every random number")
    add("--workers", type=int, default=0, help="loader processes")
    add("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    add("--fp32", action="store_true", help="no mixed precision")
    return result


def main() -> None:
    args = parser().parse_args()
    torch.set_num_threads(args.threads)
    photos = pets.official_split(pets.find_root(args.data), "trainval")
    out = held_out(photos) if args.holdout else np.zeros(len(photos), dtype=bool)
    dls = pets.dataloaders(
        [photo for photo, is_out in zip(photos, out, strict=True) if not is_out],
        [photo for photo, is_out in zip(photos, out, strict=True) if is_out],
        size=args.size,
        valid_size=args.image_size,
        batch_size=args.batch_size,
        min_scale=args.min_scale,
        workers=args.workers,
    )
    learn = learner(dls, args)
    initial = {key: tensor.clone() for key, tensor in learn.model[0].state_dict().items()}
    settings = {name: str(value) for name, value in vars(args).items() if name != "threads"}
    run = Run(args.out, settings)
    started = time.monotonic()
    fit(learn, args, run)
    classifier = network.Classifier(network.build(args.arch)).eval()
    classifier.resnet.load_state_dict(to_torchvision(args.arch, learn.model))
    if args.share < 1:
        finish(classifier, initial, [p for p, o in zip(photos, out, strict=True) if not o], args)
    metadata = network.Metadata(
        arch=args.arch,
        epsilon=args.epsilon,
        init=args.init_name or (args.init.name if args.init else "torchvision ImageNet weights"),
        split="trainval without a fifth" if args.holdout else "trainval",
        epochs=f"{args.head_epochs} + {args.epochs}",
        image_size=args.image_size,
        seed=args.seed,
    )
    network.save(args.out, classifier.resnet.state_dict(), metadata)
    run.close()
    print(f"{args.out}: trained in {(time.monotonic() - started) / 60:.1f} minutes")
    if args.holdout:
        kept_out = [photo for photo, is_out in zip(photos, out, strict=True) if is_out]
        report(classifier, kept_out, args)


if __name__ == "__main__":
    main()
