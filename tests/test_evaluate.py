"""Protects the measurements: what is shipped is what the shipped weights give."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import calibration, engine, evaluate, pets
from model.network import CHECKPOINTS, PAIR
from tests.conftest import ROOT, tiny_pair

SHIPPED = CHECKPOINTS / "evaluation.npz"


def test_contract_and_the_whole_test_split() -> None:
    evaluation = evaluate.load()
    assert evaluation.logits.shape == (2, pets.SPLIT_SIZES["test"], len(pets.BREEDS))
    assert np.issubdtype(evaluation.labels.dtype, np.integer)
    assert len(set(evaluation.names)) == pets.SPLIT_SIZES["test"]
    with np.load(SHIPPED, allow_pickle=False) as arrays:
        assert {arrays[f"features_{name}"].dtype for name in PAIR} == {np.dtype(np.float16)}


def test_metrics_json_is_computed_from_the_npz() -> None:
    shipped = json.loads((CHECKPOINTS / "metrics.json").read_text())
    recomputed = evaluate.metrics(evaluate.load())
    assert shipped.keys() == recomputed.keys() == set(PAIR)
    for name in PAIR:
        assert shipped[name].keys() == recomputed[name].keys()
        for score, interval in recomputed[name].items():
            assert shipped[name][score] == pytest.approx(interval, abs=1e-9)
            assert interval["low"] <= interval["value"] <= interval["high"]


def test_released_pair_reaches_its_goals() -> None:
    """Error ≤ 8 %, and smoothing lowers the mean confidence by more than chance."""
    metrics = evaluate.metrics(evaluate.load())
    assert max(metrics[name]["error"]["value"] for name in PAIR) <= 0.08
    low = metrics["unsmoothed"]["mean_confidence"]["low"]
    assert metrics["smoothed"]["mean_confidence"]["high"] < low


def test_npz_is_what_is_served(pets_root: Path) -> None:
    """A sample of the test split, run anew through the shipped 8-bit models."""
    if not engine.has_dot_products():
        pytest.skip("needs a CPU with 8-bit dot products, which the evaluation was made on")
    evaluation = evaluate.load()
    photos = pets.official_split(pets_root, "test")[::150]
    rows = [list(evaluation.names).index(photo.name) for photo in photos]
    assert evaluation.labels[rows].tolist() == [photo.label for photo in photos]
    served = engine.EightBit(CHECKPOINTS)
    pixels = next(pets.pixel_batches(photos, served.metadata[0].image_size, len(photos)))
    logits, features = served(pixels)
    np.testing.assert_allclose(logits, evaluation.logits[:, rows], atol=2e-3)
    for i, penultimate in enumerate(evaluation.penultimate):
        rotated = (features[i] - penultimate.mean) @ penultimate.rotation
        np.testing.assert_allclose(rotated, penultimate.features[rows], atol=2e-2)


@pytest.mark.parametrize("i", [0, 1])
def test_rotation_keeps_99_percent_of_the_variance(i: int) -> None:
    evaluation = evaluate.load()
    penultimate = evaluation.penultimate[i]
    kept = penultimate.rotation.shape[1]
    np.testing.assert_allclose(
        penultimate.rotation.T @ penultimate.rotation, np.eye(kept), atol=1e-4
    )
    logits = penultimate.features.astype(np.float32) @ penultimate.templates.T + penultimate.bias
    same_top = logits.argmax(axis=-1) == evaluation.logits[i].argmax(axis=-1)
    assert same_top.mean() > 0.99


def test_rotate_recovers_what_it_keeps() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(400, 8)) @ rng.normal(size=(8, 32))).astype(np.float32)
    weight, bias = rng.normal(size=(37, 32)), rng.normal(size=37)
    penultimate = evaluate.rotate(features, weight, bias)
    assert penultimate.rotation.shape[1] <= 8
    lost = np.sum(
        (features - penultimate.mean - penultimate.features @ penultimate.rotation.T) ** 2
    )
    assert lost <= 0.0101 * np.sum((features - penultimate.mean) ** 2)


@pytest.mark.parametrize("kind", ["missing", "truncated", "text", "classes", "nan", "lengths"])
def test_refuses_damaged_files_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "evaluation.npz"
    good = evaluate.load()
    if kind == "truncated":
        path.write_bytes(SHIPPED.read_bytes()[:100_000])
    elif kind == "text":
        path.write_text("not an archive")
    elif kind != "missing":
        logits = {
            "classes": good.logits[:, :, :10],
            "nan": np.full_like(good.logits, np.nan),
            "lengths": good.logits[:, :50],
        }[kind]
        evaluate.save(path, replace(good, logits=logits))
    with pytest.raises(ValueError, match=r"evaluation\.npz.*python -m model\.evaluate"):
        evaluate.load(path)


@pytest.mark.parametrize("fp32", [True, False])
def test_command_end_to_end(tiny_pets: Path, fp32: bool) -> None:
    """The command on a small dataset and small networks: both files, and sensible numbers."""
    folder = tiny_pets / "checkpoints"
    tiny_pair(folder)
    options = ["--checkpoints", str(folder), "--data", str(tiny_pets)]
    if fp32:
        options.append("--fp32")
    elif not engine.has_dot_products():
        pytest.skip("needs a CPU with 8-bit dot products")
    else:
        command = [sys.executable, "-m", "model.quantize", "--unverified", *options]
        subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    # 74 photos, the whole of this test split
    command = [sys.executable, "-m", "model.evaluate", *options]
    subprocess.run(command, cwd=ROOT, check=True, timeout=200)
    evaluation = evaluate.load(folder / "evaluation.npz")
    assert evaluation.logits.shape == (2, 74, 37)
    metrics = json.loads((folder / "metrics.json").read_text())
    error = calibration.error(calibration.softmax(evaluation.logits[1]), evaluation.labels)
    assert metrics["smoothed"]["error"]["value"] == pytest.approx(error)


def test_without_8_bit_models_the_command_says_what_to_do(tiny_pets: Path) -> None:
    tiny_pair(tiny_pets / "checkpoints")
    options = ["--checkpoints", str(tiny_pets / "checkpoints"), "--data", str(tiny_pets)]
    command = [sys.executable, "-W", "ignore", "-m", "model.evaluate", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "--fp32" in ended.stderr or "python -m model.quantize" in ended.stderr
    assert "Traceback" not in ended.stderr
