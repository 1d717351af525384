"""Protects the splits: no test photo may leak into training, and all sides agree on the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import OxfordIIITPet
from torchvision.transforms import InterpolationMode

from model import pets


def test_official_splits(pets_root: Path) -> None:
    splits = {split: pets.official_split(pets_root, split) for split in pets.SPLIT_SIZES}
    assert {split: len(photos) for split, photos in splits.items()} == pets.SPLIT_SIZES
    names = {split: {photo.name for photo in photos} for split, photos in splits.items()}
    assert not names["trainval"] & names["test"]
    for split, photos in splits.items():
        reference = OxfordIIITPet(str(pets_root), split=split)
        theirs = {path.stem: reference.classes[i] for path, i in zip(
            reference._images, reference._labels, strict=True
        )}  # fmt: skip
        assert theirs == {photo.name: pets.BREEDS[photo.label] for photo in photos}


def test_halves_are_stratified_fixed_and_complete() -> None:
    labels = np.repeat(np.arange(37), 99)
    first, second = pets.test_halves(labels)
    assert sorted([*first, *second]) == list(range(len(labels)))
    counts = np.bincount(labels[first], minlength=37)
    assert counts.min() == counts.max() == 50
    assert all(np.array_equal(a, b) for a, b in zip(
        (first, second), pets.test_halves(labels), strict=True
    ))  # fmt: skip


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (1, 1000)])
def test_evaluation_transform_is_the_usual_one(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    ours = pets.evaluation_transform(noise, 48)
    assert ours.shape == (3, 48, 48)
    if min(size) >= 48:  # torchvision crops after it has resized, we before: edges differ a little
        usual = transforms.Compose(
            [
                transforms.Resize(48, InterpolationMode.BICUBIC),
                transforms.CenterCrop(48),
                transforms.ToTensor(),
                transforms.Normalize(pets.MEAN, pets.STD),
            ]
        )(noise)
        inside = (slice(None), slice(4, -4), slice(4, -4))
        assert (ours - usual)[inside].abs().mean() < 0.05


def test_dataloaders(tmp_path: Path, tiny_pets: Path) -> None:
    photos = pets.official_split(tiny_pets, "trainval")
    dls = pets.dataloaders(photos[:60], photos[60:], size=24, valid_size=32, batch_size=16)
    images, labels = dls.train.one_batch()
    assert images.shape == (16, 3, 24, 24)
    assert labels.dtype == torch.int64
    assert list(dls.vocab) == list(pets.BREEDS)
    images, labels = dls.valid.one_batch()
    assert labels.tolist() == [photo.label for photo in photos[60:]]
    for image, photo in zip(images, photos[60:], strict=True):
        expected = pets.evaluation_transform(Image.open(photo.path).convert("RGB"), 32)
        torch.testing.assert_close(torch.Tensor(image), expected, rtol=0, atol=1e-5)


def test_says_what_is_missing(tmp_path: Path, tiny_pets: Path) -> None:
    with pytest.raises(ValueError, match="No Oxford-IIIT Pet dataset in"):
        pets.find_root(tmp_path / "elsewhere")
    pets.official_split(tiny_pets, "test")[3].path.unlink()
    with pytest.raises(ValueError, match=r"1 photos of .*test.txt are missing"):
        pets.official_split(tiny_pets, "test")
    listing = tiny_pets / "oxford-iiit-pet" / "annotations" / "test.txt"
    listing.write_text("Abyssinian_1 38 1 1\n")
    with pytest.raises(ValueError, match="line 1: expected"):
        pets.official_split(tiny_pets, "test")
