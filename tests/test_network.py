"""Protects the checkpoint: what is saved comes back, and a bad file is refused with its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torchvision import models

from model import network
from model.network import CHECKPOINTS, PAIR, Metadata
from tests.conftest import tiny_pair

METADATA = Metadata(
    arch="resnet18",
    epsilon=0.1,
    init="none",
    split="trainval",
    epochs="1 + 2",
    image_size=64,
    seed=3,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    resnet = network.build("resnet18")
    for module in resnet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(1e5, 2e5)  # beyond the largest fp16 number
    path = tmp_path / "checkpoint.safetensors"
    network.save(path, resnet.state_dict(), METADATA)
    return path


def test_round_trip(checkpoint: Path) -> None:
    classifier, metadata = network.load(checkpoint)
    assert metadata == METADATA
    assert not classifier.training
    with safe_open(checkpoint, framework="pt") as file:
        assert file.get_tensor("conv1.weight").dtype == torch.float16
        assert file.get_tensor("fc.bias").dtype == torch.float16
        assert file.get_tensor("bn1.running_var").dtype == torch.float32
        assert file.get_tensor("bn1.running_var").max() > 1e5


def test_classifier_is_torchvisions_resnet(checkpoint: Path) -> None:
    classifier, _ = network.load(checkpoint)
    images = torch.randn(2, 3, 64, 64)
    logits, features = classifier(images)
    torch.testing.assert_close(logits, classifier.resnet(images))
    torch.testing.assert_close(logits, classifier.resnet.fc(features))
    assert (logits.shape, features.shape) == ((2, 37), (2, 512))


def damage(path: Path, kind: str) -> None:
    data = bytearray(path.read_bytes())
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "header":
        data[:8] = b"\xff" * 8
        path.write_bytes(data)
    elif kind == "text":
        path.write_text("no weights here")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "nan":
        state = network.build("resnet18").state_dict()
        state["fc.bias"][0] = torch.nan
        network.save(path, state, METADATA)
    elif kind == "classes":
        state = network.build("resnet18").state_dict()
        network.save(path, state, replace(METADATA, classes=("cat", "dog")))
    elif kind == "network":
        network.save(path, models.resnet34(num_classes=37).state_dict(), METADATA)
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize(
    "kind", ["truncated", "header", "text", "empty", "nan", "classes", "network", "missing"]
)
def test_refuses_bad_files_by_name(checkpoint: Path, kind: str) -> None:
    damage(checkpoint, kind)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors.*Restore it") as refusal:
        network.load(checkpoint)
    assert len(str(refusal.value)) < 3000


def test_the_released_pair_differs_in_epsilon_alone() -> None:
    """Same network, photos, schedule, seed and trunk; ε = 0 and ε = 0.1; no other layer alike."""
    pair = [network.load(CHECKPOINTS / f"{name}.safetensors") for name in PAIR]
    unsmoothed, smoothed = (metadata for _, metadata in pair)
    assert (unsmoothed.epsilon, smoothed.epsilon) == (0, 0.1)
    assert replace(unsmoothed, epsilon=0.1) == smoothed
    assert unsmoothed.split == "trainval"
    states = [classifier.resnet.state_dict() for classifier, _ in pair]
    for key, tensor in states[0].items():
        if tensor.is_floating_point():  # trained apart from one start, then the trunks averaged
            shared = key.split(".")[0] in network.TRUNK
            assert torch.equal(tensor, states[1][key]) == shared, key


@pytest.mark.parametrize("shared", [True, False])
def test_together_they_say_what_each_says(tmp_path: Path, shared: bool) -> None:
    tiny_pair(tmp_path, shared=shared)
    pair = [network.load(tmp_path / f"{name}.safetensors")[0] for name in PAIR]
    together = network.Together(pair).eval()
    assert together.shared == shared
    images = torch.randn(3, 3, 32, 32)
    expected = [classifier(images) for classifier in pair]
    runs = []
    for classifier in pair:
        classifier.resnet.layer1.register_forward_hook(lambda *_: runs.append(1))
    for net in (together, network.folded(together)):
        runs.clear()
        for part, outputs in zip(net(images), zip(*expected, strict=True), strict=True):
            torch.testing.assert_close(part, torch.stack(outputs), rtol=1e-3, atol=1e-4)
        if net is together:
            assert len(runs) == (1 if shared else 2)
