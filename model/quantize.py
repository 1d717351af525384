"""Derive the 8-bit models that serve from the released checkpoints: `python -m model.quantize`.

Writes `unsmoothed.onnx` and `smoothed.onnx` beside the checkpoints, and runs the whole test split
through both and through the fp32 networks and writes how far apart they are, `serving.json`. Where
both networks begin with the same layers up to the last stage, these go into a third file,
`trunk.onnx`, so that they run once.

Post-training static quantisation (Jacob et al. 2018, arXiv:1712.05877), done by ONNX Runtime:
8-bit weights with a scale per output channel, 8-bit activations with a scale per tensor, from the
ranges that they take on trainval photos, averaged over the photos: the range that holds them all
is set by the one photo with the largest activation, and too coarse for the others.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import calibration, engine, integrity, pets
from model.checkpoint import CHECKPOINTS, PAIR, Metadata

CALIBRATION_PHOTOS = 32
# Where 8 bits begin, in torchvision's names; the later place where the first misses a target.
STARTS = ("layer1.1.", "layer2.")
BATCH = 8

Pixels = NDArray[np.uint8]  # (B, size, size, 3)
Floats = NDArray[np.float32]


class Target(NamedTuple):
    """What an 8-bit model must keep to; both bounds count as kept."""

    least: float
    most: float
    meaning: str


TARGETS = {
    "same_top1": Target(0.99, 1, "share of photos with the same most probable breed"),
    "error_difference": Target(-0.002, 0.002, "error minus that of fp32"),
    "ece_difference": Target(-0.005, 0.005, "expected calibration error minus that of fp32"),
    "median_difference": Target(0, 0.01, "a photo's largest difference in probability, median"),
    "p95_difference": Target(0, 0.05, "the same, 95th percentile"),
}


# From a checkpoint to a model.


def export(checkpoint: Path, path: Path) -> Metadata:
    """Write a checkpoint as an fp32 ONNX model, batch norm folded, normalisation inside.

    Its input ``pixels`` is uint8 ``(B, size, size, 3)``, its outputs are ``logits`` ``(B, 37)`` and
    ``features`` ``(B, D)``, the penultimate activations.

    Raises:
        ValueError: the checkpoint is missing, damaged or foreign; see ``network.load``.
    """
    import torch
    from torch import Tensor, nn

    from model import network

    mean, std = (torch.tensor(v)[:, None, None] * 255 for v in (pets.MEAN, pets.STD))

    class Served(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            return self.net((pixels.permute(0, 3, 1, 2) - mean) / std)

    classifier, metadata = network.load(checkpoint)
    side = metadata.image_size
    torch.onnx.export(
        Served(network.folded(classifier)).eval(),
        (torch.zeros(2, side, side, 3, dtype=torch.uint8),),
        path,
        input_names=["pixels"],
        output_names=["logits", "features"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
    return metadata


def spread_over_breeds(photos: list[pets.Photo], count: int) -> list[pets.Photo]:
    """``count`` photos, the same at every call: one of each breed, then the next of each."""
    turns: dict[int, int] = {}
    order = []
    for place, photo in enumerate(photos):
        turns[photo.label] = turns.get(photo.label, -1) + 1
        order.append((turns[photo.label], photo.label, place))
    return [photos[place] for *_, place in sorted(order)[:count]]


def quantise(source: Path, path: Path, batches: Iterator[Pixels], start: str = STARTS[0]) -> None:
    """Write the 8-bit model of the fp32 model ``source``.

    All layers before ``start`` stay in fp32, since what they round off goes through all others, and
    the head, so that logits follow from the activations.

    Args:
        source: as ``export`` writes it.
        path: where to write.
        batches: calibration photos, ``(1, size, size, 3)`` each.
        start: the layer where 8 bits begin, see ``STARTS``.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Pixels] | None:
            batch = next(batches, None)
            return None if batch is None else {"pixels": batch}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared)
        nodes = onnx.load(prepared).graph.node  # sorted
        first = takewhile(lambda node: not any(start in name for name in node.input), nodes)
        quantize_static(
            prepared,
            path,
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Relu", "Add"],  # neither pooling nor the head
            nodes_to_exclude=[node.name for node in first],
            extra_options={"CalibMovingAverage": True},
        )


def derive(
    checkpoint: Path, path: Path, photos: list[pets.Photo], start: str = STARTS[0]
) -> Metadata:
    """Write the 8-bit model of a checkpoint, calibrated on ``photos``, with its origin inside.

    ``start`` is where 8 bits begin; see ``quantise``.

    Raises:
        ValueError: the checkpoint is missing, damaged or foreign; see ``network.load``.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "exact.onnx"
        metadata = export(checkpoint, exact)
        quantise(exact, path, pets.pixel_batches(photos, metadata.image_size, 1), start)
    model = onnx.load(path)
    origin = metadata.to_strings() | {engine.SOURCE: integrity.sum_of(checkpoint)}
    onnx.helper.set_model_props(model, origin)
    for node in model.graph.node:  # the exporter's notes, with the paths of the machine it ran on
        del node.metadata_props[:]
    onnx.save(model, path)
    return metadata


def split(whole: Path, trunk: Path, tail: Path) -> None:
    """Cut an 8-bit model before the last stage, at the 8-bit activations that enter it."""
    import onnx

    nodes = onnx.load(whole).graph.node
    source = {output: node for node in nodes for output in node.output}
    entry = next(
        node
        for node in nodes
        if node.op_type == "Conv" and any("layer4." in name for name in node.input)
    )
    activations = source[entry.input[0]].input[0]  # before they are made fp32 again
    onnx.utils.extract_model(whole, trunk, ["pixels"], [activations])
    onnx.utils.extract_model(whole, tail, [activations], ["logits", "features"])


def share(folder: Path) -> bool:
    """Replace the models of ``folder`` by their common trunk and what goes on from it.

    Returns:
        Whether they have one; otherwise they stay as they are.
    """
    import onnx

    # Beside them: a file cannot be moved here from another file system.
    with tempfile.TemporaryDirectory(dir=folder) as place:
        trunks = [Path(place) / f"{name}.trunk.onnx" for name in PAIR]
        tails = [Path(place) / f"{name}.onnx" for name in PAIR]
        for name, trunk, tail in zip(PAIR, trunks, tails, strict=True):
            split(folder / f"{name}.onnx", trunk, tail)
        if len({trunk.read_bytes() for trunk in trunks}) > 1:
            return False
        trunks[0].replace(folder / engine.TRUNK_FILE)
        for tail in tails:
            model, whole = onnx.load(tail), onnx.load(folder / tail.name)
            origin = {each.key: each.value for each in whole.metadata_props}
            origin[engine.TRUNK] = integrity.sum_of(folder / engine.TRUNK_FILE)
            onnx.helper.set_model_props(model, origin)
            onnx.save(model, folder / tail.name)
    return True


# How far the model is from the checkpoint.


def onnx_runtime(path: Path) -> Callable[[Pixels], Sequence[Floats]]:
    """An ONNX model in ONNX Runtime, on all cores: from pixels to logits and features.

    It computes as the model says, in fp32 what is in fp32.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = engine.cores()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["logits", "features"], {"pixels": pixels})


def as_served(path: Path) -> Callable[[Pixels], Sequence[Floats]]:
    """The same in OpenVINO, as ``engine.EightBit`` computes it."""
    network = engine.compiled(path, engine.cores(), 1)

    def run(pixels: Pixels) -> Sequence[Floats]:
        outputs = engine.infer(network, pixels)
        return outputs["logits"], outputs["features"]

    return run


def logits_of(
    run: Callable[[Pixels], Sequence[Floats]], photos: list[pets.Photo], size: int
) -> Floats:
    """Logits ``(n, 37)`` of a model, with a progress bar."""
    from fastprogress.fastprogress import progress_bar

    batches = pets.pixel_batches(photos, size, BATCH)
    bar = progress_bar(batches, total=-(-len(photos) // BATCH))
    return np.concatenate([run(pixels)[0] for pixels in bar])


def reference(checkpoint: Path, photos: list[pets.Photo]) -> Floats:
    """Logits ``(n, 37)`` of the fp32 network, in ONNX Runtime, kept for the next time.

    ONNX Runtime in fp32 is twice as fast as PyTorch, and its logits are the same to 1e-3 (a test).
    """
    digest = integrity.sum_of(checkpoint)
    path = Path.home() / ".cache" / "label-smoothing-lab" / f"fp32-{digest[:16]}-{len(photos)}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "exact.onnx"
        metadata = export(checkpoint, exact)
        logits = logits_of(onnx_runtime(exact), photos, metadata.image_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished.npy")
    np.save(unfinished, logits)
    unfinished.replace(path)
    return logits


def compare(logits: Floats, exact: Floats, labels: NDArray[np.int64]) -> dict[str, float]:
    """What ``TARGETS`` speaks of, for 8-bit and fp32 logits ``(n, 37)`` of n photos."""
    probabilities, expected = calibration.softmax(logits), calibration.softmax(exact)
    largest = np.abs(probabilities - expected).max(axis=-1)  # (n,)

    def difference(score: str) -> float:
        served, true = (calibration.score(score, p, labels) for p in (probabilities, expected))
        return served - true

    return {
        "same_top1": float((logits.argmax(axis=-1) == exact.argmax(axis=-1)).mean()),
        "error_difference": difference("error"),
        "ece_difference": difference("ece"),
        "median_difference": float(np.median(largest)),
        "p95_difference": float(np.quantile(largest, 0.95)),
    }


def missed(differences: dict[str, float]) -> list[str]:
    """The targets that are not kept to."""
    return [
        name
        for name, target in TARGETS.items()
        if not target.least - 1e-9 <= differences[name] <= target.most + 1e-9
    ]


def table(measured: dict[str, dict[str, float]]) -> str:
    """``serving.json`` as a Markdown table."""
    lines = ["| 8-bit against fp32 | " + " | ".join(PAIR) + " | target |"]
    lines.append("| --- |" + " --: |" * (len(PAIR) + 1))
    for name, target in TARGETS.items():
        cells = [f"{measured[classifier][name]:.4f}" for classifier in PAIR]
        bounds = f"{target.least:g} to {target.most:g}"
        lines.append(f"| {target.meaning} | {' | '.join(cells)} | {bounds} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.quantize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with oxford-iiit-pet/; PETS_DATA or a download if absent")
    add("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of the pair (%(default)s)")
    add("--photos", type=int, default=CALIBRATION_PHOTOS, help="to calibrate on (%(default)s)")
    add("--unverified", action="store_true", help="do not run the test split; serving.json stays")
    args = parser.parse_args()
    if not args.unverified and not engine.has_dot_products():
        parser.exit(1, "This CPU has no 8-bit dot products: use another one, or --unverified.\n")
    try:
        root = pets.find_root(args.data)
        chosen = spread_over_breeds(pets.official_split(root, "trainval"), args.photos)
        test = [] if args.unverified else pets.official_split(root, "test")
        release(args.checkpoints, chosen, test)
    except (OSError, ValueError) as problem:
        parser.exit(1, f"{problem}\n")


def release(folder: Path, chosen: list[pets.Photo], test: list[pets.Photo]) -> None:
    """Derive both models of ``folder``; they replace the old ones once they are verified.

    Args:
        folder: of the checkpoints.
        chosen: to calibrate on.
        test: to verify on; not verified if there are none.

    Raises:
        ValueError: a checkpoint cannot be read, or a model misses a target; nothing is replaced.
    """
    measured: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(suffix=".unfinished", dir=folder) as workshop:
        for name in PAIR:
            checkpoint, path = folder / f"{name}.safetensors", Path(workshop) / f"{name}.onnx"
            for start in STARTS:  # most often the first will do
                size = derive(checkpoint, path, chosen, start).image_size
                print(f"{name}: {path.stat().st_size / 1e6:.1f} MB, 8 bit from {start}")
                if not test:
                    break
                labels = np.array([photo.label for photo in test])
                exact = reference(checkpoint, test)
                logits = logits_of(as_served(path), test, size)
                measured[name] = compare(logits, exact, labels)
                if not missed(measured[name]):
                    break
                print(f"{name} misses {', '.join(missed(measured[name]))}: {measured[name]}")
        if measured:
            print(table(measured))
            failed = {name: missed(differences) for name, differences in measured.items()}
            if any(failed.values()):
                misses = "; ".join(f"{name}: {', '.join(m)}" for name, m in failed.items() if m)
                raise ValueError(
                    f"The 8-bit models are too far from fp32 ({misses}), so the old ones stay: "
                    "calibrate on more photos (--photos), or add a later layer to STARTS."
                )
            (Path(workshop) / "serving.json").write_text(json.dumps(measured, indent=2) + "\n")
        if share(Path(workshop)):
            print(f"Both go on from {engine.TRUNK_FILE}.")
        else:
            (folder / engine.TRUNK_FILE).unlink(missing_ok=True)
        for made in Path(workshop).iterdir():
            made.replace(folder / made.name)
    integrity.record(
        *(folder / name for name in (engine.TRUNK_FILE, *(f"{name}.onnx" for name in PAIR)))
    )


if __name__ == "__main__":
    main()
