"""Serving: open any photo safely, preprocess it once, run both classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import engine, pets, sandbox
from model.checkpoint import CHECKPOINTS
from model.photo import MAX_PIXELS as MAX_PIXELS

MAX_BYTES = 50 * 2**20


def open_photo(photo: bytes | str | Path, size: int = 256) -> Image.Image:
    """A photo as an upright RGB image, from its bytes or its file.

    EXIF orientation is applied, transparency laid on white, 16-bit scaled to 8, CMYK and palettes
    converted; of an animation the first frame counts. A large photo comes at a reduced scale, with
    both sides still at least ``size``. It is decoded in a process of its own, in at most
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
    """The two released classifiers, loaded and ready; several threads may call it at once."""

    def __init__(
        self,
        folder: Path = CHECKPOINTS,
        choose: Callable[[Path], engine.Engine] = engine.choose,
    ) -> None:
        """Load the pair of ``folder`` into the engine that ``choose`` finds for it.

        Raises:
            ValueError: a checkpoint is missing, damaged or foreign, or the two do not fit each
                other.
        """
        self.engine = choose(folder)
        self.metadata = self.engine.metadata
        if len({metadata.image_size for metadata in self.metadata}) != 1:
            raise ValueError(
                f"The two checkpoints in {folder} expect photos of different sizes: train both "
                "with the same --image-size."
            )
        self.image_size = self.metadata[0].image_size

    def __call__(self, image: Image.Image) -> Prediction:
        """Classify an RGB image with both networks."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[Image.Image]) -> list[Prediction]:
        """Classify RGB images with both networks, all at once."""
        pixels = np.stack([pets.pixels(image, self.image_size) for image in images])
        logits, features = self.engine(pixels)
        return [Prediction(logits[:, i], features[:, i]) for i in range(len(images))]
