"""Protects the released files from damage that nothing else would notice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from model import evaluate, integrity, network
from model.network import CHECKPOINTS, PAIR
from tests.conftest import ROOT

RELEASED = [*(f"{name}.safetensors" for name in PAIR), "evaluation.npz"]


def read(path: Path) -> object:
    return evaluate.load(path) if path.suffix == ".npz" else network.load(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the released files and of their sums."""
    for name in [*RELEASED, integrity.NAME]:
        shutil.copy(CHECKPOINTS / name, tmp_path)
    return tmp_path


def test_every_released_file_has_its_sum() -> None:
    sums = integrity.recorded(CHECKPOINTS)
    assert set(sums) >= set(RELEASED)
    for name, noted in sums.items():
        assert integrity.sum_of(CHECKPOINTS / name) == noted, name


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_list_is_one_of_sha256sum() -> None:
    command = ["sha256sum", "--strict", "-c", integrity.NAME]
    subprocess.run(command, cwd=CHECKPOINTS, check=True, capture_output=True)


@pytest.mark.parametrize("name", RELEASED)
def test_a_flipped_bit_anywhere_is_named(folder: Path, name: str) -> None:
    """In the header, among the weights, in the last byte: one bit at a time."""
    path = folder / name
    size = path.stat().st_size
    for place in [*np.random.default_rng(0).integers(size // 4, 3 * size // 4, 4), 9, size - 1]:
        with path.open("r+b") as file:
            file.seek(int(place))
            good = file.read(1)
            file.seek(int(place))
            file.write(bytes([good[0] ^ 4]))
        with pytest.raises(ValueError, match=rf"{name}.*SHA256SUMS.*Restore it"):
            read(path)
        with path.open("r+b") as file:
            file.seek(int(place))
            file.write(good)
    read(path)


def test_without_the_sum_a_flip_among_the_weights_goes_unnoticed(folder: Path) -> None:
    """What the sums are for; and a file without one, of your own training, loads."""
    (folder / integrity.NAME).unlink()
    path = folder / "smoothed.safetensors"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes([file.read(1)[0] ^ 4]))
    network.load(path)


def test_what_is_written_is_noted(tmp_path: Path) -> None:
    """And noted anew when it is written anew; its neighbours keep their sums."""
    metadata = network.Metadata("resnet18", 0.1, "none", "none", "0", 64, 0)
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    for seed, path in enumerate((one, other, one)):
        torch.manual_seed(seed)
        network.save(path, network.build("resnet18").state_dict(), metadata)
    assert integrity.recorded(tmp_path) == {p.name: integrity.sum_of(p) for p in (one, other)}
    network.load(one)
    shutil.copy(other, one)
    with pytest.raises(ValueError, match=r"one\.safetensors.*python -m model\.integrity"):
        network.load(one)
    subprocess.run(
        [sys.executable, "-m", "model.integrity", str(one)], cwd=ROOT, check=True, timeout=60
    )
    network.load(one)
    evaluate.save(tmp_path / "evaluation.npz", evaluate.load())
    assert "evaluation.npz" in integrity.recorded(tmp_path)


@pytest.mark.parametrize("text", ["nonsense", "00  smoothed.safetensors\n", "zz " * 3, "\n\n"])
def test_a_damaged_list_is_named(folder: Path, text: str) -> None:
    (folder / integrity.NAME).write_text(text)
    with pytest.raises(ValueError, match=r"SHA256SUMS is damaged.*Restore it"):
        network.load(folder / "smoothed.safetensors")
