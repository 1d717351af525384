"""The Classify tab: a photo, both distributions, and the difference in confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from model.calibration import softmax
from model.calibrators import CURES, NONE, Cures
from model.classifier import Pair, Prediction, open_photo
from model.evaluate import Evaluation
from model.figures import classify as figures
from model.network import PAIR
from model.pets import BREEDS
from model.report import CURE_LABELS
from model.tabs.photo_input import PhotoInput

TOP, ALL = "Top breeds", "All 37"
LINEAR, LOGARITHMIC = "Linear", "Logarithmic"
TOP_BREEDS = 6
EMPTY = '<div class="verdict empty">Upload, paste or take a photo: both answers appear here.</div>'


def classify(pair: Pair, photo: bytes | None) -> Prediction:
    """Both classifiers on an uploaded photo; ``gr.Error`` with one sentence if it is none."""
    if photo is None:
        raise gr.Error("There is no photo yet: upload one, paste one or use the camera.")
    try:
        return pair(open_photo(photo, pair.image_size))
    except ValueError as error:
        raise gr.Error(str(error)) from error


def for_programs(prediction: Prediction) -> dict[str, dict[str, Any]]:
    """What the endpoint `/classify` returns."""
    result = {}
    for name, probabilities in zip(PAIR, softmax(prediction.logits), strict=True):
        result[name] = {
            "breed": BREEDS[int(probabilities.argmax())],
            "confidence": float(probabilities.max()),
            "probabilities": dict(zip(BREEDS, probabilities.tolist(), strict=True)),
        }
    return result


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """Shannon entropy in bits of distributions ``(..., N)``."""
    return -np.sum(probabilities * np.log2(np.maximum(probabilities, 1e-300)), axis=-1)


def signed(points: float) -> str:
    """A difference in percentage points, with a true minus sign."""
    return f"{points:+.1f}".replace("-", "−")


def summary(
    probabilities: NDArray[np.floating], labels: Sequence[str], records: Sequence[str]
) -> str:
    """The verdicts ``(2, 37)`` in HTML: the difference in confidence, both answers, entropy.

    ``records`` says of each classifier how often its answers of this confidence were right.
    """
    best = probabilities.argmax(axis=-1)
    confidence = probabilities.max(axis=-1)
    points = 100 * (confidence[1] - confidence[0])
    if abs(points) < 0.05:
        headline = "Both are equally confident."
    else:
        headline = f"The smoothed classifier is {'more' if points > 0 else 'less'} confident."
    if best[0] == best[1]:
        verdict = f"They agree: {BREEDS[best[0]]}."
    else:
        verdict = f"They disagree: {BREEDS[best[0]]} or {BREEDS[best[1]]}."
    cards = "".join(
        f'<div class="card {name}"><div class="who">{label}</div>'
        f'<div class="breed">{BREEDS[i]}</div>'
        f'<div class="confidence">{p:.1%}</div>'
        f'<div class="small">entropy {bits:.2f} of {np.log2(len(BREEDS)):.2f} bits</div>'
        f'<div class="small">{record}</div></div>'
        for name, label, i, p, bits, record in zip(
            PAIR, labels, best, confidence, entropy(probabilities), records, strict=True
        )
    )
    return (
        f'<div class="verdict" role="status"><div class="difference">'
        f'<span class="points">{signed(points)}</span> points</div>'
        f"<div><strong>{headline}</strong> {verdict}</div>"
        f'<div class="cards">{cards}</div></div>'
    )


def changes(cures: Cures, cure: str, logits: NDArray[np.floating]) -> str:
    """A sentence for each classifier whose answer the cure changed; often empty."""
    after = cures.apply(cure, logits).argmax(axis=-1)
    return " ".join(
        f"{CURE_LABELS[cure]} changed the {name} classifier's answer from "
        f"{BREEDS[int(row.argmax())]} to {BREEDS[int(now)]}."
        for name, row, now, changed in zip(
            PAIR, logits, after, cures.changed_answer(cure, logits), strict=True
        )
        if changed
    )


def measured(evaluation: Evaluation) -> str:
    """One sentence on the whole test split, to read a single photo against."""
    sentences = []
    for name, logits in zip(PAIR, evaluation.logits, strict=True):
        probabilities = softmax(logits)
        right = (probabilities.argmax(axis=-1) == evaluation.labels).mean()
        confidence = probabilities.max(axis=-1).mean()
        sentences.append(f"the {name} one is right on {right:.1%} and {confidence:.1%} confident")
    return f"Over all {len(evaluation.labels):,} test photos, " + ", ".join(sentences) + "."


def examples() -> list[str]:
    """Photos to click that an installed package carries: animals that are no pets, and a tower."""
    folder = Path(gr.__file__).parent / "media_assets" / "images"
    names = ("cheetah1.jpg", "lion.jpg", "tower.jpg")
    return [str(folder / name) for name in names if (folder / name).is_file()]


@dataclass(frozen=True)
class PhotoStates:
    """What other tabs may read of the photo that stands here: ``None``, or arrays."""

    features: gr.State  # (2, D) penultimate activations
    probabilities: gr.State  # (2, 37), as trained


def build(pair: Pair, evaluation: Evaluation, cures: Cures) -> PhotoStates:
    """The tab's content, and the endpoint `/classify`, inside an open ``gr.Tab``."""
    epsilons = [metadata.epsilon for metadata in pair.metadata]
    labels = [f"{name} (ε = {e:g})" for name, e in zip(PAIR, epsilons, strict=True)]
    gr.Markdown(
        f"Two classifiers look at your photo. They are one network trained twice, on the same "
        f"photos in the same order; only the target differed: all on the true breed "
        f"(ε = {epsilons[0]:g}), or a share ε = {epsilons[1]:g} of it spread over all "
        f"{len(BREEDS)} breeds."
    )
    state: gr.State = gr.State(None)
    features: gr.State = gr.State(None)
    probabilities: gr.State = gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            photo = PhotoInput(
                label="Your photo of a cat or dog",
                sources=["upload", "webcam", "clipboard"],
                height=320,
                buttons=["fullscreen"],
                elem_id="photo",
            )
            gr.Examples(examples(), photo, label="No pet at hand? These are none, either.")
        with gr.Column(scale=3, min_width=320):
            verdict = gr.HTML(EMPTY, elem_id="verdict")
            cure = gr.Radio(
                [(CURE_LABELS[key], key) for key in CURES],
                value=NONE,
                label="Cure after training",
                info="Fitted on the whole test split, which your photo is not in.",
            )
            with gr.Row():
                shown = gr.Radio([TOP, ALL], value=TOP, label="Show", min_width=150)
                axis = gr.Radio([LINEAR, LOGARITHMIC], value=LINEAR, label="Axis", min_width=150)
            figure = gr.Plot(
                show_label=False, container=False, visible=False, elem_id="distributions"
            )
            gr.Markdown(
                "**How to read this.** Each breed has two bars, one for each classifier; the bars "
                "of one colour add up to 100 %. The number on top is the smoothed classifier's "
                "confidence, its largest bar, minus the unsmoothed one's, in percentage points. "
                "Entropy measures how spread out a distribution is. " + measured(evaluation),
                elem_classes="hint",
            )

    def redraw(prediction: Prediction | None, cure: str, shown: str, axis: str) -> tuple[Any, Any]:
        if prediction is None:
            return EMPTY, gr.update(value=None, visible=False)
        both = cures.apply(cure, prediction.logits)
        records = [record.sentence for record in cures.track_records(cure, prediction.logits)]
        text = summary(both, labels, records)
        if changed := changes(cures, cure, prediction.logits):
            text += f'<div class="changed">{changed}</div>'
        plot = figures.distributions(
            both,
            BREEDS,
            labels,
            top=TOP_BREEDS if shown == TOP else None,
            logarithmic=axis == LOGARITHMIC,
        )
        return text, gr.update(value=plot, visible=True)

    def show(photo: bytes | None, cure: str, shown: str, axis: str) -> tuple[Any, ...]:
        prediction = None if photo is None else classify(pair, photo)
        drawn = redraw(prediction, cure, shown, axis)
        if prediction is None:  # the photo was taken away
            return None, None, None, *drawn
        return prediction, prediction.features, softmax(prediction.logits), *drawn

    settings = [cure, shown, axis]
    photo.change(
        show,
        [photo, *settings],
        [state, features, probabilities, verdict, figure],
        api_visibility="private",
        trigger_mode="always_last",
        show_progress_on=[verdict],
    )
    gr.on(
        [setting.change for setting in settings],
        redraw,
        [state, *settings],
        [verdict, figure],
        api_visibility="private",
        trigger_mode="always_last",
        show_progress="hidden",
    )

    sent = PhotoInput(label="photo", visible=False)
    answer = gr.JSON(label="both classifiers", visible=False)
    gr.Button(visible=False).click(
        lambda photo: for_programs(classify(pair, photo)),
        sent,
        answer,
        api_name="classify",
        api_description="Classify a photo of a cat or dog with both classifiers: for each its "
        "breed, its confidence and the probabilities of all 37 breeds.",
    )
    return PhotoStates(features, probabilities)
