"""Protects the cross-validation of the head: whole folds left out, nothing leaks, a true table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from model import folds, pets, train
from tests.test_readme import block


def none(features: int) -> train.ImageNetHead:
    """A head that knows nothing."""
    classes = list(pets.IMAGENET.values())
    return train.ImageNetHead(
        torch.zeros(len(classes), features), torch.zeros(len(classes)), classes
    )


def test_folds_are_runs_of_each_breeds_photos() -> None:
    labels = np.array([0] * 10 + [1] * 7)
    assert folds.folds(labels).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 0, 1, 1, 2, 3, 4]


def test_what_only_the_left_out_photos_show_cannot_be_learned() -> None:
    """Activations that name the photo, not the breed: right answers are but luck."""
    labels = np.repeat(np.arange(37), 5)
    noise = torch.randn(len(labels), 64, generator=torch.Generator().manual_seed(0))
    row = folds.validate([noise], labels, 0.0, folds.Penalty(0, 0, 1, 1e-3), none(64))
    assert row.error > 0.9
    told = torch.nn.functional.one_hot(torch.from_numpy(labels), 37).float()
    row = folds.validate([told], labels, 0.0, folds.Penalty(0, 0, 1, 1e-3), none(37))
    assert row.error == 0
    assert 0 < row.confidence <= 1


def test_command_from_photos_to_table(
    tiny_pets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    init, rows = tmp_path / "init.pth", tmp_path / "folds.csv"
    torch.save(models.resnet18().state_dict(), init)
    monkeypatch.setattr(folds, "GRID", folds.GRID[:2])
    flags = f"--data {tiny_pets} --init {init} --arch resnet18 --image-size 32 --threads 1"
    monkeypatch.setattr("sys.argv", ["folds", *flags.split(), "--rows", str(rows)])
    folds.main()
    found = folds.read(rows)
    expected = [(penalty.decay, e) for penalty in folds.GRID for e in folds.EPSILONS]
    assert [(row.decay, row.epsilon) for row in found] == expected
    assert folds.table(found).markdown() in capsys.readouterr().out


def test_readme_shows_what_was_measured() -> None:
    shown = block("python -m model.folds --table-only")
    assert shown == folds.table(folds.read()).markdown()
    assert len(folds.read()) == len(folds.GRID) * len(folds.EPSILONS)


def test_the_released_penalty_is_among_them() -> None:
    flags = train.parser().parse_args(["--epsilon", "0"])
    chosen = folds.Penalty(flags.prior, flags.others, flags.shrink, flags.head_decay)
    assert chosen in folds.GRID
    assert flags.image_size == 320


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("error\nmany\n")
    for name in ("folds.csv", "missing.csv"):
        with pytest.raises(ValueError, match=r"python -m model\.folds"):
            folds.read(tmp_path / name)
