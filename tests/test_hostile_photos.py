"""Protects serving from what strangers send: every file ends in a photo or in one sentence.

In at most ten seconds and 500 MB; and whatever came before, the next photo opens. The long run is
`python tests/benchmarks/hostile_photos.py`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from model import pets, sandbox
from model.calibration import softmax
from model.classifier import MAX_BYTES, Pair, open_photo
from tests import hostile
from tests.hostile import encode, picture

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def outcome(data: bytes) -> Image.Image | str:
    """The photo, or the sentence; anything else, or more than ten seconds, fails."""
    start = time.monotonic()
    try:
        result: Image.Image | str = open_photo(data, 64)
    except ValueError as refusal:
        result = str(refusal)
        assert result.endswith(".")
        assert result.count(".") == 1
        assert len(result) < 200
        assert (
            "upload it again" in result
            or "try again" in result
            or " as JPEG" in result
            or ("choose a photo" in result)
        )
    assert time.monotonic() - start < 11
    if isinstance(result, Image.Image):
        assert result.mode == "RGB"
        assert torch.isfinite(pets.evaluation_transform(result, 64)).all()
    return result


@pytest.fixture(autouse=True)
def the_next_photo_opens():
    yield
    assert isinstance(outcome(hostile.valid_files()["JPEG"]), Image.Image)
    assert len(sandbox.idle.queue) <= 1  # one caller, one process


@pytest.mark.parametrize("name", hostile.valid_files())
def test_every_kind_opens(name: str) -> None:
    opened = outcome(hostile.valid_files()[name])
    assert isinstance(opened, Image.Image), opened


@pytest.mark.parametrize("name", hostile.foreign_files())
def test_what_is_no_photo_is_refused(name: str) -> None:
    assert isinstance(outcome(hostile.foreign_files()[name]), str)


@pytest.mark.parametrize("name", hostile.valid_files())
def test_truncated_at_every_tenth(name: str) -> None:
    data = hostile.valid_files()[name]
    for tenth in range(10):
        outcome(data[: len(data) * tenth // 10])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9, 65535])
def test_every_orientation(kind: str, orientation: int) -> None:
    image = picture(60, 20)
    exif = hostile.exif(**{"0x0112": orientation})
    data = encode(image, kind, exif=exif.tobytes() if kind == "HEIF" else exif)
    opened = outcome(data)
    assert isinstance(opened, Image.Image)
    assert opened.size == ((20, 60) if orientation in (5, 6, 7, 8) else (60, 20))


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 60_000), (12_000, 9_000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_shapes_are_classified(pair: Pair, kind: str, size: tuple[int, int]) -> None:
    opened = outcome(encode(Image.new("RGB", size, "green"), kind))
    assert isinstance(opened, Image.Image), opened
    np.testing.assert_allclose(softmax(pair(opened).logits).sum(axis=-1), 1, atol=1e-9)
    assert abs(opened.getpixel((0, 0))[1] - 128) < 4


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


@linux
@pytest.mark.parametrize("name", hostile.bombs())
def test_bombs(name: str) -> None:
    outcome(hostile.valid_files()["JPEG"])
    before = hostile.reset_peak()
    outcome(hostile.bombs()[name])
    if sandbox.idle.qsize():  # else the limit has ended it
        assert hostile.decoder_memory("VmHWM") - before < 500


COSTLY = {
    "PNG RGB 12,000 × 9,000": lambda: encode(Image.new("RGB", (12_000, 9_000)), "PNG"),
    "PNG RGBA 110 MP": lambda: encode(Image.new("RGBA", (10_400, 10_400)), "PNG"),
    "PNG 16 bits 100 MP": lambda: encode(Image.new("I;16", (10_000, 10_000)), "PNG"),
    "JPEG progressive 108 MP": lambda: encode(
        Image.new("RGB", (12_000, 9_000)), "JPEG", progressive=True
    ),
    "JPEG progressive 4:4:4 70 MP": lambda: encode(
        Image.new("RGB", (10_000, 7_000)), "JPEG", progressive=True, subsampling=0
    ),
    "GIF 100 MP": lambda: encode(Image.new("L", (10_000, 10_000)), "GIF"),
    "WebP 25 MP": lambda: encode(picture(5_000, 5_000, "RGBA"), "WEBP", method=0),
    "AVIF 4:4:4 17 MP": lambda: encode(
        picture(4_100, 4_100, "RGBA"), "AVIF", speed=10, subsampling="4:4:4"
    ),
    "HEIC 30 MP": lambda: encode(Image.new("RGB", (6_000, 5_000), "red"), "HEIF"),
    "JPEG 2000 9 MP": lambda: encode(picture(3_000, 3_000), "JPEG2000"),
    "TIFF LZW 16 MP": lambda: hostile.tiff_in_one_strip("tiff_lzw", 3_000),
    "TIFF JPEG 30 MP": lambda: hostile.tiff_in_one_strip("jpeg", 5_500),
    "PNG 300 × 100,000": lambda: encode(Image.new("RGB", (300, 100_000)), "PNG"),
}


@linux
@pytest.mark.parametrize("name", COSTLY)
def test_the_costliest_that_open_stay_below_500_mb(name: str) -> None:
    data = COSTLY[name]()
    outcome(hostile.valid_files()["JPEG"])
    before = hostile.reset_peak()
    opened = outcome(data)
    assert isinstance(opened, Image.Image), opened
    peak = hostile.decoder_memory("VmHWM") - before
    assert peak < 500
    outcome(hostile.valid_files()["JPEG"])
    assert hostile.decoder_memory("VmRSS") - before < 60  # and it is given back


def test_too_large_a_photo_is_told_what_would_do() -> None:
    refusal = outcome(hostile.bombs()["JPEG 2000 of 36 MP"])
    assert isinstance(refusal, str)
    assert "6000 × 6000" in refusal
    assert "million pixels" in refusal


def test_too_large_a_file_is_told_the_limit() -> None:
    assert "at most 50 MB" in str(outcome(bytes(MAX_BYTES + 1)))


def test_a_photo_that_takes_too_long_is_given_up() -> None:
    refusal = outcome(hostile.many_scans(8_000, 20_000_000))
    assert "too long" in str(refusal)


def test_a_decoder_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by a signal, it answers as little as in an endless loop."""
    outcome(hostile.valid_files()["JPEG"])
    process = sandbox.idle.queue[-1].process
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 1.0)
    assert "too long" in str(outcome(hostile.valid_files()["PNG"]))
    assert process.poll() is not None


def test_a_decoder_that_crashes_costs_its_photo_alone() -> None:
    """Dead between photos it is replaced; dead on the way, its photo gets a sentence."""
    outcome(hostile.valid_files()["JPEG"])
    os.kill(sandbox.idle.queue[-1].process.pid, signal.SIGSEGV)
    sandbox.idle.queue[-1].process.wait()
    assert isinstance(outcome(hostile.valid_files()["JPEG"]), Image.Image)
    process = sandbox.idle.queue[-1].process
    os.kill(process.pid, signal.SIGSTOP)
    threading.Timer(0.5, os.kill, (process.pid, signal.SIGKILL)).start()
    assert "damaged" in str(outcome(hostile.valid_files()["JPEG"]))


def test_memory_is_limited_whatever_a_header_says() -> None:
    """The limit of the process itself, without the estimate before it."""
    decoder = sandbox.Decoder()
    try:
        width, _, _ = decoder.ask(hostile.valid_files()["PNG"], 64)
        assert width
        limits = open(f"/proc/{decoder.process.pid}/limits").read()  # noqa: PTH123, SIM115
        line = next(line for line in limits.splitlines() if line.startswith("Max address space"))
        assert int(line.split()[3]) < 1_500_000_000
    finally:
        decoder.close()


def test_mutations() -> None:
    """300 of the 2,000 that the benchmark sends."""
    refused = sum(isinstance(outcome(data), str) for _, _, data in hostile.mutations(300))
    assert 50 < refused < 250  # neither harmless nor hopeless
