"""Protects the study of ε: what a row says, what the table and its sentences make of the rows."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from model import study


def row(epsilon: float, seed: int, error: float) -> study.Row:
    return study.Row(epsilon, seed, error, 0.5, 0.4, 0.1, 0.02, -0.1, 0.03, 5.0)


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    rows = [row(0, 0, 0.125), row(0.05, 2, 0.25)]
    for each in rows:
        study.append(path, each)
    assert study.read(path) == rows
    path.write_text(path.read_text().replace("0.25", "a quarter"))
    with pytest.raises(ValueError, match=r"study.csv is damaged .* model.study"):
        study.read(path)


def test_an_unfinished_study_says_so() -> None:
    with pytest.raises(ValueError, match="not finished"):
        study.study([row(0, 0, 0.1), row(0, 1, 0.1)])
    with pytest.raises(ValueError, match="not finished"):
        study.study([row(0, 0, 0.1), row(0.1, 1, 0.1)])


def test_only_seeds_that_every_epsilon_has_are_compared() -> None:
    rows = [row(e, s, 0.1 + 0.01 * s) for e in (0, 0.1) for s in (0, 1)] + [row(0, 2, 0.9)]
    assert study.study(rows).values["error"].shape == (2, 2)


@pytest.mark.parametrize(
    ("smoothed", "expected"),
    [
        ((0.08, 0.09), "ε = 0.1 lowers the error by 2.0 points, more than the 0.0"),
        ((0.13, 0.12), "No ε above 0 lowers the error: the best of them, ε = 0.1, raises it by 2."),
        ((0.06, 0.12), "ε = 0.1 lowers the error by 1.5 points, no more than the 3.5"),
    ],
)
def test_the_sentence_follows_the_numbers(smoothed: tuple[float, float], expected: str) -> None:
    rows = [row(0, 0, 0.1), row(0, 1, 0.11)]
    rows += [row(0.1, seed, error) for seed, error in enumerate(smoothed)]
    sentence = study.on_error(study.study(rows))
    assert sentence.startswith(expected), sentence


def test_the_table_marks_the_best_and_gives_the_spread() -> None:
    rows = [row(0, 0, 0.10), row(0, 1, 0.12), row(0.1, 0, 0.09), row(0.1, 1, 0.09)]
    rows[0] = replace(rows[0], overconfidence=0.001)
    text = study.table(study.study(rows)).markdown()
    assert "**9.0 ± 0.0**" in text
    assert "11.0 ± 1.4" in text


def test_a_cure_never_sees_the_photos_it_is_measured_on() -> None:
    """Each half's temperature follows from the other half's labels alone."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(37), 8)
    logits = (rng.normal(size=(len(labels), 37)) + 4 * np.eye(37)[labels]).astype(np.float32)
    before = study.cured(logits, labels)
    first, second = study.pets.test_halves(labels)
    changed = labels.copy()
    changed[first] = np.roll(changed[first], 1)
    after = np.empty_like(before)
    # The same halves, other labels in the first: only what is fitted on it, the second, changes.
    halves = study.pets.test_halves
    study.pets.test_halves = lambda _: halves(labels)
    try:
        after = study.cured(logits, changed)
    finally:
        study.pets.test_halves = halves
    np.testing.assert_array_equal(before[first], after[first])
    assert not np.allclose(before[second], after[second])


def test_one_run_from_start_to_row(
    tiny_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    init = tmp_path / "init.pth"
    torch.save(models.resnet18().state_dict(), init)
    monkeypatch.setattr(study, "RECIPE", study.RECIPE | {"size": 32, "image-size": 32, "epochs": 1})
    args = argparse.Namespace(data=tiny_pets, init=init, threads=1, work=tmp_path / "work")
    measured = study.run(0.1, 1, args)
    assert (measured.epsilon, measured.seed) == (0.1, 1)
    assert 0 < measured.error <= 1
    assert study.run(0.1, 1, args).error == measured.error  # the finished checkpoint is used again
