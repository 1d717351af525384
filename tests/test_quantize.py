"""Protects the 8-bit models: derived from the checkpoints beside them, and close enough to them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from model import engine, integrity, network, pets, quantize
from model.checkpoint import CHECKPOINTS, PAIR, Metadata
from tests.conftest import ROOT, tiny_pair


def test_the_shipped_models_keep_to_the_targets() -> None:
    shipped = json.loads((CHECKPOINTS / "serving.json").read_text())
    assert shipped.keys() == set(PAIR)
    for name in PAIR:
        assert shipped[name].keys() == quantize.TARGETS.keys()
        assert not quantize.missed(shipped[name])


@pytest.mark.parametrize("name", PAIR)
def test_the_shipped_models_come_from_the_shipped_checkpoints(name: str) -> None:
    """What they say of themselves is what the checkpoint says, and they name it by its content."""
    model, metadata, _ = engine.open_model(CHECKPOINTS / f"{name}.onnx")
    checkpoint = CHECKPOINTS / f"{name}.safetensors"
    assert metadata == network.load(checkpoint)[1]
    assert engine.origin(model)[engine.SOURCE] == integrity.sum_of(checkpoint)


@pytest.mark.parametrize("name", PAIR)
def test_most_of_a_shipped_model_is_in_8_bit(name: str) -> None:
    """All but the stem and the first block, whose rounding costs most, and the head."""
    graphs = [onnx.load(CHECKPOINTS / f"{part}.onnx").graph for part in ("trunk", name)]
    bits = {onnx.TensorProto.INT8: 8, onnx.TensorProto.FLOAT: 32}
    sizes, stem, first, head = ({8: 0, 32: 0} for _ in range(4))
    for weight in (weight for graph in graphs for weight in graph.initializer):
        if weight.data_type in bits:
            kinds = {"resnet.conv1.": stem, "layer1.0.": first, "fc.": head}
            counted = next((kinds[part] for part in kinds if part in weight.name), sizes)
            counted[bits[weight.data_type]] += int(np.prod(weight.dims))
    assert sizes[8] > 0.99 * sum(sizes.values())
    for part in (stem, first, head):
        assert part[32] > 0
        assert part[8] == 0
    assert "BatchNormalization" not in {node.op_type for graph in graphs for node in graph.node}


def test_the_shipped_models_share_their_trunk() -> None:
    served = engine.EightBit(CHECKPOINTS)
    assert served.spread.trunk is not None
    loaded = [network.load(CHECKPOINTS / f"{name}.safetensors")[0] for name in PAIR]
    assert network.share_trunk(loaded)
    tails = [classifier.resnet.layer4[0].conv1.weight for classifier in loaded]
    assert not tails[0].equal(tails[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny pair and its 8-bit models, calibrated on noise."""
    folder = tmp_path_factory.mktemp("pair")
    tiny_pair(folder)
    rng = np.random.default_rng(0)
    for name in PAIR:
        exact = folder / f"{name}.exact.onnx"
        quantize.export(folder / f"{name}.safetensors", exact)
        noise = rng.integers(0, 256, (8, 1, 32, 32, 3), dtype=np.uint8)
        quantize.quantise(exact, folder / f"{name}.onnx", iter(noise))
    return folder


PIXELS = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_the_fp32_reference_is_the_network(made: Path) -> None:
    """ONNX Runtime's fp32 logits and activations are PyTorch's."""
    exact = quantize.onnx_runtime(made / "smoothed.exact.onnx")
    classifier, _ = network.load(made / "smoothed.safetensors")
    expected = classifier(pets.normalised(PIXELS))
    for served, tensor in zip(exact(PIXELS), expected, strict=True):
        np.testing.assert_allclose(served, tensor.detach().numpy(), rtol=1e-3, atol=1e-3)


Runtime = Callable[[Path], Callable[[quantize.Pixels], Sequence[quantize.Floats]]]
RUNTIMES: tuple[Runtime, ...] = (quantize.onnx_runtime, quantize.as_served)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_8_bit_model_is_close_and_takes_any_batch(made: Path, runtime: Runtime) -> None:
    exact = quantize.onnx_runtime(made / "smoothed.exact.onnx")
    model = runtime(made / "smoothed.onnx")
    for count in (1, 5):
        _, features = model(PIXELS[:count])
        _, expected = exact(PIXELS[:count])
        assert features.shape == (count, 512)
        assert np.corrcoef(features.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_logits_follow_from_the_activations(made: Path, runtime: Runtime) -> None:
    """The head is in fp32, so that the calibration tab and the live head can rely on both."""
    logits, features = runtime(made / "smoothed.onnx")(PIXELS)
    head = network.load(made / "smoothed.safetensors")[0].resnet.fc
    expected = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_a_common_trunk_runs_once_and_changes_no_bit(tiny_pets: Path, shared: bool) -> None:
    folder = tiny_pets / "checkpoints"
    tiny_pair(folder, shared=shared)
    photos = pets.official_split(tiny_pets, "trainval")[:4]
    whole = []
    for name in PAIR:
        path = tiny_pets / f"{name}.onnx"
        quantize.derive(folder / f"{name}.safetensors", path, photos)
        whole.append(quantize.as_served(path)(PIXELS))
    (folder / "trunk.onnx").write_text("of an older pair")
    quantize.release(folder, photos, [])
    assert (folder / "trunk.onnx").exists() == shared
    assert ("trunk.onnx" in integrity.recorded(folder)) == shared
    served = engine.EightBit(folder)
    assert (served.spread.trunk is not None) == shared
    for i, part in enumerate(served(PIXELS)):
        np.testing.assert_array_equal(part, np.stack([outputs[i] for outputs in whole]))
    if shared:  # its weights are in no other file
        sizes = [(folder / f"{name}.onnx").stat().st_size for name in ("trunk", "smoothed")]
        assert sum(sizes) == pytest.approx((tiny_pets / "smoothed.onnx").stat().st_size, rel=0.01)


def test_calibration_photos_are_spread_over_the_breeds() -> None:
    photos = [pets.Photo(Path(f"{n:03}.jpg"), n // 4) for n in range(4 * len(pets.BREEDS))]
    chosen = quantize.spread_over_breeds(photos, 32)
    assert len({photo.label for photo in chosen}) == 32
    more = quantize.spread_over_breeds(photos, 80)
    assert more[:32] == chosen
    counts = np.bincount([photo.label for photo in more], minlength=len(pets.BREEDS))
    assert counts.min() == 2
    assert len(set(more)) == 80


def test_compare_measures_what_the_targets_speak_of() -> None:
    """Ten photos, of which one changes its breed, and is right no more."""
    labels = np.zeros(10, dtype=np.int64)
    exact = np.full((10, 37), -20.0, dtype=np.float32)
    exact[:, 0] = 20
    served = exact.copy()
    served[3, [0, 1]] = served[3, [1, 0]]
    measured = quantize.compare(served, exact, labels)
    assert measured["same_top1"] == pytest.approx(0.9)
    assert measured["error_difference"] == pytest.approx(0.1)
    assert measured["ece_difference"] == pytest.approx(0.1, abs=1e-6)
    assert measured["median_difference"] == pytest.approx(0, abs=1e-6)
    assert measured["p95_difference"] == pytest.approx(0.55, abs=1e-3)  # between 0 and 1
    assert set(quantize.missed(measured)) == quantize.TARGETS.keys() - {"median_difference"}
    assert quantize.missed(quantize.compare(exact, exact, labels)) == []


def test_a_model_that_misses_a_target_replaces_nothing(
    tiny_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's refusal, on photos of noise and with a bound that cannot be kept."""
    monkeypatch.setenv("HOME", str(tiny_pets))
    folder = tiny_pets / "checkpoints"
    tiny_pair(folder)
    for name in PAIR:
        (folder / f"{name}.onnx").write_text("the old one")
    impossible = quantize.Target(2, 3, "more than all photos")
    monkeypatch.setitem(quantize.TARGETS, "same_top1", impossible)
    splits = [pets.official_split(tiny_pets, split)[:8] for split in ("trainval", "test")]
    with pytest.raises(ValueError, match=r"too far from fp32 .*same_top1.*more photos"):
        quantize.release(folder, *splits)
    assert {path.read_text() for path in folder.glob("*.onnx")} == {"the old one"}
    kept = {f"{name}.{suffix}" for name in PAIR for suffix in ("onnx", "safetensors")}
    assert {path.name for path in folder.iterdir()} == kept | {integrity.NAME}
    for name in quantize.TARGETS:
        monkeypatch.setitem(quantize.TARGETS, name, quantize.Target(-2, 2, "anything"))
    quantize.release(folder, *splits)  # and with bounds that can
    assert json.loads((folder / "serving.json").read_text()).keys() == set(PAIR)
    for name in PAIR:
        assert isinstance(engine.open_model(folder / f"{name}.onnx")[1], Metadata)


def test_the_command_names_a_checkpoint_that_is_missing(tiny_pets: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "model.quantize", "--unverified"]
    options = ["--data", str(tiny_pets), "--checkpoints", str(tiny_pets)]
    ended = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "unsmoothed.safetensors is missing" in ended.stderr
    assert "Traceback" not in ended.stderr
