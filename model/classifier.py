"""Serving: open any photo safely, preprocess it once, run both classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model import network, pets, sandbox
from model.network import CHECKPOINTS, PAIR
from model.photo import MAX_PIXELS as MAX_PIXELS

MAX_BYTES = 50 * 2**20


def open_photo(photo: bytes | str | Path, size: int = 256) -> Image.Image:
    """A photo as an upright RGB image, from its bytes or its file.

    EXIF orientation is applied, transparency laid on white, 16-bit scaled to 8, CMYK and palettes
    converted; of an animation the first frame counts. A large photo comes at a reduced scale, with
    both sides still at least twice ``size``. It is decoded in a process of its own, in at most
    500 MB and ten seconds.

    Args:
        photo: the content of the file, or its path.
        size: the side in pixels that the networks will ask for.

    Raises:
        ValueError: not a photo, damaged or too large; one sentence that says what to do.
    """
    data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    if not data:
        raise ValueError("This file is empty: choose a photo, for example a JPEG or PNG.")
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"This file has {len(data) >> 20} MB: choose a photo of at most {MAX_BYTES >> 20} MB."
        )
    return sandbox.decode(data, size)


@dataclass(frozen=True)
class Prediction:
    """What the pair says of one photo; index 0 is the unsmoothed, 1 the smoothed classifier."""

    logits: NDArray[np.float32]  # (2, 37)
    features: NDArray[np.float32]  # (2, D), penultimate activations


class Pair:
    """The two released classifiers, loaded and ready."""

    def __init__(self, folder: Path = CHECKPOINTS) -> None:
        """Load both checkpoints of ``folder``.

        Raises:
            ValueError: one is missing, damaged or foreign, or the two do not fit each other.
        """
        loaded = [network.load(folder / f"{name}.safetensors") for name in PAIR]
        self.networks = [net.to(memory_format=torch.channels_last) for net, _ in loaded]
        self.metadata = tuple(metadata for _, metadata in loaded)
        if len({metadata.image_size for metadata in self.metadata}) != 1:
            raise ValueError(
                f"The two checkpoints in {folder} expect photos of different sizes: train both "
                "with the same --image-size."
            )
        self.image_size = self.metadata[0].image_size

    def __call__(self, image: Image.Image) -> Prediction:
        """Classify an RGB image with both networks."""
        tensor = pets.evaluation_transform(image, self.image_size)[None]
        tensor = tensor.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            outputs = [net(tensor) for net in self.networks]
        return Prediction(
            logits=torch.cat([logits for logits, _ in outputs]).numpy(),
            features=torch.cat([features for _, features in outputs]).numpy(),
        )
