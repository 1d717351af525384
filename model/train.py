"""Fine-tune one pets classifier at one ε: `python -m model.train --epsilon 0.1`.

The head first, on a frozen body; then the whole network, the early layers slower than the late
ones, both phases on a one-cycle schedule; then the body is averaged with its initialisation and the
head fitted anew to it. Two runs that differ in --epsilon alone see the same
photos, crops and flips in the same batches: every random number follows from the seed, the phase
and the epoch. That also makes an interrupted run, started again with the same flags, go on from
its last finished epoch to the same result.

With --recipe article, nothing of this holds: see `model/article.py`. It writes no checkpoint, and
of the flags it heeds --epsilon, --arch, --rate, --unfreeze, --data, --init, --init-name, --threads
and --fp32.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import pickle
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fastai.callback import schedule as _one_cycle  # noqa: F401 (gives Learner fit_one_cycle)
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.callback.training import BnFreeze
from fastai.data.core import DataLoaders, TfmdDL
from fastai.distributed import DistributedDL, DistributedTrainer
from fastai.learner import Learner
from fastai.metrics import error_rate
from fastai.torch_core import default_device, num_distrib, rank_distrib
from fastai.vision.learner import vision_learner
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from model import article, calibration, network, pets
from model.checkpoint import MEAN, OWN
from model.loss import LabelSmoothingCrossEntropy

# The share of each breed's trainval photos on which recipes are compared (--holdout).
HELD_OUT = 0.2

# Flags that say how a run is computed, not what: a resumed run may have others.
MACHINE = ("threads", "workers", "cpu")


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
        train = self.dls.train
        getattr(train, "dl", train).rng = random.Random(mixed)  # noqa: S311
        self.dls.training_crop.seed = mixed


def mean_of_processes(value: float) -> float:
    """The mean of what each process of a run on several brings; itself where there is one."""
    if num_distrib() <= 1:
        return value
    total = torch.tensor(value, device=default_device())
    torch.distributed.all_reduce(total)
    return total.item() / num_distrib()


class Slices(DistributedDL):
    """One process's slice of each batch that a single process would see.

    fastai's own loader gives each process a run of the shuffled photos, so its batches are others
    than a single process's; and its broadcast of the order is for GPUs alone, while ours follows
    from the seed and needs none.
    """

    def _broadcast(self, t: list[int], rank: int) -> list[int]:  # noqa: ARG002
        return t

    def get_idxs(self) -> list[int]:
        if not self.dl.shuffle:
            return super().get_idxs()
        order = np.array(self.dl.get_idxs())
        batch = self.bs * self.world_size
        steps = len(order) // batch
        self.n = self.n_padded = steps * batch
        return (
            order[: self.n].reshape(steps, self.world_size, self.bs)[:, self.rank].ravel().tolist()
        )

    def __len__(self) -> int:
        if not self.dl.shuffle:
            return super().__len__()
        return len(self.dl.dataset) // (self.bs * self.world_size)


class Shared(DistributedTrainer):
    """One model on several processes, gradients averaged at each step (`accelerate launch`)."""

    def _wrap_dl(self, dl: TfmdDL) -> Slices:
        return dl if isinstance(dl, Slices) else Slices(dl, device=self.learn.dls.device)


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
        scores = [mean_of_processes(float(np.mean(self.losses))), *validation]
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
        if rank_distrib() > 0:
            return
        unfinished = self.state.with_suffix(".unfinished")
        saved = {
            "settings": self.settings,
            "rows": self.rows,
            "phase": phase,
            "next_epoch": epoch + 1,
            "model": getattr(learn.model, "module", learn.model).state_dict(),
            "opt": learn.opt.state_dict(),
        }
        try:
            torch.save(saved, unfinished)
            unfinished.replace(self.state)
        except (OSError, RuntimeError) as problem:  # PyTorch's writer raises the latter
            unfinished.unlink(missing_ok=True)
            raise OSError(f"{self.state} could not be written ({problem})") from problem
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


def load_state(file: Path) -> dict[str, Tensor]:
    """A local ImageNet state dict with torchvision's key names.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as problem:
        raise ValueError(
            f"{file} is no state dict that PyTorch can read ({problem}): give --init the ImageNet "
            "weights of the same architecture, or leave it out."
        ) from problem


def load_init(model: nn.Module, arch: str, file: Path) -> None:
    """Copy a local ImageNet state dict (torchvision's key names) into the body of ``model``."""
    resnet = models.get_model(arch, weights=None)
    try:
        resnet.load_state_dict(load_state(file))
    except RuntimeError as problem:
        raise ValueError(f"{file} does not hold the weights of a {arch}: {problem}") from problem
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
    if rank_distrib() > 0:
        learn.remove_cb(ProgressCallback)
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
        if phase == 0 or args.freeze_bn:
            callbacks.append(BnFreeze())
        if not args.fp32:
            callbacks.append(Autocast())
        if num_distrib() > 1:
            callbacks.append(Shared(sync_bn=torch.cuda.is_available(), cpu=args.cpu))
        learn.fit_one_cycle(epochs, lr_max=lr, cbs=callbacks, start_epoch=start)


def body_of(classifier: network.Classifier) -> nn.Sequential:
    """All layers but the head, in the order and under the names of fastai's body."""
    children = classifier.resnet.named_children()
    return nn.Sequential(*[child for name, child in children if name != "fc"])


def average(body: nn.Module, initial: dict[str, Tensor], share: float) -> None:
    """Move ``body`` back to ``share`` of the way from where it started to where training led.

    Averaging fine-tuned weights with the initial ones keeps what ImageNet taught and epochs over
    few photos make it forget: WiSE-FT, Wortsman et al., CVPR 2022 (arXiv 2109.01903).
    """
    for key, tensor in body.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(initial[key].to(tensor), 1 - share)


def merge_trunk(classifier: network.Classifier, other: network.Classifier) -> None:
    """Give ``classifier`` the mean of both trunks: all layers before the last stage.

    Two networks that were fine-tuned from the same weights can be averaged layer by layer (model
    soups: Wortsman et al., ICML 2022, arXiv 2203.05482). The mean is the same whichever comes
    first, so two networks that are merged both ways share their trunk to the last bit.
    """
    state = other.resnet.state_dict()
    for key, tensor in classifier.resnet.state_dict().items():
        if key.split(".")[0] in network.TRUNK and tensor.is_floating_point():
            tensor.copy_((tensor + state[key]) / 2)


def imagenet(arch: str, init: Path | None) -> dict[str, Tensor]:
    """The state dict to start from: a local file's, or torchvision's."""
    weights = models.get_model_weights(arch).DEFAULT
    return weights.get_state_dict() if init is None else load_state(init)


def untrained(arch: str, init: Path | None) -> network.Classifier:
    """A classifier with the initial body, in evaluation mode; its head is random."""
    classifier = network.Classifier(network.build(arch)).eval()
    state = classifier.resnet.state_dict()
    body = {key: tensor for key, tensor in imagenet(arch, init).items() if key[:3] != "fc."}
    classifier.resnet.load_state_dict(state | body)
    return classifier


class ImageNetHead(NamedTuple):
    """The head of the initialisation: what tells ImageNet's classes apart."""

    weight: Tensor  # (1000, D)
    bias: Tensor  # (1000,)
    classes: list[str]


def imagenet_head(arch: str, init: Path | None) -> ImageNetHead:
    """The head in a local state dict, or in torchvision's."""
    state = imagenet(arch, init)
    classes = models.get_model_weights(arch).DEFAULT.meta["categories"]
    return ImageNetHead(state["fc.weight"].float(), state["fc.bias"].float(), classes)


def imagenet_templates(
    known: ImageNetHead, features: Tensor, labels: Tensor, prior: float, others: float
) -> Tensor:
    """The weights ``(37, D)`` by which the initialisation already tells our breeds apart.

    For a breed that is one of ImageNet's classes (``pets.IMAGENET``) its row of ImageNet's head;
    for another one the rows of what the initialisation takes its photos for, weighted by the mean
    probabilities. Rows count as far as they differ from the mean over all classes.

    Args:
        known: ImageNet's head.
        features: activations ``(n, D)`` of the photos that the head is fitted to.
        labels: ``(n,)``.
        prior: how much of the row a breed gets that ImageNet knows.
        others: how much of the weighted rows another breed gets.
    """
    rows = known.weight - known.weight.mean(0)  # softmax does not see what all classes share
    answers = (features @ known.weight.T + known.bias).softmax(dim=1)
    taken_for = torch.zeros(len(pets.BREEDS), len(rows)).index_add_(0, labels, answers)
    templates = others * functional.normalize(taken_for, p=1, dim=1) @ rows
    index = {name: number for number, name in enumerate(known.classes)}
    for breed, name in pets.IMAGENET.items():
        templates[pets.BREEDS.index(breed)] = prior * rows[index[name]]
    return templates


def scatter(features: Tensor, labels: Tensor, shrink: float) -> Tensor:
    """How activations ``(n, D)`` scatter within breeds: the covariance ``(D, D)``, shrunk.

    Few photos with many activations tell little of how these vary together; so it is mixed, by the
    share ``shrink`` in (0, 1], with the variance of each activation by itself, over all breeds.
    Friedman, JASA 1989 (Regularized Discriminant Analysis), shrinks likewise.
    """
    sums = torch.zeros(len(pets.BREEDS), features.shape[1]).index_add_(0, labels, features)
    counts = labels.bincount(minlength=len(pets.BREEDS)).clamp(min=1)
    within = features - (sums / counts[:, None])[labels]
    alone = torch.diag((features.std(0) + 1e-3).square())
    return (1 - shrink) * within.T @ within / len(features) + shrink * alone


def fit_head(
    features: Tensor,
    labels: Tensor,
    epsilon: float,
    decay: float,
    templates: Tensor,
    shrink: float,
) -> tuple[Tensor, Tensor]:
    """The best linear head on fixed penultimate activations, by L-BFGS.

    The penalty ``λ/2 · tr((W − W₀) M (W − W₀)ᵀ)`` pulls towards where one starts rather than
    towards zero (L2-SP: Li, Grandvalet, Davoine, ICML 2018, arXiv 1802.01483), and most in the
    directions M in which photos of one breed differ (Hastie, Buja, Tibshirani, Annals of
    Statistics 1995, Penalized Discriminant Analysis).

    Args:
        features: ``(n, D)``.
        labels: ``(n,)``.
        epsilon: of the label smoothing loss, as in the rest of training.
        decay: λ.
        templates: W₀ ``(37, D)``.
        shrink: of M, see ``scatter``.

    Returns:
        Weight ``(37, D)`` and bias ``(37,)``.
    """
    mean = features.mean(0)
    # In the coordinates in which M is the identity, L-BFGS sees a well-conditioned problem.
    root = torch.linalg.cholesky(scatter(features, labels, shrink).double())
    whitened = torch.linalg.solve_triangular(root, (features - mean).double().T, upper=False)
    inputs = whitened.T.float().contiguous()
    start = (features - mean) @ templates.T
    change = torch.zeros_like(templates, requires_grad=True)
    bias = torch.zeros(len(pets.BREEDS), requires_grad=True)
    loss_func = LabelSmoothingCrossEntropy(epsilon)
    optimizer = torch.optim.LBFGS([change, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_func(start + inputs @ change.T + bias, labels)
        loss = loss + decay / 2 * change.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    moved = torch.linalg.solve_triangular(root, change.detach().double(), upper=False, left=False)
    weight = templates + moved.float()
    return weight, (bias - weight @ mean).detach()


def finish(
    classifier: network.Classifier,
    photos: list[pets.Photo],
    args: argparse.Namespace,
) -> None:
    """Fit the head of ``classifier`` anew to its body, on every photo and its mirror image."""
    views = [
        network.predict(classifier, photos, args.image_size, bf16=not args.fp32, mirrored=mirrored)[
            1
        ]
        for mirrored in (False, True)
    ]
    labels = torch.tensor([photo.label for photo in photos]).repeat(len(views))
    features = torch.cat(views)
    known = imagenet_head(args.arch, args.init)
    templates = imagenet_templates(known, features, labels, args.prior, args.others)
    weight, bias = fit_head(features, labels, args.epsilon, args.head_decay, templates, args.shrink)
    with torch.no_grad():
        classifier.resnet.fc.weight.copy_(weight)
        classifier.resnet.fc.bias.copy_(bias)


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
    add("--recipe", choices=("released", "article"), default="released", help="see above")
    add("--unfreeze", action="store_true", help="article: the whole network learns from epoch 2 on")
    add("--rate", type=float, default=article.RATE, help="article: fastai 1's; fastai 2's is 0.001")
    add("--epsilon", type=float, required=True, help="label smoothing, in [0, 1]")
    add("--data", type=Path, help="folder with oxford-iiit-pet/; PETS_DATA or a download if absent")
    add("--init", type=Path, help="local ImageNet state dict; torchvision's weights if absent")
    add("--init-name", help="what the checkpoint says it was initialised from")
    add("--arch", choices=network.ARCHITECTURES, default="resnet50", help="the body")
    add("--out", type=Path, help="the checkpoint to write (.safetensors)")
    add("--head-epochs", type=int, default=2, help="epochs of the head on a frozen body")
    add("--epochs", type=int, default=5, help="epochs of the whole network")
    add("--head-lr", type=float, default=8e-3, help="peak rate of the head, a quarter of it later")
    add("--body-lr", type=float, default=1e-4, help="peak rate of the late layers, 4 x the early's")
    add("--weight-decay", type=float, default=0.01, help="decoupled weight decay")
    add("--batch-size", type=int, default=64, help="photos per step")
    add("--size", type=int, default=192, help="side of a training crop, pixels")
    add("--min-scale", type=float, default=0.35, help="least share of a photo that a crop covers")
    add("--image-size", type=int, default=320, help="side of the square for evaluation, pixels")
    add("--share", type=float, default=0.5, help="of the way from the initial body to the trained")
    add("--refit", action=argparse.BooleanOptionalAction, default=True, help="fit the head anew")
    add("--head-decay", type=float, default=3e-2, help="L2-SP penalty of the head's last fit")
    add("--shrink", type=float, default=0.6, help="of its metric; 1: no scatter within breeds")
    add("--prior", type=float, default=0.7, help="how far W0 is ImageNet's: 0 not at all, 1 whole")
    add("--others", type=float, default=0.7, help="the same for breeds that ImageNet has not")
    add("--body", type=Path, help="train no epoch, only fit the head to this checkpoint's body")
    add("--trunk", type=Path, help="with --body: average all but its last stage with this one's")
    add("--holdout", action="store_true", help="train on 4/5 of trainval, report on the rest")
    add("--seed", type=int, default=0, help="of every random number")
    add("--workers", type=int, default=0, help="loader processes")
    add("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    add("--freeze-bn", action="store_true", help="keep the initial batch norm statistics")
    add("--cpu", action="store_true", help="no GPU, where there is one (several processes alike)")
    add("--fp32", action="store_true", help="no mixed precision")
    return result


def refit(photos: list[pets.Photo], args: argparse.Namespace) -> network.Classifier:
    """A classifier with the body of the checkpoint ``args.body`` and a head fitted to it."""
    classifier, metadata = network.load(args.body)
    if (metadata.arch, metadata.epsilon) != (args.arch, args.epsilon):
        raise ValueError(
            f"{args.body} is a {metadata.arch} trained at ε = {metadata.epsilon:g}: give the same "
            "--arch and --epsilon."
        )
    if metadata.split != split_of(args):
        raise ValueError(
            f"{args.body} was trained on {metadata.split}: give --holdout if and only if it was "
            "given then."
        )
    if args.prior and metadata.init != init_of(args):
        print(
            f"{args.body} started from {metadata.init}; its head is pulled towards that of "
            f"{init_of(args)}."
        )
    if args.trunk is not None:
        other, foreign = network.load(args.trunk)
        if foreign.arch != args.arch:
            raise ValueError(f"{args.trunk} is a {foreign.arch}: --trunk needs a {args.arch}.")
        merge_trunk(classifier, other)
    finish(classifier, photos, args)
    trunk = MEAN if args.trunk else OWN
    now = dataclasses.replace(metadata, image_size=args.image_size, trunk=trunk)
    network.save(args.out, classifier.resnet.state_dict(), now)
    return classifier


def init_of(args: argparse.Namespace) -> str:
    """What the network starts from, in words."""
    return args.init_name or (args.init.name if args.init else "torchvision ImageNet weights")


def split_of(args: argparse.Namespace) -> str:
    """The photos that are learned from, in words."""
    return "trainval without a fifth" if args.holdout else "trainval"


def save(classifier: network.Classifier, args: argparse.Namespace) -> None:
    """Write the checkpoint ``args.out`` of a classifier that was trained."""
    metadata = network.Metadata(
        arch=args.arch,
        epsilon=args.epsilon,
        init=init_of(args),
        split=split_of(args),
        epochs=f"{args.head_epochs} + {args.epochs}",
        image_size=args.image_size,
        seed=args.seed,
        trunk=OWN,
    )
    network.save(args.out, classifier.resnet.state_dict(), metadata)


def train(args: argparse.Namespace) -> network.Classifier:
    """Train one classifier as the flags say, save it, and return it.

    Raises:
        ValueError: the dataset or a flag is not as it must be.
        OSError: a photo cannot be read, or a file not be written; what was finished is kept.
    """
    torch.set_num_threads(args.threads)
    if args.cpu:
        default_device(use=False)
    processes = max(num_distrib(), 1)
    if args.batch_size % processes:
        raise ValueError(
            f"{processes} processes cannot share batches of {args.batch_size} photos: give "
            "--batch-size a multiple."
        )
    photos = pets.official_split(pets.find_root(args.data), "trainval")
    out = held_out(photos) if args.holdout else np.zeros(len(photos), dtype=bool)
    learned = [photo for photo, is_out in zip(photos, out, strict=True) if not is_out]
    dls = pets.dataloaders(
        learned,
        [photo for photo, is_out in zip(photos, out, strict=True) if is_out],
        size=args.size,
        valid_size=args.image_size,
        batch_size=args.batch_size // processes,
        min_scale=args.min_scale,
        workers=args.workers,
    )
    if args.body is not None:
        return refit(learned, args)
    learn = learner(dls, args)
    initial = {key: tensor.clone() for key, tensor in learn.model[0].state_dict().items()}
    settings = {name: str(value) for name, value in vars(args).items() if name not in MACHINE}
    run = Run(args.out, settings)
    fit(learn, args, run)
    classifier = network.Classifier(network.build(args.arch)).eval()
    classifier.resnet.load_state_dict(to_torchvision(args.arch, learn.model))
    if rank_distrib() > 0:  # the first process does the rest
        return classifier
    if args.share < 1:
        average(body_of(classifier), initial, args.share)
    if args.refit:
        finish(classifier, learned, args)
    save(classifier, args)
    run.close()
    return classifier


def main() -> None:
    flags = parser()
    args = flags.parse_args()
    if args.out is None and args.recipe == "released":
        flags.error("--out is missing: name the checkpoint to write.")
    if args.trunk is not None and args.body is None:
        flags.error("--trunk is for --body: name the checkpoint to average with it.")
    started = time.monotonic()
    try:
        if args.recipe == "article":
            return article.main(args)
        classifier = train(args)
        if rank_distrib() > 0:
            return
        print(f"{args.out}: trained in {(time.monotonic() - started) / 60:.1f} minutes")
        if args.holdout:
            photos = pets.official_split(pets.find_root(args.data), "trainval")
            out = held_out(photos)
            report(classifier, [p for p, is_out in zip(photos, out, strict=True) if is_out], args)
    except (OSError, ValueError, SafetensorError) as problem:
        reason = str(problem).rstrip(".")
        raise SystemExit(
            f"Training stopped: {reason}. Mend that and give the same command again: it goes on "
            "from the last finished epoch, if there was one."
        ) from problem


if __name__ == "__main__":
    main()
