"""Where the pair lies on disk, and what a checkpoint says of itself. Imports no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model.pets import BREEDS

CHECKPOINTS = Path(__file__).parent / "checkpoints"
OWN, MEAN = "own", "mean of the pair"
PAIR = ("unsmoothed", "smoothed")  # the order of every array that speaks of both


@dataclass(frozen=True)
class Metadata:
    """What a checkpoint says of itself.

    ``split`` names the photos it learned from, ``init`` the weights it started from, ``epochs``
    the passes over the photos (head alone + whole network), ``image_size`` the side in pixels of
    the square it is evaluated on, ``trunk`` whose training the layers before the last stage come
    from: ``OWN`` or ``MEAN``.
    """

    arch: str
    epsilon: float
    init: str
    split: str
    epochs: str
    image_size: int
    seed: int
    classes: tuple[str, ...] = BREEDS
    trunk: str = OWN

    def to_strings(self) -> dict[str, str]:
        """Every field as a string, for a file's header; ``classes`` as a JSON list."""
        fields = {name: str(value) for name, value in vars(self).items()}
        return fields | {"classes": json.dumps(self.classes)}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> Metadata:
        """The inverse of ``to_strings``; ``KeyError`` or ``ValueError`` if a field is missing."""
        return cls(
            arch=strings["arch"],
            epsilon=float(strings["epsilon"]),
            init=strings["init"],
            split=strings["split"],
            epochs=strings["epochs"],
            image_size=int(strings["image_size"]),
            seed=int(strings["seed"]),
            classes=tuple(json.loads(strings["classes"])),
            trunk=strings.get("trunk", OWN),
        )
