"""What runs the pair: the 8-bit models in OpenVINO where the CPU is made for them, else PyTorch.

8-bit networks multiply unsigned activations with signed weights. An x86 CPU with 8-bit dot
products (AVX512-VNNI, AVX-VNNI or AMX) sums four such products in 32 bits at once. Older ones have
VPMADDUBSW alone, which sums two in 16 bits, so that they saturate: other answers than those that
were measured, and slower ones
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do I
need to try U8U8?"). On ARM, OpenVINO computes most of an 8-bit model in floating point
(https://docs.openvino.ai, "CPU Device"). There PyTorch serves the checkpoints themselves.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from model import integrity
from model.checkpoint import PAIR, Metadata
from model.pets import BREEDS, normalised

DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}  # as Linux calls them
# Under these an 8-bit model says what it was derived from, and which trunk it goes on from.
SOURCE, TRUNK = "checkpoint_sha256", "trunk_sha256"
TRUNK_FILE = "trunk.onnx"
REMEDY = "Make it with `python -m model.quantize`."
INSTALL = "Install it with `pip install -r requirements.txt`."

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
    """Whether the CPU has 8-bit dot products; where Linux does not list them, it has none."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not DOT_PRODUCTS.isdisjoint(words)


class Networks(NamedTuple):
    """The pair, compiled for the CPU."""

    trunk: Any | None  # of the layers in common; None where each network is whole
    ends: tuple[Any, ...]  # what goes on from there: unsmoothed, smoothed

    def run(self, pixels: NDArray[np.uint8], each: Callable[..., Iterable[Any]]) -> Outputs:
        """As ``Engine``; ``each`` is ``map``, or does the same side by side."""
        x = pixels if self.trunk is None else infer(self.trunk, pixels)[0]
        outputs = list(each(lambda end: infer(end, x), self.ends))
        logits, features = (np.stack([o[part] for o in outputs]) for part in ("logits", "features"))
        return logits, features


class EightBit:
    """The 8-bit models in OpenVINO.

    A photo that is alone has all cores: a trunk that the networks share runs once on all of them,
    then the networks go on side by side. Photos that come when there is one for every core have one
    core each, which answers more of them, since no core waits for another.
    """

    name = "8-bit OpenVINO"

    def __init__(self, folder: Path) -> None:
        """Load the 8-bit models of ``folder``.

        Raises:
            ValueError: one is missing, damaged, or derived from another checkpoint than the one
                beside it; the message names the file and the remedy.
        """
        opened = [open_model(folder / f"{name}.onnx") for name in PAIR]
        self.metadata = tuple(metadata for _, metadata, _ in opened)
        self.shape = (self.metadata[0].image_size,) * 2 + (3,)
        trunks = {trunk for *_, trunk in opened}
        self.trunk = None if trunks == {None} else open_trunk(folder / TRUNK_FILE, trunks)
        self.ends = [end for end, *_ in opened]
        self.pool = ThreadPoolExecutor(max(2, cores()), thread_name_prefix="8-bit")
        self.at_once = cores() + 1  # the last is decoded while those before it are classified
        self.in_work = 0
        self.counting, self.compiling = threading.Lock(), threading.Lock()
        self.spread = self.networks(max(1, cores() // len(PAIR)), 1)

    def networks(self, threads: int, streams: int) -> Networks:
        """Compile the pair; ``threads`` are those of an end, see ``compiled``."""
        return Networks(
            self.trunk and compiled(self.trunk, cores(), streams),
            tuple(compiled(end, threads, streams) for end in self.ends),
        )

    @cached_property
    def narrow(self) -> Networks:
        """One core for each photo; compiled when it is first asked for, so as to start sooner."""
        if cores() == 1:
            return self.spread
        try:
            return self.networks(cores(), cores())
        except ValueError as problem:  # for want of memory, since the same was compiled before
            log.warning("%s Photos in a crowd take turns.", problem)
            return self.spread

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """See ``Engine``.

        Raises:
            ValueError: ``pixels`` has another shape or type.
        """
        # OpenVINO itself may answer nothing, or crash.
        if not len(pixels) or pixels.shape[1:] != self.shape or pixels.dtype != np.uint8:
            raise ValueError(
                f"The networks take (B, {', '.join(map(str, self.shape))}) in uint8, not "
                f"{pixels.shape} in {pixels.dtype}."
            )
        with self.counting:
            self.in_work += 1
            crowded = self.in_work >= cores()
        try:
            if crowded:
                with self.compiling:
                    narrow = self.narrow
                return narrow.run(pixels, map)
            return self.spread.run(pixels, self.pool.map)
        finally:
            with self.counting:
                self.in_work -= 1


@cache
def core() -> Any:
    """OpenVINO, without what comes with it and would tell Google Analytics of every start.

    Raises:
        ValueError: it is not installed, or does not fit this system.
    """
    # None makes its import fail, for which OpenVINO has a stand-in that says nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino

        return openvino.Core()
    except (ImportError, RuntimeError) as problem:
        raise ValueError(f"OpenVINO cannot be loaded: {problem}. {INSTALL}") from problem


def compiled(model: Any, threads: int, streams: int) -> Any:
    """A network that ``core().read_model`` has read, ready for the CPU.

    Args:
        model: as read; the path of a file will do.
        threads: cores that it may use.
        streams: photos that share them, each on as many as the others; the next ones wait.

    Raises:
        ValueError: OpenVINO refuses.
    """
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        # What a model leaves in fp32 stays so. In bf16, where the CPU has it, it would be faster,
        # but a photo's probabilities up to 0.03 apart from one kind of CPU to the next.
        "INFERENCE_PRECISION_HINT": "f32",
        # Which core a thread is on is up to the system, which knows who else is at work.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        return core().compile_model(model, "CPU", settings)
    except (RuntimeError, MemoryError) as problem:
        raise ValueError(f"OpenVINO cannot run an 8-bit model here: {problem}.") from problem


def infer(network: Any, x: NDArray[Any]) -> Any:
    """The outputs, by name or place, of what is ``compiled``; waits for a stream that is free."""
    return network.create_infer_request().infer([x])


def open_file(path: Path) -> Any:
    """One of the models that ``model.quantize`` wrote, as ``compiled`` takes it.

    Raises:
        ValueError: as ``EightBit``.
    """
    if not path.is_file():
        raise ValueError(f"The 8-bit model {path} is missing. {REMEDY}")
    integrity.check(path, REMEDY)
    runtime = core()
    try:
        return runtime.read_model(path)
    except Exception as problem:  # OpenVINO hands on whatever its parser raises
        raise ValueError(f"The 8-bit model {path} is damaged: {problem}. {REMEDY}") from problem


def open_model(path: Path) -> tuple[Any, Metadata, str | None]:
    """An 8-bit model as read, what its checkpoint says of itself, and the sum of its trunk.

    The last is None where the model is a whole network.

    Raises:
        ValueError: as ``EightBit``.
    """
    model = open_file(path)
    checkpoint = path.with_suffix(".safetensors")
    strings = origin(model)
    trunk = strings.get(TRUNK)
    try:
        metadata = Metadata.from_strings(strings)
        side = metadata.image_size
        whole = [str(n) for n in model.input().partial_shape][1:] == [str(side), str(side), "3"]
        fits = whole == (trunk is None) and metadata.classes == BREEDS
    except (KeyError, ValueError, RuntimeError) as problem:
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
    return model, metadata, trunk


def origin(model: Any) -> dict[str, str]:
    """What an ONNX model that was read says of itself."""
    return dict(model.get_rt_info("framework").value) if model.has_rt_info("framework") else {}


def open_trunk(path: Path, sums: Set[str | None]) -> Any:
    """The trunk as read.

    Args:
        path: its file.
        sums: what the models that go on from it say of its sum.

    Raises:
        ValueError: as ``EightBit``.
    """
    model = open_file(path)
    if sums != {integrity.sum_of(path)}:
        raise ValueError(
            f"The 8-bit model {path} is outdated: the models beside it go on from another trunk. "
            f"{REMEDY}"
        )
    return model


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
            log.warning("%s PyTorch serves instead, which is slower.", problem)
    engine = engine or Float(folder)
    log.info("Classifying with %s.", engine.name)
    return engine
