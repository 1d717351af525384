"""What runs the pair: the 8-bit ONNX Runtime models where the CPU is made for them, else PyTorch.

8-bit networks multiply unsigned activations with signed weights. A CPU with 8-bit dot products
(x86: AVX512-VNNI, AVX-VNNI or AMX; ARM: dotprod) sums four such products in 32 bits at once. Older
x86 has VPMADDUBSW alone, which sums two in 16 bits, so that they saturate: other answers than those
that were measured, and slower ones
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do I
need to try U8U8?"). There PyTorch serves the checkpoints themselves.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Callable, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from model import integrity
from model.checkpoint import PAIR, Metadata
from model.pets import BREEDS, normalised

DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}  # as Linux calls them
# Under these an 8-bit model says what it was derived from, and which trunk it goes on from.
SOURCE, TRUNK = "checkpoint_sha256", "trunk_sha256"
TRUNK_FILE = "trunk.onnx"
REMEDY = "Make it with `python -m model.quantize`."

log = logging.getLogger(__name__)

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]  # logits (2, B, 37), features (2, B, D)


class Engine(Protocol):
    """Both classifiers, ready to run; safe to call from several threads at once."""

    name: str
    at_once: int  # photos that are worth having in work at a time
    metadata: tuple[Metadata, ...]  # unsmoothed, smoothed

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Logits ``(2, B, 37)`` and penultimate activations ``(2, B, D)``.

        Args:
            pixels: ``(B, size, size, 3)``, as ``pets.pixels`` cuts them.
        """


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_dot_products() -> bool:
    """Whether the CPU has 8-bit dot products; where it cannot be asked, it is taken to have none.

    Linux lists a CPU's features; every Mac with an ARM processor has dotprod.
    """
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not DOT_PRODUCTS.isdisjoint(words)


CORES_OF_EACH = max(1, cores() // len(PAIR))  # of the networks, side by side


class Networks(NamedTuple):
    """ONNX Runtime sessions of the pair."""

    trunk: Any | None  # of the layers in common; None where each network is whole
    ends: tuple[Any, ...]  # what goes on from there: unsmoothed, smoothed

    def run(self, pixels: NDArray[np.uint8], each: Callable[..., Iterable[Any]]) -> Outputs:
        """As ``Engine``; ``each`` is ``map``, or does the same side by side."""
        x = pixels if self.trunk is None else self.trunk.run(None, {"pixels": pixels})[0]

        def end(session: Any) -> Any:
            return session.run(["logits", "features"], {session.get_inputs()[0].name: x})

        logits, features = zip(*each(end, self.ends), strict=True)
        return np.stack(logits), np.stack(features)


class EightBit:
    """The 8-bit models in ONNX Runtime.

    A photo that is alone has all cores: a trunk that the networks share runs once on all of them,
    then the networks go on side by side. Photos that come when there is one for every core have one
    core each, which answers more of them, since no core waits for another.
    """

    name = "8-bit ONNX Runtime"

    def __init__(self, folder: Path) -> None:
        """Load the 8-bit models of ``folder``.

        Raises:
            ValueError: one is missing, damaged, or derived from another checkpoint than the one
                beside it; the message names the file and the remedy.
        """
        opened = [open_model(folder / f"{name}.onnx") for name in PAIR]
        self.metadata = tuple(metadata for _, metadata, _ in opened)
        trunks = {trunk for *_, trunk in opened}
        trunk = None if trunks == {None} else open_trunk(folder / TRUNK_FILE, trunks)
        self.spread = Networks(trunk, tuple(session for session, *_ in opened))
        self.narrow = Networks(
            trunk and session_of(folder / TRUNK_FILE, 1),
            tuple(session_of(folder / f"{name}.onnx", 1) for name in PAIR)
            if CORES_OF_EACH > 1
            else self.spread.ends,
        )
        self.pool = ThreadPoolExecutor(max(2, cores()), thread_name_prefix="8-bit")
        self.at_once = cores() + 1  # the last is decoded while those before it are classified
        self.in_work = 0
        self.counting = threading.Lock()

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """See ``Engine``."""
        with self.counting:
            self.in_work += 1
            crowded = self.in_work >= cores()
        try:
            if crowded:
                return self.narrow.run(pixels, map)
            return self.spread.run(pixels, self.pool.map)
        finally:
            with self.counting:
                self.in_work -= 1


def session_of(path: Path, threads: int) -> Any:
    """An ONNX Runtime session on ``threads`` cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors, which come as exceptions besides
    # A thread that waits for work must leave its core to those that have some.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def open_file(path: Path, threads: int) -> Any:
    """The ONNX Runtime session of one of the files that ``model.quantize`` wrote.

    Raises:
        ValueError: as ``EightBit``.
    """
    if not path.is_file():
        raise ValueError(f"The 8-bit model {path} is missing. {REMEDY}")
    integrity.check(path, REMEDY)
    try:
        return session_of(path, threads)
    except Exception as problem:  # ONNX Runtime has a class for each error, with no common one
        raise ValueError(f"The 8-bit model {path} is damaged: {problem}. {REMEDY}") from problem


def open_model(path: Path) -> tuple[Any, Metadata, str | None]:
    """The session of an 8-bit model, what its checkpoint says of itself, and the sum of its trunk.

    The last is None where the model is a whole network.

    Raises:
        ValueError: as ``EightBit``.
    """
    session = open_file(path, CORES_OF_EACH)
    checkpoint = path.with_suffix(".safetensors")
    strings = session.get_modelmeta().custom_metadata_map
    trunk = strings.get(TRUNK)
    try:
        metadata = Metadata.from_strings(strings)
        side = metadata.image_size
        whole = session.get_inputs()[0].shape[1:] == [side, side, 3]
        fits = whole == (trunk is None) and metadata.classes == BREEDS
    except (KeyError, ValueError) as problem:
        raise ValueError(f"The 8-bit model {path} is damaged: {problem}. {REMEDY}") from problem
    if not fits:
        raise ValueError(f"{path} is not an 8-bit model of our 37 breeds. {REMEDY}")
    try:
        fits = strings.get(SOURCE) == integrity.sum_of(checkpoint)
    except OSError as problem:
        raise ValueError(f"{checkpoint} cannot be read: {problem.strerror}.") from problem
    if not fits:
        raise ValueError(
            f"The 8-bit model {path} is outdated: it was derived from another checkpoint than "
            f"{checkpoint.name} beside it. {REMEDY}"
        )
    return session, metadata, trunk


def open_trunk(path: Path, sums: Set[str | None]) -> Any:
    """The session of the trunk, on all cores.

    Args:
        path: its file.
        sums: what the models that go on from it say of its sum.

    Raises:
        ValueError: as ``EightBit``.
    """
    session = open_file(path, cores())
    if sums != {integrity.sum_of(path)}:
        raise ValueError(
            f"The 8-bit model {path} is outdated: the models beside it go on from another trunk. "
            f"{REMEDY}"
        )
    return session


class Float:
    """The checkpoints in PyTorch: batch norm folded, in bf16 where the CPU multiplies it, or fp32.

    The networks take turns, each on all cores; a trunk that they share runs once.
    """

    at_once = 2  # one is decoded while the other is classified

    def __init__(self, folder: Path, bf16: bool | None = None) -> None:
        """Load the checkpoints of ``folder``; ``bf16`` overrules what the CPU would have.

        Raises:
            ValueError: one is missing, damaged or foreign; see ``network.load``.
        """
        import torch

        from model import network

        self.bf16 = multiplies_bf16() if bf16 is None else bf16
        self.name = f"PyTorch in {'bf16' if self.bf16 else 'fp32'}"
        loaded = [network.load(folder / f"{name}.safetensors") for name in PAIR]
        self.metadata = tuple(metadata for _, metadata in loaded)
        together = network.Together([classifier for classifier, _ in loaded])
        net = network.folded(together.eval()).to(memory_format=torch.channels_last)
        self.network = net.bfloat16() if self.bf16 else net

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """See ``Engine``."""
        import torch

        with torch.inference_mode():
            images = normalised(pixels)
            logits, features = self.network(images.bfloat16() if self.bf16 else images)
        return logits.float().numpy(), features.float().numpy()


def multiplies_bf16() -> bool:
    """Whether the CPU has instructions for bf16 products (AVX512-BF16 or AMX)."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def choose(folder: Path, capable: Callable[[], bool] = has_dot_products) -> Engine:
    """The engine that serves the pair of ``folder`` on this CPU, and a line in the log about it.

    Raises:
        ValueError: a checkpoint is missing, damaged or foreign.
    """
    engine: Engine | None = None
    if not capable():
        log.info("This CPU has no 8-bit dot products.")
    elif all((folder / f"{name}.safetensors").is_file() for name in PAIR):  # else `Float` explains
        try:
            engine = EightBit(folder)
        except ValueError as problem:
            log.warning("%s Until then PyTorch serves, which is slower.", problem)
    engine = engine or Float(folder)
    log.info("Classifying with %s.", engine.name)
    return engine
