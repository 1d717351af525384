"""Protects the article's recipe: its split, its loss, and a table of what came out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from fastai.learner import Learner
from torchvision import models

from model import article, train


def test_recipe_from_flags_to_table(
    tiny_pets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    init, results = tmp_path / "init.pth", tmp_path / "article.json"
    torch.save(models.resnet18().state_dict(), init)
    monkeypatch.setattr(article, "SIZE", 32)
    monkeypatch.setattr(article.read, "__defaults__", (results,))
    monkeypatch.setattr(article.write, "__defaults__", (results,))
    flags = f"--recipe article --epsilon 0.1 --arch resnet18 --threads 1 --data {tiny_pets}"
    monkeypatch.setattr("sys.argv", ["train", *flags.split(), "--init", str(init)])
    train.main()
    (found,) = json.loads(results.read_text())
    assert found["photos"] == 29  # a fifth of 148
    assert 0 <= found["low"] <= found["error"] <= found["high"] <= 1
    shown = capsys.readouterr().out
    frozen = "head, batch norm"
    assert f"| resnet34 | ImageNet (the article) | {frozen} | 0.003 | 0.1 | 7.5% |  |" in shown
    assert f"| resnet18 | init.pth | {frozen} | 0.003 | 0.1 | {found['error']:.1%} (" in shown
    train.main()
    assert len(json.loads(results.read_text())) == 1  # the same setting replaces its row
    unfrozen: list[int] = []
    tuned = Learner.unfreeze
    monkeypatch.setattr(Learner, "unfreeze", lambda self: (unfrozen.append(1), tuned(self)))
    monkeypatch.setattr("sys.argv", [*sys.argv, "--unfreeze"])
    train.main()
    assert unfrozen
    learned = [row["learned"] for row in json.loads(results.read_text())]
    assert learned == [article.WHOLE, article.FROZEN]  # another setting, another row
    rates: list[object] = []
    cycle = Learner.fit_one_cycle
    monkeypatch.setattr(
        Learner,
        "fit_one_cycle",
        lambda self, n, lr, **more: (rates.append(lr), cycle(self, n, lr, **more)),
    )
    monkeypatch.setattr("sys.argv", [*sys.argv[:-1], "--rate", "0.001"])
    train.main()
    assert rates == [slice(0.001)]
    shown = capsys.readouterr().out
    assert f"| resnet18 | init.pth | {frozen} | 0.001 | 0.1 | " in shown
    assert f"| resnet18 | init.pth | {frozen} | 0.003 | 0.1 | " in shown


def test_every_photo_of_both_splits_is_used_once(tiny_pets: Path) -> None:
    dls = article.dataloaders(tiny_pets)
    learned, held_out = (set(items) for items in (dls.train_ds.items, dls.valid_ds.items))
    assert len(learned) == 119
    assert len(held_out) == 29
    assert not learned & held_out
    assert len(dls.vocab) == 37
    assert held_out == set(article.dataloaders(tiny_pets).valid_ds.items)
