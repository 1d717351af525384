"""The Oxford-IIIT Pet dataset: 37 breeds, the official splits, loading for training and testing.

Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012; photos under CC BY-SA 4.0.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

if TYPE_CHECKING:
    from fastai.data.core import DataLoaders

Split = Literal["trainval", "test"]

# In the official class order (CLASS-ID 1 to 37 of the annotation files).
BREEDS: tuple[str, ...] = (
    "Abyssinian",
    "American Bulldog",
    "American Pit Bull Terrier",
    "Basset Hound",
    "Beagle",
    "Bengal",
    "Birman",
    "Bombay",
    "Boxer",
    "British Shorthair",
    "Chihuahua",
    "Egyptian Mau",
    "English Cocker Spaniel",
    "English Setter",
    "German Shorthaired",
    "Great Pyrenees",
    "Havanese",
    "Japanese Chin",
    "Keeshond",
    "Leonberger",
    "Maine Coon",
    "Miniature Pinscher",
    "Newfoundland",
    "Persian",
    "Pomeranian",
    "Pug",
    "Ragdoll",
    "Russian Blue",
    "Saint Bernard",
    "Samoyed",
    "Scottish Terrier",
    "Shiba Inu",
    "Siamese",
    "Sphynx",
    "Staffordshire Bull Terrier",
    "Wheaten Terrier",
    "Yorkshire Terrier",
)
SPLIT_SIZES: dict[Split, int] = {"trainval": 3680, "test": 3669}

# The statistics that the ImageNet initialisation was trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

HALVES_SEED = 2012


@dataclass(frozen=True)
class Photo:
    """One photo of the dataset: its file and its class index (0 to 36)."""

    path: Path
    label: int

    @property
    def name(self) -> str:
        return self.path.stem


def find_root(data: Path | str | None = None) -> Path:
    """The folder that holds ``oxford-iiit-pet/``; downloads the dataset if there is none.

    Looks at ``data``, then at the environment variable ``PETS_DATA``; with neither, torchvision
    downloads the 800 MB of the dataset into ``~/.cache/label-smoothing-lab``.

    Raises:
        ValueError: a folder was named, but the dataset is not in it.
    """
    named = data or os.environ.get("PETS_DATA")
    if named:
        root = Path(named)
        for part in ("images", "annotations/trainval.txt", "annotations/test.txt"):
            if not (root / "oxford-iiit-pet" / part).exists():
                raise ValueError(
                    f"No Oxford-IIIT Pet dataset in {root}: {root / 'oxford-iiit-pet' / part} is "
                    "missing. Name the folder that contains oxford-iiit-pet/, or none to download."
                )
        return root
    from torchvision.datasets import OxfordIIITPet

    root = Path.home() / ".cache" / "label-smoothing-lab"
    for split in SPLIT_SIZES:
        OxfordIIITPet(str(root), split=split, download=True)
    return root


def official_split(root: Path, split: Split) -> list[Photo]:
    """The photos of one official split, sorted by file name.

    Raises:
        ValueError: the annotation file is damaged, or a photo that it lists is missing.
    """
    folder = root / "oxford-iiit-pet"
    listing = folder / "annotations" / f"{split}.txt"
    photos = []
    for number, line in enumerate(listing.read_text().splitlines(), start=1):
        fields = line.split()
        if len(fields) != 4 or not fields[1].isdigit() or not 1 <= int(fields[1]) <= len(BREEDS):
            raise ValueError(f"{listing}, line {number}: expected 'name class species breed'.")
        photos.append(Photo(folder / "images" / f"{fields[0]}.jpg", int(fields[1]) - 1))
    missing = [photo.path for photo in photos if not photo.path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} photos of {listing} are missing, first {missing[0]}.")
    return sorted(photos, key=lambda photo: photo.name)


def stratified_part(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A boolean mask ``(n,)`` that is true on ``fraction`` of the photos of each class.

    Args:
        labels: class indices ``(n,)``.
        fraction: between 0 and 1; each class is rounded by itself.
        seed: of NumPy's ``default_rng``.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(fraction * len(members))]] = True
    return chosen


def test_halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two halves, as index arrays, of a test split with ``labels`` ``(n,)``.

    Stratified by class, seed ``HALVES_SEED``. Whatever is fitted after training is fitted on one
    half and reported on the other.
    """
    first = stratified_part(labels, 0.5, HALVES_SEED)
    return np.flatnonzero(first), np.flatnonzero(~first)


def crop(image: Image.Image, size: int) -> Image.Image:
    """The central square of an RGB ``image``, ``size`` pixels wide: all evaluation starts here."""
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def evaluation_transform(image: Image.Image, size: int) -> Tensor:
    """An RGB ``image`` as the networks see it in evaluation and serving: ``(3, size, size)``."""
    pixels = torch.from_numpy(np.array(crop(image, size))).permute(2, 0, 1)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (pixels / 255 - mean) / std


def evaluation_batches(photos: list[Photo], size: int, batch_size: int) -> Iterator[Tensor]:
    """The photos under the evaluation transform, ``(B, 3, size, size)`` in channels-last order."""
    for start in range(0, len(photos), batch_size):
        images = [
            evaluation_transform(Image.open(photo.path).convert("RGB"), size)
            for photo in photos[start : start + batch_size]
        ]
        yield torch.stack(images).to(memory_format=torch.channels_last)


def dataloaders(
    train: list[Photo],
    valid: list[Photo],
    *,
    size: int,
    valid_size: int,
    batch_size: int = 64,
    min_scale: float = 0.35,
    workers: int = 0,
) -> "DataLoaders":
    """fastai ``DataLoaders``: augmented, shuffled ``train`` and evaluation-cropped ``valid``.

    Args:
        train: photos to learn from: random resized crops and flips, small changes of light.
        valid: photos to report on during training; may be empty.
        size: side of a training crop, pixels.
        valid_size: side of a validation crop, pixels.
        batch_size: B; the last, smaller batch of training photos is dropped.
        min_scale: the least share of a photo's area that a training crop covers.
        workers: loader processes; 0 loads in this one.
    """
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.transforms import IndexSplitter, Normalize
    from fastai.vision.augment import FlipItem, RandomResizedCrop, aug_transforms
    from fastai.vision.core import PILImage
    from fastai.vision.data import ImageBlock
    from fasttransform import Transform

    # fastai reads this annotation at run time; so this module does not postpone annotations.
    class EvaluationCrop(Transform):
        split_idx = 1

        def encodes(self, image: PILImage) -> PILImage:
            return PILImage(crop(image, valid_size))

    random_crop = RandomResizedCrop(size, min_scale=min_scale)
    random_crop.split_idx = 0
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(BREEDS), sort=False)),
        get_x=lambda photo: photo.path,
        get_y=lambda photo: BREEDS[photo.label],
        splitter=IndexSplitter(range(len(train), len(train) + len(valid))),
        item_tfms=[random_crop, FlipItem(), EvaluationCrop()],
        batch_tfms=[
            *aug_transforms(do_flip=False, max_rotate=0, max_zoom=1, max_warp=0),
            Normalize.from_stats(MEAN, STD),
        ],
    )
    return block.dataloaders(train + valid, bs=batch_size, num_workers=workers)
