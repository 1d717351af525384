"""Serving: open any photo safely, preprocess it once, run both classifiers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from model import network, pets
from model.network import CHECKPOINTS, PAIR

# What phones, cameras and the web produce. Formats that Pillow hands to another program, or that
# hold no photo, stay out; JPEG includes the multi-picture files of stereo cameras and phones.
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "DIB", "TIFF", "ICO", "PPM"]
FORMATS += ["JPEG2000", "TGA", "PCX", "QOI", "SGI", "ICNS"]
MAX_BYTES = 50 * 2**20
MAX_PIXELS = 120_000_000

pillow_heif.register_heif_opener()
Image.init()  # registers every format: Image.open refuses to look for one that is not
Image.MAX_IMAGE_PIXELS = None  # open_photo has its own limit, with a message that helps


def open_photo(photo: bytes | str | Path, size: int = 256) -> Image.Image:
    """A photo as an upright RGB image, from its bytes or its file.

    EXIF orientation is applied, transparency laid on white, 16-bit scaled to 8, CMYK and palettes
    converted; of an animation the first frame counts. A large JPEG is decoded at a reduced scale,
    with both sides still at least twice ``size``.

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
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, ValueError, OSError, SyntaxError) as error:
        raise ValueError(
            "This file is not a photo that we can read: save it as JPEG or PNG and try again."
        ) from error
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"This photo has {image.width} × {image.height} pixels: "
            f"scale it down to at most {MAX_PIXELS // 1_000_000} million."
        )
    try:
        image.draft("RGB", (2 * size, 2 * size))
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise whatever they like on damaged data
        raise ValueError(
            "This photo is damaged or incomplete: upload it again, or save it anew as JPEG or PNG."
        ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode in 8-bit RGB, transparency laid on white."""
    if image.mode.startswith(("I", "F")):  # 16-bit integers, or floats from 0 to 1 (or to 255)
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        peak = values.max(initial=0)
        top = next(top for top in (1, 255, 65535, max(peak, 1)) if peak <= top)
        if top == 1 and image.mode != "F":
            top = 255
        image = Image.fromarray((values.clip(min=0) / top * 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


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
