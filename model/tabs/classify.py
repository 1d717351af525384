"""The Classify tab: a photo, both distributions, and the difference in confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import gradio as gr
from gradio.context import Context
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from model import samples
from model.calibration import softmax
from model.calibrators import CURES, NONE, Cures
from model.checkpoint import MEAN, PAIR
from model.classifier import Pair, Prediction, open_photo
from model.evaluate import Evaluation
from model.pets import BREEDS
from model.report import CURE_LABELS
from model.samples import Example, examples
from model.tabs import language as words
from model.tabs.language import fixed, say
from model.tabs.page import remember
from model.tabs.photo_input import PhotoInput
from model.tabs.verdict import (
    ALL,
    LINEAR,
    LOGARITHMIC,
    TOP,
    distributions,
    empty,
    measured,
    noted,
    verdict_of,
)

PRIVATE: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "always_last"}
QUICK: dict[str, Any] = PRIVATE | {"show_progress": "hidden", "concurrency_id": "redraw"}
DRAWERS = 8  # at once; they wait for the Hub, not for the processor


class Drawn(NamedTuple):
    """The test photo that was drawn last, known by its content."""

    digest: str
    name: str
    breed: str


@dataclass(frozen=True)
class PhotoStates:
    """What other tabs may read of the photo that stands here: ``None``, or arrays."""

    features: gr.State  # (2, D) penultimate activations
    probabilities: gr.State  # (2, 37), as trained


def digest(photo: bytes) -> str:
    """The same for the same file, and for no other."""
    return sha256(photo).hexdigest()


def no_photo(language: str, sentence: str) -> gr.Error:
    """What the page shows instead of an answer; ``sentence`` in the visitor's language."""
    return gr.Error(sentence, title=say(language, "No photo"), print_exception=False)


def predict(pair: Pair, photo: bytes | None, language: str = words.ENGLISH) -> Prediction:
    """Both classifiers on an uploaded photo; ``gr.Error`` with one sentence if it is none."""
    if photo is None:
        raise no_photo(
            language,
            say(language, "There is no photo yet: upload one, paste one or use the camera."),
        )
    try:
        return pair(open_photo(photo, pair.image_size))
    except ValueError as error:
        raise no_photo(language, words.retold(language, str(error))) from error


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


def served(photo: bytes, name: str) -> str:
    """A file with the photo, where Gradio serves files from and deletes them later."""
    return save_bytes_to_cache(photo, name, get_upload_folder())


def build(pair: Pair, evaluation: Evaluation | None, cures: Cures | None) -> PhotoStates:
    """The tab's content, and the endpoint `/classify`, inside an open ``gr.Tab``.

    The first example stands there, classified, when the page opens. Without the evaluation there
    are no cures and no words on what a confidence was worth.
    """
    offered = examples()
    opening = offered[0]
    opened = predict(pair, opening.path.read_bytes())
    predictions = {digest(opening.path.read_bytes()): opened}
    notes = {digest(example.path.read_bytes()): example.note for example in offered}
    both, english = verdict_of(opened, pair, cures, NONE, "en")

    language = words.current()
    state: gr.State = gr.State(opened)
    features: gr.State = gr.State(opened.features)
    probabilities: gr.State = gr.State(softmax(opened.logits))
    drawn: gr.State = gr.State(None)  # a ``Drawn``, whether it stands here or not
    standing: gr.State = gr.State(digest(opening.path.read_bytes()))  # "" if there is no photo
    with gr.Row(equal_height=False, elem_id="classify"):
        with gr.Column(scale=2, min_width=280):
            photo = PhotoInput(
                str(opening.path),
                label=fixed("Your photo of a cat or dog"),
                sources=["upload", "webcam", "clipboard"],
                height=300,
                buttons=["fullscreen"],
                elem_id="photo",
            )
            note = gr.HTML(
                words.both(noted(opening.note), noted(say("zh", opening.note))), elem_id="note"
            )
            clickable = gr.Examples(
                [[str(example.path)] for example in offered],
                photo,
                label=fixed("No pet at hand? A cat, two animals that are no pets, two things"),
                elem_id="examples",
                api_visibility="private",
            ).dataset
            draw = gr.Button(fixed("A random test photo"), elem_id="draw", size="sm")
        with gr.Column(scale=3, min_width=320):
            verdict = gr.HTML(
                words.both(english, verdict_of(opened, pair, cures, NONE, "zh")[1]),
                elem_id="verdict",
            )
            figure = gr.Plot(
                distributions(both, pair, TOP, LINEAR, "en"),
                show_label=False,
                container=False,
                elem_id="distributions",
            )
            with gr.Row(elem_classes="controls"):
                cure = gr.Radio(
                    [(fixed(CURE_LABELS[key]), key) for key in CURES],
                    value=NONE,
                    label=fixed("Cure after training"),
                    info=fixed(
                        "Fitted on the whole test split: honest for your photo, flattering for a "
                        "test photo."
                    ),
                    min_width=300,
                    elem_id="cure",
                    visible=cures is not None,
                )
                shown = gr.Radio(
                    [(fixed("Top breeds"), TOP), (fixed("All 37"), ALL)],
                    value=TOP,
                    label=fixed("Show"),
                    min_width=150,
                )
                axis = gr.Radio(
                    [(fixed("Linear"), LINEAR), (fixed("Logarithmic"), LOGARITHMIC)],
                    value=LINEAR,
                    label=fixed("Axis"),
                    min_width=150,
                )
            if evaluation is not None:
                gr.Markdown(
                    fixed(
                        "**How to read this.** Each breed has two bars, one for each classifier; "
                        "over all breeds the bars of one colour add up to 100%. The number on top "
                        "is the smoothed classifier's confidence, its largest bar, minus the "
                        "unsmoothed one's, in percentage points. Entropy measures how spread out a "
                        "distribution is. Over all {photos:,} test photos, the unsmoothed one is "
                        "right on {right0:.1%} and {sure0:.1%} confident, the smoothed one is "
                        "right on {right1:.1%} and {sure1:.1%} confident.",
                        **measured(evaluation),
                    ),
                    elem_classes="hint",
                )
            gr.Markdown(
                fixed(
                    "**The two classifiers** are one network trained twice, on the same photos in "
                    "the same order. Only the target differed: all of it on the true breed "
                    "(ε = {first:g}), or a share ε = {second:g} of it spread over all {breeds} "
                    "breeds.",
                    first=pair.metadata[0].epsilon,
                    second=pair.metadata[1].epsilon,
                    breeds=len(BREEDS),
                ),
                elem_classes="hint",
            )
            if all(metadata.trunk == MEAN for metadata in pair.metadata):
                gr.Markdown(
                    fixed(
                        "After training, all layers before the last stage were replaced by the "
                        "mean of both, so that they run once for the two; then each got a new "
                        "head, fitted with its own target. The last stage and the head are each "
                        "classifier's own."
                    ),
                    elem_classes="hint",
                )

    def about(standing: str, drawn: Drawn | None, language: str) -> str:
        """What the page knows of the photo."""
        if drawn is None or drawn.digest != standing:
            return say(language, notes.get(standing, ""))
        return say(
            language,
            "True breed: {breed}. Test photo {name} of the Oxford-IIIT Pet dataset, CC BY-SA 4.0. "
            "Neither classifier was trained on it.",
            breed=say(language, drawn.breed),
            name=drawn.name,
        )

    def redraw(
        prediction: Prediction | None,
        standing: str,
        drawn: Drawn | None,
        cure: str,
        shown: str,
        axis: str,
        language: str,
    ) -> tuple[Any, Any, Any]:
        if prediction is None:
            return "", empty(language), gr.update(value=None, visible=False)
        both, text = verdict_of(prediction, pair, cures, cure, language)
        plot = distributions(both, pair, shown, axis, language)
        return noted(about(standing, drawn, language)), text, gr.update(value=plot, visible=True)

    def answer_to(photo: bytes | None, language: str) -> tuple[Any, ...]:
        if photo is None:  # it was taken away
            return None, "", None, None
        key = digest(photo)
        prediction = predictions.get(key)
        if prediction is None:
            prediction = predict(pair, photo, language)
            if key in notes:
                predictions[key] = prediction
        return prediction, key, prediction.features, softmax(prediction.logits)

    def draw_one(language: str) -> tuple[str, Drawn]:
        try:
            sample = samples.random_test_photo()
        except ValueError as error:
            raise no_photo(language, words.retold(language, str(error))) from error
        known = Drawn(digest(sample.content), sample.name, sample.breed)
        return served(sample.content, f"{sample.name}.jpg"), known

    settings = [cure, shown, axis]
    drawing = [state, standing, drawn, *settings, language]
    answers = [note, verdict, figure]
    # The answers are drawn by an event of its own, with the settings as they are by then: one that
    # changes while a photo is being classified is applied to that photo.
    photo.change(
        answer_to,
        [photo, language],
        [state, standing, features, probabilities],
        show_progress_on=[verdict],
        concurrency_limit=pair.engine.at_once,
        **PRIVATE,
    ).success(redraw, drawing, answers, **QUICK)
    gr.on(
        [setting.input for setting in settings] + [language.change],
        redraw,
        drawing,
        answers,
        **QUICK,
    )
    draw.click(
        draw_one,
        language,
        [photo, drawn],
        show_progress_on=[photo],
        concurrency_limit=DRAWERS,
        **PRIVATE,
    )
    reopen(photo, clickable, offered, settings, drawing, answers, redraw)

    def classify(photo: bytes | None) -> dict[str, dict[str, Any]]:
        """Classify a photo of a cat or dog with two classifiers that differ in label smoothing.

        One was trained on one-hot targets, one with label smoothing. They know 37 breeds of cats
        and dogs and nothing else: whatever the photo shows, each names one of these breeds.

        Args:
            photo: a photo of a cat or dog, for example a JPEG or PNG, uploaded or as a data URI
                (data:image/jpeg;base64,…); addresses of other hosts are not fetched.

        Returns:
            For "unsmoothed" and "smoothed": the most probable "breed", its probability
            ("confidence"), and the "probabilities" of all 37 breeds.
        """
        return for_programs(predict(pair, photo))

    sent = PhotoInput(label="photo", visible=False)
    answer = gr.JSON(label="both classifiers", visible=False)
    gr.Button(visible=False).click(
        classify, sent, answer, api_name="classify", concurrency_limit=pair.engine.at_once
    )
    return PhotoStates(features, probabilities)


def reopen(
    photo: PhotoInput,
    clickable: gr.Dataset,
    offered: Sequence[Example],
    settings: Sequence[gr.Radio],
    drawing: Sequence[Any],
    answers: Sequence[Any],
    redraw: Any,
) -> None:
    """Keep the example and the settings in the page's address, and restore them from there."""
    keys = ("cure", "show", "axis")
    defaults = (NONE, TOP, LINEAR)
    choices = (CURES, (TOP, ALL), (LINEAR, LOGARITHMIC))

    def restore(
        request: gr.Request,
        prediction: Prediction | None,
        standing: str,
        drawn: Drawn | None,
        *rest: str,
    ) -> tuple[Any, ...] | dict[Any, Any]:
        language = rest[-1]
        wanted = [
            str(request.query_params.get(key)) if request.query_params.get(key) in known else start
            for key, known, start in zip(keys, choices, defaults, strict=True)
        ]
        name = request.query_params.get("photo")
        found = [example for example in offered[1:] if example.name == name]
        if not found and wanted == list(defaults) and language == words.ENGLISH:
            return gr.skip()
        redrawn = redraw(prediction, standing, drawn, *wanted, language)
        file = served(found[0].path.read_bytes(), found[0].path.name) if found else None
        return gr.update(value=file) if file else gr.skip(), *wanted, *redrawn

    root = Context.root_block
    if root is not None:
        root.load(
            restore,
            drawing,
            [photo, *settings, *answers],
            show_progress="hidden",
            api_visibility="private",
        )
    for key, setting, start in zip(keys, settings, defaults, strict=True):
        setting.input(None, setting, None, js=remember(key, start), api_visibility="private")
    clickable.click(
        None,
        clickable,
        None,
        js=remember("photo", offered[0].name, names=[example.name for example in offered]),
        api_visibility="private",
    )
    gr.on(
        [photo.upload, photo.clear],
        None,
        None,
        None,
        js=remember("photo", value=""),
        api_visibility="private",
    )
