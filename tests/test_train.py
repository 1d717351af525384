"""Protects training: only ε differs between two runs, and an interrupted run loses nothing."""

from __future__ import annotations

import csv
import dataclasses
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from torchvision import models

from model import network, pets, train
from model.checkpoint import PAIR
from tests.conftest import ROOT, tiny_pair


@pytest.fixture
def init(tmp_path: Path) -> Path:
    """A stand-in for ImageNet weights: random ones, in a file of the same form."""
    torch.manual_seed(0)
    path = tmp_path / "init.pth"
    torch.save(models.resnet18().state_dict(), path)
    return path


def command(data: Path, init: Path, out: Path, *more: str) -> list[str]:
    flags = "--arch resnet18 --size 32 --image-size 32 --batch-size 16 --threads 1 --epsilon 0.1"
    return [
        sys.executable, "-W", "ignore", "-m", "model.train", *flags.split(),
        "--data", str(data), "--init", str(init), "--out", str(out), *more,
    ]  # fmt: skip


def test_interrupted_and_resumed_is_uninterrupted(tiny_pets: Path, init: Path) -> None:
    """Killed during the second phase and started again, the weights are the same to the bit."""
    folder = tiny_pets / "runs"
    epochs = ("--head-epochs", "1", "--epochs", "3")
    whole, parts = folder / "whole.safetensors", folder / "parts.safetensors"
    subprocess.run(command(tiny_pets, init, whole, *epochs), cwd=ROOT, check=True, timeout=300)
    process = subprocess.Popen(command(tiny_pets, init, parts, *epochs), cwd=ROOT)
    history = parts.with_suffix(".history.csv")
    deadline = time.monotonic() + 200
    while "whole" not in (history.read_text() if history.exists() else ""):
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not parts.exists()
    subprocess.run(command(tiny_pets, init, parts, *epochs), cwd=ROOT, check=True, timeout=300)

    expected, resumed = load_file(whole), load_file(parts)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    histories = [list(csv.DictReader(p.with_suffix(".history.csv").open())) for p in (whole, parts)]
    assert [[row["train_loss"] for row in history] for history in histories] == 2 * [
        [row["train_loss"] for row in histories[0]]
    ]
    assert len(histories[0]) == 4
    assert not parts.with_suffix(".state.pth").exists(), "a finished run leaves no state behind"

    # Every weight has been trained: none is as it was initialised.
    initial = torch.load(init, weights_only=True)
    for key, tensor in expected.items():
        if key.startswith("fc.") or not tensor.is_floating_point():
            continue
        assert not torch.equal(tensor, initial[key].to(tensor.dtype)), f"{key} was never trained"
    classifier, metadata = network.load(whole)
    assert (metadata.epochs, metadata.epsilon, metadata.split) == ("1 + 3", 0.1, "trainval")
    assert classifier(torch.randn(1, 3, 32, 32))[0].shape == (1, 37)


def test_other_flags_do_not_resume(tiny_pets: Path, init: Path) -> None:
    out = tiny_pets / "run.safetensors"
    run = train.Run(out, {"epsilon": "0.1"})
    torch.save({"settings": {"epsilon": "0"}}, run.state)
    with pytest.raises(SystemExit, match="other settings"):
        run.resume()
    run.state.write_bytes(run.state.read_bytes()[:100])
    with pytest.raises(SystemExit, match="damaged"):
        run.resume()


def test_killed_after_the_last_epoch_keeps_what_was_trained(
    tiny_pets: Path, init: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to train, but the head's last fit and the file: they use the trained body."""
    out, kept = tiny_pets / "run.safetensors", tiny_pets / "kept.pth"
    flags = command(tiny_pets, init, out, "--head-epochs", "1", "--epochs", "1")
    monkeypatch.setattr(sys, "argv", flags[flags.index("model.train") :])
    monkeypatch.setattr(train.Run, "close", lambda run: run.state.rename(kept))
    train.main()
    trained = load_file(out)
    out.unlink()
    kept.rename(out.with_suffix(".state.pth"))
    train.main()
    resumed = load_file(out)
    assert all(torch.equal(trained[key], resumed[key]) for key in trained)


def epoch(dls: DataLoaders, seed: int, phase: int, epoch: int) -> list[torch.Tensor]:
    seeded = train.Seeded(seed, phase)
    seeded.learn = type("Learn", (), {"dls": dls, "epoch": epoch})()
    seeded.before_epoch()
    return [tensor for batch in dls.train for tensor in batch]


def test_batches_follow_from_the_seed_alone(tiny_pets: Path) -> None:
    photos = pets.official_split(tiny_pets, "trainval")
    loaders = [
        pets.dataloaders(photos, [], size=24, valid_size=24, batch_size=16) for _ in range(2)
    ]
    torch.rand(7)  # whatever happened before must not matter
    first, second = epoch(loaders[0], 1, 1, 4), epoch(loaders[1], 1, 1, 4)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], epoch(loaders[0], 1, 1, 5)[0])
    assert not torch.equal(first[0], epoch(loaders[0], 2, 1, 4)[0])


def test_loader_processes_change_nothing(tiny_pets: Path) -> None:
    """A photo's crop, flip and light follow from the seed, the epoch and the photo."""
    photos = pets.official_split(tiny_pets, "trainval")
    alone, helped = (
        epoch(pets.dataloaders(photos, [], size=24, valid_size=24, workers=workers), 1, 1, 4)
        for workers in (0, 2)
    )
    assert len(alone) == len(helped) == 2
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_two_processes_train_as_one(tiny_pets: Path, init: Path) -> None:
    """Under `accelerate launch` with two processes each step has the loss of a single process.

    All photos are in one batch, so that an epoch's loss in the history is that of its one step.
    """
    flags = ("--head-epochs", "1", "--epochs", "3", "--batch-size", "74", "--freeze-bn", "--fp32")
    more = (*flags, "--share", "1", "--no-refit", "--cpu")
    alone, shared = tiny_pets / "alone.safetensors", tiny_pets / "shared.safetensors"
    subprocess.run(command(tiny_pets, init, alone, *more), cwd=ROOT, check=True, timeout=300)
    launch = "--cpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    accelerate = Path(sys.executable).with_name("accelerate")
    _, _, _, *rest = command(tiny_pets, init, shared, *more)
    process = subprocess.run(
        [accelerate, "launch", *launch.split(), *rest], cwd=ROOT, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    losses = [
        [float(row["train_loss"]) for row in csv.DictReader(out.with_suffix(".history.csv").open())]
        for out in (alone, shared)
    ]
    assert len(losses[0]) == 4
    assert len(set(losses[0])) == 4, "the loss does not change: nothing was trained"
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-3)
    ours, theirs = load_file(alone), load_file(shared)
    for key in ours:
        torch.testing.assert_close(ours[key].float(), theirs[key].float(), atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_missing_photo_stops_it_with_its_name(
    tiny_pets: Path, init: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    out = tiny_pets / "run.safetensors"
    gone = tiny_pets / "oxford-iiit-pet" / "images" / "Pug_trainval1.jpg"
    if when == "during":  # listed and there at the start, but not when its turn comes
        listed = pets.official_split(tiny_pets, "trainval")
        monkeypatch.setattr(pets, "official_split", lambda *_: listed)
    gone.unlink()
    flags = command(tiny_pets, init, out, "--head-epochs", "1", "--epochs", "1")
    monkeypatch.setattr(sys, "argv", flags[flags.index("model.train") :])
    with pytest.raises(SystemExit, match=rf"Training stopped: .*{gone.name}.*same command"):
        train.main()
    assert not out.exists()


def test_a_full_disk_keeps_the_last_good_state(tiny_pets: Path, init: Path) -> None:
    """Files may grow to one state's size in the first run, then to nothing, then as they like."""
    out = tiny_pets / "run.safetensors"
    flags = command(tiny_pets, init, out, "--head-epochs", "1", "--epochs", "1")

    def run(limit: int | None) -> subprocess.CompletedProcess[str]:
        def limited() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run(
            flags, cwd=ROOT, preexec_fn=limited, capture_output=True, text=True, timeout=300
        )

    # The head's state fits; that of the whole network, with Adam's moments, does not.
    process = run(60 * 2**20)
    assert process.returncode != 0
    assert "Training stopped" in process.stderr
    assert "state.pth could not be written" in process.stderr
    state = torch.load(out.with_suffix(".state.pth"), weights_only=False)
    assert (state["phase"], state["next_epoch"]) == (0, 1)
    assert not list(tiny_pets.glob("*.unfinished*"))
    assert run(None).returncode == 0
    assert network.load(out)[1].epochs == "1 + 1"


def test_refit_takes_the_body_as_it_is(tiny_pets: Path, init: Path) -> None:
    """--body trains no epoch: the body of the checkpoint, a new head, another size."""
    first, second = tiny_pets / "first.safetensors", tiny_pets / "second.safetensors"
    more = ("--head-epochs", "1", "--epochs", "1", "--seed", "3", "--init-name", "random weights")
    subprocess.run(command(tiny_pets, init, first, *more), cwd=ROOT, check=True, timeout=300)
    flags = command(tiny_pets, init, second, "--body", str(first), "--image-size", "48")
    told = subprocess.run(flags, cwd=ROOT, check=True, timeout=300, capture_output=True, text=True)
    assert "started from random weights; its head is pulled towards that of init.pth" in told.stdout
    before, after = load_file(first), load_file(second)
    for key in before:
        assert torch.equal(before[key], after[key]) == (not key.startswith("fc.")), key
    trained, refitted = (network.load(path)[1] for path in (first, second))
    assert refitted == dataclasses.replace(trained, image_size=48)
    assert (refitted.seed, refitted.init, refitted.epochs) == (3, "random weights", "1 + 1")
    failed = subprocess.run([*flags, "--holdout"], cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode
    assert "give --holdout if and only if it was given then" in failed.stderr


def test_merged_both_ways_two_networks_share_the_mean_of_their_trunks(
    tiny_pets: Path, init: Path
) -> None:
    """--trunk averages all but the last stage; the last stage stays, the head is fitted anew."""
    paths = [tiny_pets / f"{name}.safetensors" for name in PAIR]
    tiny_pair(tiny_pets)
    merged = []
    for path, other, epsilon in zip(paths, reversed(paths), ("0", "0.1"), strict=True):
        out = path.with_name(f"merged-{path.name}")
        flags = command(tiny_pets, init, out, "--body", str(path), "--trunk", str(other))
        flags[flags.index("--epsilon") + 1] = epsilon
        subprocess.run(flags, cwd=ROOT, check=True, timeout=300)
        merged.append(network.load(out)[0])
    assert network.share_trunk(merged)
    before = [network.load(path)[0].resnet.state_dict() for path in paths]
    for own, classifier in zip(before, merged, strict=True):
        for key, tensor in classifier.resnet.state_dict().items():
            mean = (before[0][key] + before[1][key]) / 2
            expected = mean if key.split(".")[0] in network.TRUNK else own[key]
            same = torch.allclose(tensor.float(), expected.float(), rtol=1e-3, atol=1e-5)
            assert same == (not key.startswith("fc.")), key


def test_templates_are_imagenets_rows(init: Path) -> None:
    """Beagle is ImageNet's class 162. Ragdoll is none: taken for two classes, it gets a mixture."""
    known = train.imagenet_head("resnet18", init)
    rows = torch.load(init, weights_only=True)["fc.weight"]
    torch.testing.assert_close(known.weight, rows)
    beagle, ragdoll = (pets.BREEDS.index(breed) for breed in ("Beagle", "Ragdoll"))
    # Activations by which ImageNet's head says class 3 three times of four, and else class 5.
    wanted = torch.full((4, len(rows)), -30.0)
    wanted[[0, 1, 2, 3], [3, 3, 3, 5]] = 30
    told = known._replace(weight=torch.eye(len(rows)), bias=torch.zeros(len(rows)))
    labels = torch.full((4,), ragdoll)
    templates = train.imagenet_templates(told, wanted, labels, prior=0.5, others=0.8)
    mean = 1 / len(rows)
    expected = torch.full((len(rows),), -0.8 * mean)
    expected[[3, 5]] += torch.tensor([0.6, 0.2])
    torch.testing.assert_close(templates[ragdoll], expected)
    assert templates[beagle, 162] == pytest.approx(0.5 * (1 - mean))
    unseen = pets.BREEDS.index("Birman")
    assert not templates[unseen].any()
    assert set(pets.IMAGENET) <= set(pets.BREEDS)
    assert not {"Ragdoll", "Birman"} & set(pets.IMAGENET)


def test_holdout_is_a_fifth(pets_root: Path) -> None:
    photos = pets.official_split(pets_root, "trainval")
    held_out = train.held_out(photos)
    assert abs(held_out.mean() - 0.2) < 0.01


@pytest.mark.parametrize("more", [[], ["--holdout"]])
def test_no_held_out_or_test_photo_reaches_training(
    tiny_pets: Path, init: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    """What the command hands to its loaders: trainval alone, and the held-out part to report on."""
    handed: list[list[pets.Photo]] = []

    def stop(learned: list[pets.Photo], reported: list[pets.Photo], **_: object) -> None:
        handed.extend([learned, reported])
        raise LookupError

    flags = command(tiny_pets, init, tiny_pets / "run.safetensors", *more)
    monkeypatch.setattr(sys, "argv", flags[flags.index("model.train") :])
    monkeypatch.setattr(pets, "dataloaders", stop)
    with pytest.raises(LookupError):
        train.main()
    learned, reported = ({photo.path for photo in photos} for photos in handed)
    trainval = pets.official_split(tiny_pets, "trainval")
    assert learned | reported == {photo.path for photo in trainval}
    assert not learned & reported
    test = {photo.path for photo in pets.official_split(tiny_pets, "test")}
    assert not test & (learned | reported)
    held_out = train.held_out(trainval) if more else np.zeros(len(trainval), dtype=bool)
    assert reported == {p.path for p, out in zip(trainval, held_out, strict=True) if out}


def test_help_names_every_default() -> None:
    text = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "model.train", "--help"],
        cwd=ROOT, check=True, capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"},
    ).stdout  # fmt: skip
    for flag in ("--epsilon", "--data", "--init", "--arch", "--out", "--seed"):
        assert flag in text
    assert "(default: resnet50)" in text


def test_average_goes_the_given_share_of_the_way() -> None:
    body = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    initial = {key: torch.zeros_like(value) for key, value in body.state_dict().items()}
    body[0].running_var.fill_(8)
    body[0].num_batches_tracked.fill_(8)
    train.average(body, initial, 0.25)
    assert body[0].weight.tolist() == [0.25, 0.25]
    assert body[0].running_var.tolist() == [2, 2]
    assert body[0].num_batches_tracked.item() == 8  # a count is no weight


def test_the_last_head_is_the_optimum_that_scikit_learn_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(37).repeat(8)
    features = torch.randn(37, 20, generator=generator)[labels]
    features = 5 + 3 * (features + 1.5 * torch.randn(features.shape, generator=generator))
    zero = torch.zeros(37, 20)
    weight, bias = train.fit_head(features, labels, 0, 1e-2, zero, shrink=1)
    ours = (features @ weight.T + bias).softmax(-1)
    standardised = (features - features.mean(0)) / features.std(0)
    reference = LogisticRegression(C=1 / (1e-2 * len(labels)), max_iter=2000, tol=1e-8)
    theirs = reference.fit(standardised, labels).predict_proba(standardised)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=5e-3)
    smoothed_weight, _ = train.fit_head(features, labels, 0.2, 1e-2, zero, shrink=1)
    assert smoothed_weight.norm() < weight.norm()


def test_the_penalty_is_on_what_varies_within_breeds() -> None:
    """As scikit-learn penalises equally in coordinates in which that variance is 1."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(37).repeat(8)
    mix = torch.randn(20, 20, generator=generator)
    features = torch.randn(37, 20, generator=generator)[labels]
    features = 5 + features + torch.randn(features.shape, generator=generator) @ mix
    weight, bias = train.fit_head(features, labels, 0, 1e-2, torch.zeros(37, 20), shrink=0.25)
    ours = (features @ weight.T + bias).softmax(-1)
    residuals = features.clone()
    for breed in range(37):
        residuals[labels == breed] -= features[labels == breed].mean(0)
    metric = 0.75 * residuals.T @ residuals / len(labels) + 0.25 * torch.diag(features.var(0))
    values, vectors = torch.linalg.eigh(metric)
    whitened = (features - features.mean(0)) @ vectors / values.sqrt()
    reference = LogisticRegression(C=1 / (1e-2 * len(labels)), max_iter=2000, tol=1e-8)
    theirs = reference.fit(whitened, labels).predict_proba(whitened)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=5e-3)


def test_scatter_needs_no_photo_of_every_breed() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [7.0, 1.0]])
    within = train.scatter(features, torch.tensor([0, 0, 5]), shrink=1e-9)
    torch.testing.assert_close(within, torch.tensor([[2 / 3, 0], [0, 0]]), atol=1e-5, rtol=0)


def test_a_strong_penalty_leaves_the_head_at_its_templates() -> None:
    generator = torch.Generator().manual_seed(0)
    features = 5 + 3 * torch.randn(111, 20, generator=generator)
    templates = torch.randn(37, 20, generator=generator)
    weight, _ = train.fit_head(
        features, torch.arange(37).repeat(3), 0.1, 1e6, templates, shrink=0.5
    )
    torch.testing.assert_close(weight, templates, atol=1e-3, rtol=0)
