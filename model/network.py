"""The network, a torchvision ResNet with a 37-way head, and its checkpoint on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from model import integrity
from model.checkpoint import CHECKPOINTS as CHECKPOINTS
from model.checkpoint import PAIR as PAIR
from model.checkpoint import Metadata
from model.pets import BREEDS, Photo, evaluation_batches

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101")


# The layers before the last stage, which two classifiers may have in common.
TRUNK = ("conv1", "bn1", "layer1", "layer2", "layer3")


class Classifier(nn.Module):
    """A ResNet that returns its logits together with its penultimate activations."""

    def __init__(self, resnet: models.ResNet) -> None:
        super().__init__()
        self.resnet = resnet

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, 37)`` and penultimate activations ``(B, D)`` of images ``(B, 3, H, W)``."""
        return self.tail(self.trunk(images))

    def trunk(self, images: Tensor) -> Tensor:
        """What the layers before the last stage make of images ``(B, 3, H, W)``."""
        net = self.resnet
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        return net.layer3(net.layer2(net.layer1(x)))

    def tail(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and penultimate activations of what ``trunk`` returned."""
        features = self.resnet.layer4(x).mean((-2, -1))  # `avgpool`, in one node of an export
        return self.resnet.fc(features), features


def share_trunk(classifiers: Sequence[Classifier]) -> bool:
    """Whether the layers before the last stage are the same in all of them."""

    def trunk(classifier: Classifier) -> dict[str, Tensor]:
        state = classifier.resnet.state_dict()
        return {key: tensor for key, tensor in state.items() if key.split(".")[0] in TRUNK}

    first, *others = (trunk(classifier) for classifier in classifiers)
    return all(
        first.keys() == other.keys() and all(torch.equal(first[key], other[key]) for key in first)
        for other in others
    )


class Together(nn.Module):
    """Classifiers that see the same images; a trunk that they share runs once."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)
        self.shared = share_trunk(classifiers)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(c, B, 37)`` and penultimate activations ``(c, B, D)`` of c classifiers."""
        classifiers = cast("list[Classifier]", list(self.classifiers))
        common = classifiers[0].trunk(images) if self.shared else None
        outputs = [each(images) if common is None else each.tail(common) for each in classifiers]
        logits, features = zip(*outputs, strict=True)
        return torch.stack(logits), torch.stack(features)


def predict(
    classifier: Classifier,
    photos: list[Photo],
    size: int,
    *,
    batch_size: int = 32,
    bf16: bool = False,
    mirrored: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logits ``(n, 37)`` and penultimate activations ``(n, D)`` of photos, with a progress bar.

    Args:
        classifier: in evaluation mode.
        photos: n of them.
        size: side of the evaluation square, pixels.
        batch_size: photos at a time.
        bf16: faster and less exact, for activations that are only learned from.
        mirrored: swap left and right.
    """
    from fastprogress.fastprogress import progress_bar

    classifier = classifier.to(memory_format=torch.channels_last)
    device = next(classifier.parameters()).device
    batches = evaluation_batches(photos, size, batch_size)
    logits, features = [], []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for images in progress_bar(batches, total=-(-len(photos) // batch_size)):
            images = images.flip(-1) if mirrored else images
            batch_logits, batch_features = classifier(images.to(device))
            logits.append(batch_logits.float().cpu())
            features.append(batch_features.float().cpu())
    return torch.cat(logits), torch.cat(features)


def folded(classifier: nn.Module) -> nn.Module:
    """Classifiers in evaluation mode with each batch norm folded into its convolution.

    The same function up to rounding (Jacob et al. 2018, section 3.2), and a third of the layers
    less to run.
    """
    from torch.fx.experimental.optimization import fuse

    return fuse(classifier)


def build(arch: str) -> models.ResNet:
    """An untrained torchvision ResNet with one logit per breed.

    Raises:
        ValueError: ``arch`` is none of ``ARCHITECTURES``.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(
            f"Unknown architecture {arch!r}: choose one of {', '.join(ARCHITECTURES)}."
        )
    return models.get_model(arch, weights=None, num_classes=len(BREEDS))


def save(path: Path, state: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write a state dict with torchvision's key names as a safetensors checkpoint.

    Convolution and linear weights are stored in fp16. Batch norm stays in fp32: its running
    variances exceed fp16's range. The file appears whole or not at all, and its sum beside it.
    """
    norm_layers = {key.rpartition(".")[0] for key in state if key.endswith("running_var")}
    tensors = {}
    for key, tensor in state.items():
        if tensor.is_floating_point():
            tensor = tensor.float() if key.rpartition(".")[0] in norm_layers else tensor.half()
        tensors[key] = tensor.detach().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    try:
        save_file(tensors, unfinished, metadata=metadata.to_strings())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    integrity.record(path)


def load(path: Path) -> tuple[Classifier, Metadata]:
    """The classifier in a checkpoint, in fp32 and evaluation mode, and its metadata.

    Raises:
        ValueError: the file is missing, damaged or not one of ours; it says what to do.
    """
    remedy = "Restore it from the repository, or train it with `python -m model.train`."
    if not path.is_file():
        raise ValueError(f"The checkpoint {path} is missing. {remedy}")
    integrity.check(path, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = Metadata.from_strings(file.metadata() or {})
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        if not (0 <= metadata.epsilon <= 1 and 1 <= metadata.image_size <= 2048):
            raise ValueError("its epsilon or image size is out of range")
        resnet = build(metadata.arch)
        shapes = {key: tensor.shape for key, tensor in state.items()}
        if shapes != {key: tensor.shape for key, tensor in resnet.state_dict().items()}:
            raise ValueError(f"its layers are not those of a {metadata.arch}")
        resnet.load_state_dict(state)
    except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
        raise ValueError(f"The checkpoint {path} is damaged: {error}. {remedy}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not a checkpoint of the Label Smoothing Lab: {error}. {remedy}"
        ) from error
    if metadata.classes != BREEDS:
        raise ValueError(f"{path} was trained on other classes than our 37 breeds. {remedy}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise ValueError(f"The checkpoint {path} is damaged: it holds NaN or infinity. {remedy}")
    return Classifier(resnet).eval(), metadata
