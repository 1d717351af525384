"""Photos to try: examples that need no network, and a random photo of the test split."""

from __future__ import annotations

import logging
import os
import random
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from model import pets
from model.pets import BREEDS

ROWS = "https://datasets-server.huggingface.co/rows"
DATASET = "timm/oxford-iiit-pet"
HOSTS = (".huggingface.co", ".hf.co")  # where the Hub keeps the photos of its viewer
MAX_BYTES = 5 * 2**20
SECONDS = 8.0

log = logging.getLogger(__name__)


class Example(NamedTuple):
    """A photo to click: its file, and what it shows."""

    name: str
    path: Path
    note: str


class Sample(NamedTuple):
    """A photo of the test split."""

    content: bytes
    name: str
    breed: str


# A pet, two animals that are none, two things that are no animal.
EXAMPLES = (
    (
        "cat",
        "skimage",
        "data/chelsea.png",
        "Chelsea, a cat without a pedigree: the breed she resembles is the best answer there is.",
    ),
    (
        "lion",
        "gradio",
        "media_assets/images/lion.jpg",
        "A lion is no pet. Neither classifier can say so: the probabilities of 37 breeds add up to "
        "100%, so each must name a breed. Look at how sure it is of it.",
    ),
    (
        "cheetah",
        "gradio",
        "media_assets/images/cheetah1.jpg",
        "A cheetah is no pet. Neither classifier can say so: each must name one of 37 breeds. Look "
        "at how sure it is of it.",
    ),
    (
        "tower",
        "gradio",
        "media_assets/images/tower.jpg",
        "A tower is no animal. The classifiers know nothing but 37 breeds: whatever they answer is "
        "wrong, and a high confidence in it is the worse mistake.",
    ),
    (
        "flower",
        "sklearn",
        "datasets/images/flower.jpg",
        "A flower is no animal. The classifiers know nothing but 37 breeds: whatever they answer "
        "is wrong, and a high confidence in it is the worse mistake.",
    ),
)


@lru_cache(maxsize=1)
def examples() -> tuple[Example, ...]:
    """The examples that are there: pictures that installed packages carry."""
    found = []
    for name, package, file, note in EXAMPLES:
        spec = find_spec(package)  # found without importing the package
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).parent
        if (folder / file).is_file():
            found.append(Example(name, folder / file, note))
    return tuple(found)


def random_test_photo() -> Sample:
    """A photo of the test split, from ``PETS_DATA`` or from the public dataset on the Hub.

    Raises:
        ValueError: there is no network, the Hub has no answer, or ``PETS_DATA`` no photo; one
            sentence for the visitor, the cause is in the log.
    """
    if not os.environ.get("PETS_DATA"):
        return fetched(random.randrange(pets.SPLIT_SIZES["test"]))  # noqa: S311
    try:
        photo = random.choice(listed(os.environ["PETS_DATA"]))  # noqa: S311
        return Sample(photo.path.read_bytes(), photo.name, BREEDS[photo.label])
    except (OSError, ValueError) as error:
        log.warning("No test photo: %s", error)
        raise ValueError(
            "No test photo came: this server's copy of the dataset cannot be read. Upload a photo, "
            "or click an example."
        ) from error


@lru_cache(maxsize=1)
def listed(data: str) -> list[pets.Photo]:
    """The test split in the folder ``data``, read once.

    Raises:
        ValueError: as ``pets.official_split``.
    """
    return pets.official_split(pets.find_root(Path(data)), "test")


@lru_cache(maxsize=64)
def fetched(index: int, rows: str = ROWS) -> Sample:
    """Photo ``index`` of the dataset's test split: one request for its row, one for its photo.

    Raises:
        ValueError: as ``random_test_photo``.
    """
    query: dict[str, str | int] = {"dataset": DATASET, "config": "default", "split": "test"}
    query |= {"offset": index, "length": 1}
    headers = {"user-agent": "label-smoothing-lab"}
    try:
        with httpx.Client(timeout=SECONDS, headers=headers) as client:
            answer = client.get(rows, params=query).raise_for_status().json()
            row = answer["rows"][0]["row"]
            address = urlsplit(row["image"]["src"])
            host = f".{address.hostname}"
            if host != f".{urlsplit(rows).hostname}" and not host.endswith(HOSTS):
                raise ValueError(f"a photo at an unexpected host: {host}")
            content = client.get(row["image"]["src"]).raise_for_status().content
        name = str(row["image_id"])
        breed = name.rsplit("_", 1)[0].replace("_", " ").lower()
        label = [known.lower() for known in BREEDS].index(breed)
        if len(content) > MAX_BYTES:
            raise ValueError(f"a photo of {len(content)} bytes")
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        log.warning("No test photo: %r", error)
        raise ValueError(
            "No test photo came: the public dataset cannot be reached from here. Upload a photo, "
            "click an example, or try again later."
        ) from error
    return Sample(content, name, BREEDS[label])
