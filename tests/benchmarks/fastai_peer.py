"""What the tutorials do with our weights: two fastai learners behind a Gradio interface.

The benchmarks compare with it. `python tests/benchmarks/fastai_peer.py FOLDER` serves the learners
that ``export`` wrote there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def learners(folder: Path) -> list[Any]:
    """A fastai ``Learner`` for each released checkpoint, on pictures of noise in ``folder``."""
    import numpy as np
    from fastai.losses import CrossEntropyLossFlat
    from fastai.vision.all import ImageDataLoaders, Learner, Normalize, Resize
    from PIL import Image

    from model import network, pets
    from model.checkpoint import CHECKPOINTS, PAIR

    rng = np.random.default_rng(0)
    for label, breed in enumerate(pets.BREEDS):
        place = folder / "pictures" / f"{label:02} {breed}"  # sorted as the classes are
        place.mkdir(parents=True, exist_ok=True)
        for copy in range(4):  # so that none is held out whole
            noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place / f"{copy}.png")
    made = []
    for name in PAIR:
        classifier, metadata = network.load(CHECKPOINTS / f"{name}.safetensors")
        data = ImageDataLoaders.from_folder(
            folder / "pictures",
            valid_pct=0.2,
            seed=0,
            bs=8,
            num_workers=0,
            item_tfms=Resize(metadata.image_size),
            batch_tfms=Normalize.from_stats(pets.MEAN, pets.STD),
        )
        made.append(Learner(data, classifier.resnet, loss_func=CrossEntropyLossFlat()))
    return made


def export(folder: Path) -> None:
    """Write both learners to ``folder``, as `unsmoothed.pkl` and `smoothed.pkl`."""
    for name, learner in zip(("unsmoothed", "smoothed"), learners(folder), strict=True):
        learner.export(folder / f"{name}.pkl")


def main() -> None:
    import gradio as gr
    from fastai.vision.all import PILImage, load_learner

    pair = [load_learner(Path(sys.argv[1]) / f"{n}.pkl") for n in ("unsmoothed", "smoothed")]

    def classify(photo: str) -> list[dict[str, float]]:
        answers = [learner.predict(PILImage.create(photo)) for learner in pair]
        vocab = pair[0].dls.vocab
        return [dict(zip(vocab, map(float, answer[2]), strict=True)) for answer in answers]

    gr.Interface(classify, gr.Image(type="filepath"), gr.JSON(), api_name="classify").launch()


if __name__ == "__main__":
    main()
