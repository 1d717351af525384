"""The Oxford-IIIT Pet dataset: 37 breeds, the official splits, loading for training and testing.

Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012; photos under CC BY-SA 4.0.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from fastai.data.core import DataLoaders
    from torch import Tensor

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
# The breeds that are ImageNet classes too, under torchvision's names (ILSVRC 2012 synset words).
IMAGENET: dict[str, str] = {
    "American Pit Bull Terrier": "American Staffordshire terrier",
    "Basset Hound": "basset",
    "Beagle": "beagle",
    "Boxer": "boxer",
    "Chihuahua": "Chihuahua",
    "Egyptian Mau": "Egyptian cat",
    "English Cocker Spaniel": "cocker spaniel",
    "English Setter": "English setter",
    "German Shorthaired": "German short-haired pointer",
    "Great Pyrenees": "Great Pyrenees",
    "Japanese Chin": "Japanese spaniel",
    "Keeshond": "keeshond",
    "Leonberger": "Leonberg",
    "Miniature Pinscher": "miniature pinscher",
    "Newfoundland": "Newfoundland",
    "Persian": "Persian cat",
    "Pomeranian": "Pomeranian",
    "Pug": "pug",
    "Saint Bernard": "Saint Bernard",
    "Samoyed": "Samoyed",
    "Scottish Terrier": "Scotch terrier",
    "Siamese": "Siamese cat",
    "Staffordshire Bull Terrier": "Staffordshire bullterrier",
    "Wheaten Terrier": "soft-coated wheaten terrier",
    "Yorkshire Terrier": "Yorkshire terrier",
}
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


def pixels(image: Image.Image, size: int) -> np.ndarray:
    """What all evaluation and serving sees of an RGB ``image``: uint8 ``(size, size, 3)``."""
    return np.array(crop(image, size))


def evaluation_transform(image: Image.Image, size: int) -> "Tensor":
    """An RGB ``image`` as the networks see it in training and in fp32: ``(3, size, size)``."""
    return normalised(pixels(image, size)[None])[0]


def normalised(pixels: np.ndarray) -> "Tensor":
    """Pixels, uint8 ``(B, H, W, 3)``, as floats ``(B, 3, H, W)`` in channels-last order."""
    import torch

    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std


def evaluation_batches(photos: list[Photo], size: int, batch_size: int) -> "Iterator[Tensor]":
    """The photos under the evaluation transform, ``(B, 3, size, size)`` in channels-last order."""
    yield from map(normalised, pixel_batches(photos, size, batch_size))


def pixel_batches(photos: list[Photo], size: int, batch_size: int) -> Iterator[np.ndarray]:
    """The photos' pixels, uint8 ``(B, size, size, 3)``."""
    for start in range(0, len(photos), batch_size):
        batch = photos[start : start + batch_size]
        yield np.stack([pixels(Image.open(photo.path).convert("RGB"), size) for photo in batch])


class TrainingCrop:
    """A random crop, flip and change of light that follow from ``seed`` and the photo alone.

    Whichever process loads a photo, and after whichever others, it comes out the same in the same
    epoch: so loader processes and training on several machines change nothing. ``seed`` is set
    anew for each epoch.
    """

    def __init__(self, size: int, min_scale: float) -> None:
        from torchvision.transforms import v2

        self.seed = 0
        self.augment = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(min_scale, 1), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.2, contrast=0.2),
            ]
        )

    def __call__(self, photo: Photo) -> Image.Image:
        """The training view of ``photo``, RGB."""
        import torch

        drawn = np.random.SeedSequence([self.seed, *photo.name.encode()]).generate_state(1)[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(drawn))
            return self.augment(Image.open(photo.path).convert("RGB"))


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

    Their ``training_crop`` is the ``TrainingCrop`` of ``train``.

    Args:
        train: photos to learn from: random resized crops and flips, small changes of light.
        valid: photos to report on during training; may be empty.
        size: side of a training crop, pixels.
        valid_size: side of a validation crop, pixels.
        batch_size: B; the last, smaller batch of training photos is dropped.
        min_scale: the least share of a photo's area that a training crop covers.
        workers: loader processes; 0 loads in this one.
    """
    from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
    from fastai.data.transforms import IndexSplitter, IntToFloatTensor, Normalize, ToTensor
    from fastai.vision.core import PILImage
    from fasttransform import Transform

    training_crop = TrainingCrop(size, min_scale)

    learned = set(train)

    # fastai reads this annotation at run time; so this module does not postpone annotations.
    class View(Transform):
        def encodes(self, photo: Photo) -> PILImage:
            if photo in learned:
                return PILImage(training_crop(photo))
            return PILImage(crop(Image.open(photo.path).convert("RGB"), valid_size))

    block = DataBlock(
        blocks=(TransformBlock(), CategoryBlock(vocab=list(BREEDS), sort=False)),
        get_y=lambda photo: BREEDS[photo.label],
        splitter=IndexSplitter(range(len(train), len(train) + len(valid))),
        item_tfms=[View(), ToTensor()],
        batch_tfms=[IntToFloatTensor(), Normalize.from_stats(MEAN, STD)],
    )
    dls = block.dataloaders(train + valid, bs=batch_size, num_workers=workers)
    dls.training_crop = training_crop
    return dls
