"""Decoding a photo: any format, bounded in memory and time. Imports no PyTorch.

``model.sandbox`` runs this in a process of its own; ``classifier.open_photo`` is what to call.
"""

from __future__ import annotations

import io
import time
import warnings

import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, ExifTags, Image, ImageOps, JpegImagePlugin

# What phones, cameras and the web produce. Formats that Pillow hands to another program, that it
# decodes pixel by pixel in Python (QOI), or that hold no photo, stay out; JPEG includes the
# multi-picture files of stereo cameras and phones.
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "DIB", "TIFF", "ICO", "PPM"]
FORMATS += ["JPEG2000", "TGA", "PCX", "SGI"]
MAX_PIXELS = 110_000_000  # 12,000 × 9,000, the largest sensors of 2020's phones
MAX_MEMORY = 460_000_000  # bytes that opening one photo may take
MAX_SECONDS = 8.0  # that decoding one photo may take
BAND_PIXELS = 1_000_000  # converted and reduced at a time

# Bytes per pixel that a decoder may need beside the pixels it returns, as measured on the worst
# file of each format that we could make: 12-bit 4:4:4 with film grain, four channels, one strip.
DECODER_BYTES = {"AVIF": 21, "JPEG2000": 21, "WEBP": 13, "TIFF": 9}

pillow_heif.register_heif_opener(decode_threads=2)
AvifImagePlugin.DEFAULT_MAX_THREADS = 2  # a thread takes memory, whether or not it has work
Image.init()  # registers every format: Image.open refuses to look for one that is not
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses beyond twice this, nested images too
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

UNREADABLE = "This file is not a photo that we can read: save it as JPEG or PNG and try again."
TOO_SLOW = "This photo takes too long to read: scale it down, or save it anew as JPEG."
TOO_BIG = "This photo takes too much memory to open: scale it down, or save it anew as JPEG."
DAMAGED = "This photo is damaged or incomplete: upload it again, or save it anew as JPEG or PNG."


class Hurried(io.BytesIO):
    """The content of a file that can only be read for a while: decoders come back for more."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.deadline = time.monotonic() + MAX_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self.deadline:
            raise TimeoutError
        return super().read(size)


def decode(data: bytes, size: int) -> Image.Image:
    """The content of a photo's file as an upright RGB image; see ``classifier.open_photo``.

    What it takes is estimated before anything is decoded.

    Args:
        data: the content of the file.
        size: the side in pixels that the networks will ask for.

    Raises:
        ValueError: not a photo, damaged or too large; one sentence that says what to do.
    """
    try:
        image: Image.Image = Image.open(Hurried(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"This photo has more than {MAX_PIXELS // 1_000_000} million pixels: "
            "scale it down and try again."
        ) from error
    except TimeoutError as error:
        raise ValueError(TOO_SLOW) from error
    except MemoryError as error:
        raise ValueError(TOO_BIG) from error
    except Exception as error:  # not only UnidentifiedImageError: headers are damaged, too
        raise ValueError(UNREADABLE) from error
    width, height = image.size
    try:
        image.draft("RGB", (size, size))
        image.decodermaxblock = 4096  # type: ignore[attr-defined]  # a JPEG: little per read
        needed = decoding_memory(image, width * height, size, data)
    except Exception as error:
        raise ValueError(DAMAGED) from error
    if needed > MAX_MEMORY:
        raise ValueError(
            f"This photo of {width} × {height} pixels takes too much memory to open: scale it "
            f"down to {affordable(width * height, needed)} million pixels, or save it as JPEG."
        )
    try:
        image.load()
        small = shrink(image, size)
        small.getexif()[ExifTags.Base.Orientation] = image.getexif().get(
            ExifTags.Base.Orientation, 1
        )
        ImageOps.exif_transpose(small, in_place=True)
        return small
    except TimeoutError as error:
        raise ValueError(TOO_SLOW) from error
    except MemoryError as error:
        raise ValueError(TOO_BIG) from error
    except Exception as error:  # decoders raise whatever they like on damaged data
        raise ValueError(DAMAGED) from error


def decoding_memory(image: Image.Image, pixels: int, size: int, data: bytes) -> int:
    """Bytes that decoding an opened image will take at most, the content of the file included.

    Args:
        image: opened, its draft mode set, not yet loaded.
        pixels: the number of them before the draft.
        size: the side in pixels that the networks will ask for.
        data: the file.
    """
    area = image.width * image.height  # after the draft
    raster = area if image.mode in ("1", "L", "P") else 4 * area
    decoder = DECODER_BYTES.get(image.format or "", 0) * pixels
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # More than one scan: every coefficient, of 16 bits, is kept until the last has come.
        if "progressive" in image.info or data.count(b"\xff\xda") > 1:
            blocks = [h * v for _, h, v, _ in image.layer]
            decoder = 2 * pixels * sum(blocks) // max(1, *blocks)
    elif image.format == "HEIF":  # the planes as they are stored, and all channels in full
        sample = 1 if image.info.get("bit_depth") == 8 else 2
        decoder = 2 * len(image.getbands()) * sample * pixels
    result = 10 * area // reduction(image, size) ** 2  # as an image, and as bytes on both sides
    return 2 * len(data) + raster + decoder + result


def affordable(pixels: int, needed: int) -> int:
    """How many million pixels would do where ``pixels`` need ``needed`` bytes."""
    return max(1, pixels * MAX_MEMORY // needed // 1_000_000)


def reduction(image: Image.Image, size: int) -> int:
    """The whole factor that leaves the shorter side at no less than ``size``."""
    return max(1, min(image.size) // size)


def shrink(image: Image.Image, size: int) -> Image.Image:
    """A loaded image in RGB, reduced by a whole factor to no less than ``size``.

    It goes band by band, since a whole copy of a large photo takes hundreds of megabytes.
    """
    width, height = image.size
    factor = reduction(image, size)
    rows = max(1, BAND_PIXELS // (width * factor)) * factor
    tops = range(0, height, rows)

    def band(top: int) -> Image.Image:
        return image.crop((0, top, width, min(top + rows, height)))

    white = max(white_of(band(top)) for top in tops) if image.mode.startswith(("I", "F")) else 255
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top in tops:
        small.paste(to_rgb(band(top), white).reduce(factor), (0, top // factor))
    return small


def white_of(image: Image.Image) -> float:
    """The value that means white, of 16-bit integers, or floats from 0 to 1 (or to 255)."""
    peak = np.nan_to_num(np.asarray(image, dtype=np.float64)).max(initial=0)
    if peak <= 1 and image.mode == "F":
        return 1
    return float(next(white for white in (255, 65535, max(peak, 1)) if peak <= white))


def to_rgb(image: Image.Image, white: float) -> Image.Image:
    """An image of any mode in 8-bit RGB, transparency laid on white.

    Args:
        image: loaded.
        white: the value that means white in a mode of integers or floats.
    """
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        image = Image.fromarray((values.clip(0, white) / white * 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")
