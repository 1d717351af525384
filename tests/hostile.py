"""Hostile photos, made here and from seeds alone: what tests and benchmarks send."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from functools import cache

import numpy as np
from PIL import Image, ImageCms

from model.sandbox import idle

SCRIPT = "<script>alert(1)</script>"


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as the content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A smooth seeded picture of any size and mode."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return image.convert("RGB").convert(mode) if mode not in ("RGBA", "LA") else image.convert(mode)


def exif(**tags: object) -> Image.Exif:
    """EXIF data with an orientation, and a description that would be a script on a page."""
    data = Image.Exif()
    data[0x010E] = SCRIPT
    for tag, value in ({"0x0112": 6} | tags).items():
        data[int(tag, 16)] = value
    return data


@cache
def valid_files() -> dict[str, bytes]:
    """One small photo of every kind that opens: formats, modes, depths, ways to store them."""
    image, other = picture(), Image.new("RGB", (64, 48), "green")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = (np.linspace(0, 65535, 64 * 48).reshape(48, 64)).astype(np.uint16)
    moving = {"save_all": True, "append_images": [other, image]}
    return {
        "JPEG": encode(image, "JPEG"),
        "JPEG progressive": encode(image, "JPEG", progressive=True, subsampling=0),
        "JPEG grey": encode(picture(mode="L"), "JPEG"),
        "JPEG CMYK": encode(picture(mode="CMYK"), "JPEG"),
        "JPEG EXIF, ICC": encode(image, "JPEG", exif=exif(), icc_profile=profile),
        "JPEG two pictures": encode(image, "MPO", save_all=True, append_images=[other]),
        "PNG": encode(image, "PNG", exif=exif(), icc_profile=profile),
        "PNG RGBA": encode(picture(mode="RGBA"), "PNG"),
        "PNG grey, alpha": encode(picture(mode="LA"), "PNG"),
        "PNG palette": encode(picture(mode="P"), "PNG", transparency=3),
        "PNG 1 bit": encode(picture(mode="1"), "PNG"),
        "PNG 16 bits": encode(Image.fromarray(wide), "PNG"),
        "PNG animated": encode(image, "PNG", **moving),
        "WebP": encode(image, "WEBP", exif=exif(), icc_profile=profile),
        "WebP lossless": encode(picture(mode="RGBA"), "WEBP", lossless=True),
        "WebP animated": encode(image, "WEBP", **moving),
        "AVIF": encode(image, "AVIF", exif=exif()),
        "AVIF animated": encode(image, "AVIF", **moving),
        "AVIF RGBA": encode(picture(mode="RGBA"), "AVIF"),
        "HEIC": encode(image, "HEIF", exif=exif()),
        "HEIC RGBA": encode(picture(mode="RGBA"), "HEIF", chroma=444),
        "GIF": encode(image, "GIF"),
        "GIF animated": encode(image, "GIF", **moving),
        "BMP": encode(image, "BMP"),
        "BMP palette": encode(picture(mode="P"), "BMP"),
        "TIFF": encode(image, "TIFF"),
        "TIFF LZW": encode(picture(mode="RGBA"), "TIFF", compression="tiff_lzw"),
        "TIFF Deflate": encode(picture(mode="CMYK"), "TIFF", compression="tiff_adobe_deflate"),
        "TIFF JPEG": encode(picture(mode="YCbCr"), "TIFF", compression="jpeg"),
        "TIFF group 4": encode(picture(mode="1"), "TIFF", compression="group4"),
        "TIFF Zstandard": encode(image, "TIFF", compression="zstd"),
        "TIFF LZMA": encode(image, "TIFF", compression="lzma"),
        "TIFF PackBits": encode(picture(mode="LAB"), "TIFF", compression="packbits"),
        "TIFF floats": encode(picture(mode="F"), "TIFF"),
        "TIFF 32 bits": encode(picture(mode="I"), "TIFF"),
        "ICO": encode(image, "ICO"),
        "PPM": encode(image, "PPM"),
        "PPM plain": b"P3 2 2 255\n" + b"255 0 0 0 255 0 0 0 255 9 9 9\n",
        "PPM 16 bits": b"P6 8 8 65535\n" + bytes(range(256)) + bytes(128),
        "PGM": encode(picture(mode="L"), "PPM"),
        "PBM": encode(picture(mode="1"), "PPM"),
        "JPEG 2000": encode(image, "JPEG2000"),
        "JPEG 2000 RGBA": encode(picture(mode="RGBA"), "JPEG2000", tile_size=(32, 32)),
        "TGA": encode(image, "TGA", compression="tga_rle"),
        "PCX": encode(image, "PCX"),
        "SGI": encode(image, "SGI"),
    }


def zipped() -> bytes:
    """A zip archive with a photo in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("photo.jpg", valid_files()["JPEG"])
    return buffer.getvalue()


@cache
def foreign_files() -> dict[str, bytes]:
    """What is no photo but may be sent under a photo's name."""
    return {
        "nothing": b"",
        "one byte": b"\xff",
        "zero bytes": bytes(5000),
        "text": b"This is no photo.",
        "SVG": f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>".encode(),
        "HTML": f"<!doctype html><title>x</title>{SCRIPT}".encode(),
        "PDF": b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\ntrailer << /Root 1 0 R >>\n%%EOF",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "zip": zipped(),
        "PSD": encode(picture(), "IM"),
        "video": struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + bytes(200),
        "gzip": b"\x1f\x8b\x08" + bytes(200),
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(200),
        "noise": np.random.default_rng(0).bytes(5000),
    }


def png_claiming(width: int, height: int, color: int = 2) -> bytes:
    """A PNG whose header claims a size, with hardly any data behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def icon_around(png: bytes) -> bytes:
    """An ICO file whose one picture is this PNG; Pillow decodes it on opening."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(png), 22) + png


def with_size(data: bytes, box: bytes, offset: int, size: tuple[int, int]) -> bytes:
    """A file of boxes in which every ``box`` claims another size than the picture has."""
    changed = bytearray(data)
    place = changed.find(box)
    while place >= 0:
        changed[place + offset : place + offset + 8] = struct.pack(">II", *size)
        place = changed.find(box, place + 4)
    return bytes(changed)


def many_scans(side: int, length: int) -> bytes:
    """A progressive JPEG with the same cheap scan again and again: little to send, long to read."""
    data = encode(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (length // len(last)) + b"\xff\xd9"


def tiff_in_one_strip(compression: str, side: int) -> bytes:
    """A TIFF that has to be decoded in one piece."""
    image = picture(side, side, "RGB" if compression == "jpeg" else "RGBA")
    return encode(image, "TIFF", compression=compression, tiffinfo={278: side})


@cache
def bombs() -> dict[str, bytes]:
    """Little to send, much to decode."""
    flat = Image.new("RGB", (6000, 6000), "red")
    return {
        "PNG of a billion pixels": png_claiming(60_000, 60_000),
        "PNG of 2^31 columns": png_claiming(2**31 - 1, 1),
        "PNG of 110 MP, no data": png_claiming(10_400, 10_400, 6),
        "GIF of 65535 × 65535": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff"
        b"\xff\xff\0\x02\x02D\x01\0;",
        "BMP of 2^31 columns": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
        "BMP, runs only": b"BM" + struct.pack("<IHHI", 1078 + 9000, 0, 0, 1078)
        + struct.pack("<IiiHHIIiiII", 40, 9000, 9000, 1, 8, 1, 9000, 0, 0, 256, 0)
        + bytes(1024) + b"\xff\x07" * 100_000,
        "PPM of 10^18 pixels": b"P6 1000000000 1000000000 255\n" + bytes(99),
        "PPM of 110 MP, no data": b"P6 10000 11000 255\n" + bytes(99),
        "PGM of 16 bits, slow": b"P5 10000 11000 65534\n" + bytes(10_000_000),
        "ICO around 100 MP": icon_around(encode(Image.new("L", (10_000, 10_000)), "PNG")),
        "ICO around a billion": icon_around(png_claiming(60_000, 60_000)),
        "WebP of 100 MP": encode(Image.new("RGB", (10_000, 10_000)), "WEBP", method=0),
        "AVIF that lies": with_size(encode(flat, "AVIF", speed=10), b"ispe", 8, (64, 64)),
        "HEIC that lies": with_size(encode(flat, "HEIF"), b"ispe", 8, (64, 64)),
        "HEIC that boasts": with_size(valid_files()["HEIC"], b"ispe", 8, (30_000, 30_000)),
        "AVIF that boasts": with_size(valid_files()["AVIF"], b"ispe", 8, (16_000, 16_000)),
        "JPEG 2000 that lies": with_size(encode(flat, "JPEG2000"), b"ihdr", 4, (64, 64)),
        "JPEG 2000 of 36 MP": encode(flat, "JPEG2000"),
        "TIFF in one strip": encode(flat, "TIFF", compression="tiff_lzw", tiffinfo={278: 6000}),
        "PNG, text of 64 MB": encode(picture(), "PNG", pnginfo=long_text()),
    }  # fmt: skip


def long_text() -> object:
    """PNG metadata that unpacks to 64 MB."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * 64_000_000, zip=True)
    return info


MUTATIONS = ("bits", "bytes", "zeros", "number", "cut", "end", "repeat", "insert", "splice")
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\xff")


def mutate(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A damaged copy of a file; where it matters most, in the header, every second time."""
    changed = bytearray(data)
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 400)
    place = int(rng.integers(reach))
    length = int(rng.integers(1, 1 + max(1, len(changed) // 8)))
    if kind == "bits":
        for bit in rng.integers(8 * reach, size=int(rng.integers(1, 20))):
            changed[bit // 8] ^= 1 << (bit % 8)
    elif kind == "bytes":
        count = int(rng.integers(1, 64))
        changed[place : place + count] = rng.bytes(len(changed[place : place + count]))
    elif kind == "zeros":
        changed[place : place + length] = bytes(len(changed[place : place + length]))
    elif kind == "number":
        extreme = EXTREMES[int(rng.integers(len(EXTREMES)))]
        changed[place : place + len(extreme)] = extreme
    elif kind == "cut":
        del changed[place : place + length]
    elif kind == "end":
        del changed[int(rng.integers(len(changed))) :]
    elif kind == "repeat":
        changed[place:place] = changed[place : place + length] * int(rng.integers(1, 50))
    elif kind == "insert":
        changed[place:place] = rng.bytes(length)
    elif kind == "splice":
        others = list(valid_files().values())
        other = others[int(rng.integers(len(others)))]
        changed[place:] = other[min(place, len(other) - 1) :]
    return bytes(changed)


def mutations(count: int, seed: int = 0) -> list[tuple[str, str, bytes]]:
    """Seeded mutations: the file they come from, their kind, the content."""
    files, rng = list(valid_files().items()), np.random.default_rng(seed)
    result = []
    for n in range(count):
        name, data = files[n % len(files)]
        kind = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        result.append((name, kind, mutate(data, kind, rng)))
    return result


def decoder_memory(field: str) -> float:
    """A figure in MB of the process that decodes next (`VmRSS`, `VmHWM`; Linux)."""
    pid = idle.queue[-1].process.pid
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        return next(int(line.split()[1]) / 1000 for line in status if line.startswith(field))


def reset_peak() -> float:
    """Forget that process's peak; returns what it has now, in MB."""
    with open(f"/proc/{idle.queue[-1].process.pid}/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")
    return decoder_memory("VmRSS")
