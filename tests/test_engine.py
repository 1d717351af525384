"""Protects the choice of what runs the pair, and that every engine says the same."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import engine, integrity, network, pets, quantize
from model.checkpoint import PAIR
from model.classifier import Pair
from tests.conftest import ROOT, tiny_pair

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(params=["shared trunk", "whole networks"])
def folder(tiny_pets: Path, request: pytest.FixtureRequest) -> Path:
    """A tiny pair and its 8-bit models."""
    folder = tiny_pets / "checkpoints"
    tiny_pair(folder, shared=request.param == "shared trunk")
    quantize.release(folder, pets.official_split(tiny_pets, "trainval")[:4], [])
    return folder


def able() -> bool:
    return True


def test_8_bit_serves_where_the_cpu_is_made_for_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert isinstance(engine.choose(folder, able), engine.EightBit)
    assert "8-bit OpenVINO" in caplog.text
    assert isinstance(engine.choose(folder, lambda: False), engine.Float)
    assert "no 8-bit dot products" in caplog.text
    assert "with PyTorch in" in caplog.text


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10_000])


def cut_and_recorded(path: Path) -> None:
    """Its sum is right, so that it is OpenVINO that finds the damage."""
    cut(path)
    integrity.record(path)


def replace_checkpoint(path: Path) -> None:
    tiny_pair(path.parent, seed=1)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (remove, "missing"),
        (empty, "damaged"),
        (cut, "damaged"),
        (cut_and_recorded, "damaged"),
        (replace_checkpoint, "outdated"),
    ],
)
def test_a_bad_8_bit_model_is_named_and_pytorch_serves(
    folder: Path,
    harm: Callable[[Path], None],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    harm(folder / "unsmoothed.onnx")
    chosen = engine.choose(folder, able)
    assert isinstance(chosen, engine.Float)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    text = warning.getMessage()
    assert "unsmoothed.onnx" in text
    assert says in text
    assert "python -m model.quantize" in text
    assert chosen(PIXELS)[0].shape == (2, len(PIXELS), 37)


def other_trunk(path: Path) -> None:
    """The trunk of another pair, as a half-finished copy leaves it."""
    folder = path.parent / "other"
    folder.mkdir()
    tiny_pair(folder, seed=1, shared=True)
    quantize.release(folder, pets.official_split(path.parents[1], "trainval")[:4], [])
    (folder / path.name).replace(path)
    integrity.record(path)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (remove, "missing"),
        (empty, "damaged"),
        (cut, "damaged"),
        (cut_and_recorded, "damaged"),
        (other_trunk, "outdated"),
    ],
)
@pytest.mark.parametrize("folder", ["shared trunk"], indirect=True)
def test_a_bad_trunk_is_named_and_pytorch_serves(
    folder: Path, harm: Callable[[Path], None], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    harm(folder / "trunk.onnx")
    assert isinstance(engine.choose(folder, able), engine.Float)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "trunk.onnx" in warning.getMessage()
    assert says in warning.getMessage()
    assert "python -m model.quantize" in warning.getMessage()


def test_a_missing_checkpoint_is_what_the_message_names(folder: Path) -> None:
    (folder / "smoothed.safetensors").unlink()
    with pytest.raises(ValueError, match=r"smoothed\.safetensors is missing"):
        engine.choose(folder, able)


def test_pytorch_with_folded_batch_norm_is_the_network(folder: Path) -> None:
    """Exact in fp32; in bf16 as exact as its eight bits of precision."""
    exact = engine.Float(folder, bf16=False)(PIXELS)
    rounded = engine.Float(folder, bf16=True)(PIXELS)
    for i, name in enumerate(PAIR):
        classifier, metadata = network.load(folder / f"{name}.safetensors")
        assert engine.Float(folder).metadata[i] == metadata
        expected = classifier(pets.normalised(PIXELS))
        for part in (0, 1):
            reference = expected[part].detach().numpy()
            np.testing.assert_allclose(exact[part][i], reference, rtol=1e-3, atol=1e-4)
            apart = np.abs(rounded[part][i] - reference).max()
            assert apart < 0.03 * np.abs(reference).max()


def test_many_threads_get_what_one_gets(folder: Path) -> None:
    served = engine.EightBit(folder)
    alone = [served(PIXELS[i : i + 1]) for i in range(len(PIXELS))]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda n: served(PIXELS[n % 6 : n % 6 + 1]), range(96)))
    for n, (logits, features) in enumerate(together):
        np.testing.assert_array_equal(logits, alone[n % 6][0])
        np.testing.assert_array_equal(features, alone[n % 6][1])


def test_a_photo_alone_has_all_cores_and_photos_in_a_crowd_one_each(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "cores", lambda: 2)
    served = engine.EightBit(folder)
    began, go_on = threading.Event(), threading.Event()
    took: list[str] = []

    class Watched:
        def __init__(self, name: str, networks: engine.Networks) -> None:
            self.name, self.networks = name, networks

        def run(self, pixels: Any, each: Any) -> engine.Outputs:
            took.append(self.name)
            if len(took) == 1:
                began.set()
                assert go_on.wait(30)
            return self.networks.run(pixels, each)

    for name in ("spread", "narrow"):
        monkeypatch.setattr(served, name, Watched(name, getattr(served, name)))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served, PIXELS[:1])
        assert began.wait(30)
        second = served(PIXELS[:1])  # while the first is in work
        go_on.set()
        np.testing.assert_array_equal(first.result()[0], second[0])
    served(PIXELS[:1])
    with monkeypatch.context() as patched:
        patched.setattr(engine, "infer", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            served(PIXELS[:1])  # a photo that fails leaves no place taken
    served(PIXELS[:1])
    assert took == ["spread", "narrow", "spread", "spread", "spread"]


SAYS = """
import json
import numpy as np
from model import engine
from model.checkpoint import CHECKPOINTS
pixels = np.random.default_rng(0).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
served = engine.EightBit(CHECKPOINTS)
logits, _ = served(pixels)
nodes = served.spread.trunk.get_runtime_model().get_ops()
kinds = {node.get_rt_info()["primitiveType"].astype(str) for node in nodes}
print(json.dumps([logits.tolist(), sorted(kinds)]))
"""


@pytest.mark.skipif(not engine.has_dot_products(), reason="needs a CPU with 8-bit dot products")
def test_older_cpus_say_the_same() -> None:
    """The evaluation holds wherever the 8-bit models serve: with matrix units, or without."""
    answers = []
    for kind in ("DEFAULT", "AVX2_VNNI"):  # oneDNN's, whose kernels OpenVINO uses
        environment = os.environ | {"ONEDNN_MAX_CPU_ISA": kind}
        command = [sys.executable, "-c", SAYS]
        said = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        )
        answers.append(json.loads(said.stdout))
    (newest, kernels), (oldest, older) = answers
    if not any("avx512" in kernel for kernel in kernels):
        pytest.skip("this CPU is as old as the one that it is compared with")
    assert not any("avx512" in kernel and "I8" in kernel for kernel in older)
    np.testing.assert_allclose(newest, oldest, atol=2e-3)


def test_openvino_tells_nobody() -> None:
    engine.core()
    assert sys.modules["openvino_telemetry"] is None


class Unfit:
    """OpenVINO on a machine that it was not made for."""

    read_model = staticmethod(engine.core().read_model)

    def compile_model(self, *_: Any) -> Any:
        raise RuntimeError("no such property")


def test_where_openvino_does_not_run_pytorch_serves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(engine, "core", Unfit)
        assert isinstance(engine.choose(folder, able), engine.Float)
    assert "no such property" in caplog.text
    engine.core.cache_clear()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "openvino", None)
        assert isinstance(engine.choose(folder, able), engine.Float)
    assert "pip install -r requirements.txt" in caplog.text
    assert isinstance(engine.choose(folder, able), engine.EightBit)


def test_a_crowd_is_answered_where_the_second_compilation_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "cores", lambda: 2)
    served = engine.EightBit(folder)
    monkeypatch.setattr(engine, "core", Unfit)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: served(PIXELS[:1])[0], range(8)))
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
    assert served.narrow is served.spread
    assert caplog.text.count("no such property") == 1  # tried once, not with every photo


@pytest.mark.parametrize(
    "pixels", [PIXELS[0], PIXELS[:0], PIXELS[:, :16], PIXELS[..., :2], PIXELS / 255]
)
def test_other_pixels_than_the_networks_take_are_refused(folder: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"take \(B, 32, 32, 3\) in uint8"):
        engine.EightBit(folder)(pixels)


def test_a_pair_of_two_image_sizes_is_refused(folder: Path) -> None:
    metadata = network.Metadata("resnet18", 0.1, "none", "trainval", "0", 64, 0)
    state = network.build("resnet18").state_dict()
    network.save(folder / "smoothed.safetensors", state, metadata)
    with pytest.raises(ValueError, match="same --image-size"):
        Pair(folder)
