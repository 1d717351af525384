"""The tab Train it yourself: a head at the visitor's own ε, the sweep over ε, the geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go
from gradio.context import Context

from model import head, report
from model.calibration import Floats, wilson
from model.checkpoint import PAIR
from model.evaluate import Evaluation
from model.figures import head as figures
from model.head import Bench, Measured, Point, Result, Settings
from model.pets import BREEDS
from model.tabs import language as words
from model.tabs.calibration import TABLE, enclosing_tab, html
from model.tabs.classify import PhotoStates
from model.tabs.language import fixed
from model.tabs.page import keep
from model.words import Say, english

CURVES = 2  # drawn before the last; each takes the browser time that the result then waits for
VISITORS = 4  # trainings at once; more wait a moment
LABELS = {"norm": "Norm of the logits", **{n: report.SCORES[n].label for n in head.SCORES}}
ROWS = (*head.SCORES, "norm")
ENDED = {
    "steps": "all its steps",
    "converged": "converged",
    "stopped early": "stopped early",
}
PRIVATE: dict[str, Any] = {"api_visibility": "undocumented", "show_progress": "hidden"}


@dataclass
class Visit:
    """What one visitor wants trained now; a run that finds something else here walks away."""

    wanted: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Shown:
    """A finished run, kept to be the next one's ghost."""

    backbone: str
    result: Result
    curve: tuple[Point, ...]


def settings_of(values: Sequence[Any], most_photos: int) -> Settings:
    """The controls' values as settings; ``gr.Error`` where a program sends one out of range."""
    epsilon, noise, photos, decay, dropout, stopping, steps, seed = values
    try:
        return Settings(
            epsilon=float(epsilon),
            noise=float(noise) / 100,
            photos=None if photos >= most_photos else int(photos),
            weight_decay=10.0 ** float(decay),
            dropout=float(dropout),
            early_stopping=bool(stopping),
            steps=int(steps),
            seed=int(seed),
        )
    except (ValueError, TypeError) as error:
        raise gr.Error(str(error)) from error


def bar(share: float, text: str) -> str:
    """A progress bar from 0 to 1, and a line below it."""
    percent = round(100 * share)
    return (
        f'<div class="head-progress" role="progressbar" aria-valuenow="{percent}" '
        f'aria-label="{escape(text)}">'
        f'<div style="width: {percent}%"></div></div><p class="head-status">{escape(text)}</p>'
    )


def ending(result: Result, say: Say = english) -> str:
    """How a run ended, in one line."""
    learned = say(
        "ε = {epsilon:g}: learned from {learned:,} photos, stopped by {watched:,} more, measured "
        "on {measured:,} others."
        if result.watched
        else "ε = {epsilon:g}: learned from {learned:,} photos, measured on {measured:,} others.",
        epsilon=result.settings.epsilon,
        learned=result.train.photos,
        watched=result.watched,
        measured=result.test.photos,
    )
    steps = say(
        " 1 step ({ended})." if result.steps == 1 else " {steps} steps ({ended}).",
        steps=result.steps,
        ended=say(ENDED[result.ended]),
    )
    kept = ""
    if result.kept < result.steps:
        kept = say(
            " Kept is the head of step {kept}, the best on the photos that stop it.",
            kept=result.kept,
        )
    return learned + steps + kept


def numbers(result: Result, ghost: Result | None, say: Say = english) -> report.Table:
    """The scores on both halves, with those of the run before in small print."""

    def cell(now: Measured, before: Measured | None, score: str) -> report.Cell:
        def text(measured: Measured) -> str:
            value = measured.scores[score]
            return f"{value:.1f}" if score == "norm" else report.number(score, value)

        return report.Cell(text(now), say("before {value}", value=text(before)) if before else "")

    table = report.Table(["", "Measured", "Learned from"])
    for score in ROWS:
        table.rows.append(
            [
                report.Cell(LABELS[score]),
                cell(result.test, ghost.test if ghost else None, score),
                cell(result.train, ghost.train if ghost else None, score),
            ]
        )
    return table


def curve(
    points: tuple[Point, ...],
    most: int,
    ghost: Shown | None,
    kept: int | None = None,
    say: Say = english,
) -> go.Figure:
    """The curve so far, or a whole one with the step that is kept."""

    def columns(curve: tuple[Point, ...]) -> tuple[list[int], list[float], list[float]]:
        return [p.step for p in curve], [p.train for p in curve], [p.test for p in curve]

    before = columns(ghost.curve) if ghost else None
    return figures.curve(*columns(points), most, before, kept, say)


def diagrams(
    result: Result, ghost: Result | None, say: Say = english
) -> tuple[go.Figure, go.Figure]:
    """The reliability diagram and the confidence histogram."""
    bins, train = result.test.reliability(), result.train.reliability()
    before = ghost.test.reliability() if ghost else None
    reliability = figures.reliability(
        bins,
        wilson(bins.accuracy * bins.photos, bins.photos),
        (train.confidence, train.accuracy),
        (before.confidence, before.accuracy) if before else None,
        say,
    )
    histogram = figures.confidences(
        result.train.histogram(),
        result.test.histogram(),
        ghost.test.histogram() if ghost else None,
        say,
    )
    return reliability, histogram


def sweep_words(swept: head.Sweep, backbone: str, say: Say = english) -> str:
    """At which settings the sweep was made, and what it found."""
    s = swept.settings
    conditions = [
        say("{name} backbone", name=say(backbone)),
        say("{share:.0%} label noise", share=s.noise),
        say("all photos")
        if s.photos is None
        else say("{photos} photos per breed", photos=s.photos),
        say("weight decay {decay:.1g}", decay=s.weight_decay),
    ]
    conditions += [say("dropout {share:g}", share=s.dropout)] if s.dropout else []
    conditions += [say("Early stopping").lower()] if s.early_stopping else []
    return f"**{head.sweep_sentence(swept, say)}** ({', '.join(conditions)})"


def sweep_figure(swept: head.Sweep, say: Say = english) -> go.Figure:
    """Error, NLL and ECE against ε."""
    return figures.sweep(
        swept.epsilons,
        [
            (say(LABELS[score]), swept.mean(score), swept.sd(score), report.SCORES[score].percent)
            for score in head.SWEPT
        ],
        say,
    )


def geometry(
    evaluation: Evaluation, language: str, *chosen: int
) -> tuple[str, go.Figure, go.Figure]:
    """What the clusters of three breeds measure, and both classifiers' pictures of them."""
    say = words.speaker(language)
    indices = [int(breed) for breed in chosen]
    try:
        first, second = (
            head.project(evaluation, k, (indices[0], indices[1], indices[2])) for k in (0, 1)
        )
    except ValueError as error:
        raise gr.Error(words.retold(language, str(error)), title=say("No picture")) from error
    names = {index: say(BREEDS[index]) for index in indices}
    left, right = (
        figures.projection(p.points, p.labels, list(p.names), names, name, say)
        for p, name in zip((first, second), PAIR, strict=True)
    )
    return head.geometry_sentence((first, second), say), left, right


def build(evaluation: Evaluation, states: PhotoStates | None = None) -> None:
    """Lay out the tab and wire it; nothing is trained before the tab is first opened.

    Args:
        evaluation: both classifiers on the test split.
        states: the photo that stands on the Classify tab.
    """
    tab = enclosing_tab()
    root = Context.root_block

    @lru_cache(maxsize=len(PAIR))
    def bench(backbone: str) -> Bench:
        return Bench(evaluation.penultimate[PAIR.index(backbone)], evaluation.labels)

    learned, measured = head.halves_of(evaluation.labels)
    most = int(np.bincount(evaluation.labels[learned]).max())
    visit, shown, swept_last, drawn_in = (
        gr.State(Visit()),
        gr.State(None),
        gr.State(None),
        gr.State(""),  # in which language the clusters are drawn
    )
    language = words.current()
    nobody: gr.State = gr.State(None)
    features = states.features if states else nobody
    released = states.probabilities if states else nobody

    gr.Markdown(
        fixed(
            "## Train the last layer at your own ε\n"
            "Move a slider: while it moves, and when you let go, a new linear layer of {breeds} "
            "classes is trained on the frozen activations before it. The backbone learned from the "
            "trainval photos, so its new head learns from {learned:,} *test* photos, a fixed half "
            "stratified by breed, and is measured on the other {measured:,}.",
            breeds=len(BREEDS),
            learned=len(learned),
            measured=len(measured),
        )
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            epsilon = gr.Slider(
                0, head.MOST_EPSILON, 0.1, step=0.01, label=fixed("Label smoothing ε")
            )
            noise = gr.Slider(
                0,
                100 * head.MOST_NOISE,
                0,
                step=1,
                label=fixed("Label noise, % of training labels"),
            )
            photos = gr.Slider(
                head.FEWEST,
                most,
                most,
                step=1,
                label=fixed("Training photos per breed ({most}: all)", most=most),
            )
            with gr.Accordion(fixed("Other regularisers, steps, seed, backbone"), open=False):
                decay = gr.Slider(
                    -5, 0, -3, step=0.5, label=fixed("Weight decay, as a power of ten")
                )
                dropout = gr.Slider(
                    0,
                    head.MOST_DROPOUT,
                    0,
                    step=0.05,
                    label=fixed("Dropout"),
                    info=fixed(
                        "Of the rotated activations. Adam instead of L-BFGS: give it more steps."
                    ),
                )
                stopping = gr.Checkbox(
                    False,
                    label=fixed("Early stopping"),
                    info=fixed(
                        "On {share:.0%} of the training photos, by their NLL.",
                        share=head.VALIDATION_SHARE,
                    ),
                )
                steps = gr.Slider(
                    1, 200, Settings.steps, step=1, label=fixed("Optimiser steps, at most")
                )
                seed = gr.Slider(
                    0,
                    99,
                    0,
                    step=1,
                    label=fixed("Seed"),
                    info=fixed(
                        "Of the noise, the choice of photos, dropout and the validation photos. "
                        "The loss is convex: without any of these, all seeds agree."
                    ),
                )
                backbone = gr.Radio(
                    [(fixed(name.capitalize()), name) for name in PAIR],
                    value=PAIR[0],
                    label=fixed("Activations of the backbone"),
                )
        with gr.Column(scale=3, min_width=320):
            status = gr.HTML()
            table = gr.HTML(elem_id="head-numbers", **TABLE)
            loss = gr.Plot(show_label=False, elem_id="head-curve")
    with gr.Row():
        reliability = gr.Plot(show_label=False, min_width=280, elem_id="head-reliability")
        histogram = gr.Plot(show_label=False, min_width=280, elem_id="head-histogram")
    gr.Markdown(
        fixed(
            "**How to read this.** Solid and filled is what counts, the photos *measured*; dashed "
            "are the photos *learned from*, against the labels it was given, noise included. The "
            "gap between the two is overfitting. Grey: your run before. The loss is what training "
            "minimises but for weight decay, so its curves at two ε cannot be compared; NLL can."
        ),
        elem_classes="hint",
    )
    photo_title = gr.Markdown(visible=False)
    photo = gr.Plot(show_label=False, visible=False, elem_id="head-photo")
    photo_hint = gr.Markdown(
        fixed(
            "**How to read this.** The breeds that any of the three finds most probable, a bar "
            "each: both released classifiers as trained, and your head on the activations of the "
            "backbone chosen above. It learned from at most half as many photos as they did."
        ),
        visible=False,
        elem_classes="hint",
    )

    gr.Markdown(fixed("## Which ε should I use?"))
    gr.Markdown(
        fixed(
            "A head for every ε from 0 to {most:g}, {seeds} seeds each, at the other settings "
            "above. Every seed draws new halves of the same test photos too: the band says what "
            "another halving would have changed, which is less than other photos would.",
            most=head.EPSILONS[-1],
            seeds=head.SEEDS,
        )
    )
    with gr.Row():
        sweep = gr.Button(fixed("Sweep"), variant="primary", min_width=120)
        stop = gr.Button(fixed("Stop"), min_width=120)
    sweep_status = gr.HTML()
    sweep_text = gr.Markdown()
    sweep_plot = gr.Plot(show_label=False, visible=False, elem_id="head-sweep")
    gr.Markdown(
        fixed(
            "**How to read this.** Each line is the mean over the seeds, its band one standard "
            "deviation to both sides, the star the lowest mean. The sentence above compares the ε "
            "seed by seed, on the same halves: it decides, not whether bands overlap."
        ),
        elem_classes="hint",
    )
    sweep_table = gr.HTML(elem_id="head-sweep-table", **TABLE)

    gr.Markdown(fixed("## What smoothing does to the activations"))
    begin = head.telling_breeds(evaluation)
    with gr.Row():
        chosen = [
            gr.Dropdown(
                [(fixed(breed), k) for k, breed in enumerate(BREEDS)],
                value=i,
                label=fixed(f"Breed {n}"),
                min_width=200,
            )
            for n, i in enumerate(begin, start=1)
        ]
    geometry_text = gr.Markdown()
    with gr.Row():
        clusters = [
            gr.Plot(show_label=False, min_width=280, elem_id=f"activations-{name}") for name in PAIR
        ]
    gr.Markdown(
        fixed(
            "**How to read this.** Each dot is a test photo, as the last layer receives it, on the "
            "plane through the three breeds' templates (their rows of the released head's "
            "weights); crosses are the breeds' means. It is figure 1 of [Müller, Kornblith & "
            "Hinton 2019](https://arxiv.org/abs/1906.02629) for our pair, without their training "
            "photos: only test activations are kept. Each picture has its own scale. The breeds to "
            "begin with are the two that the classifiers confuse most (by the mean probability "
            "that photos of one give the other), and one far from both."
        ),
        elem_classes="hint",
    )

    controls: list[Any] = [epsilon, noise, photos, decay, dropout, stopping, steps, seed]
    keys = ("epsilon", "noise", "photos", "decay", "dropout", "stopping", "steps", "seed")
    keep(dict(zip(keys, controls, strict=True)) | {"backbone": backbone})
    keep({f"breed{n}": breed for n, breed in enumerate(chosen, start=1)})

    def photo_updates(
        run: Shown, features: Floats | None, released: Floats | None, say: Say
    ) -> dict[Any, Any]:
        if features is None or released is None:
            return dict.fromkeys((photo, photo_title, photo_hint), gr.update(visible=False))
        k = PAIR.index(run.backbone)
        own = head.probabilities_of(run.result.head, evaluation.penultimate[k], features[k])
        own_name = say("your head (ε = {epsilon:g})", epsilon=run.result.settings.epsilon)
        figure = figures.photo(
            np.stack([*released, own]),
            [say(breed) for breed in BREEDS],
            [*map(say, PAIR), own_name],
        )
        title = say("## The photo on the Classify tab, under your head")
        return {
            photo: gr.update(value=figure, visible=True),
            photo_title: gr.update(value=title, visible=True),
            photo_hint: gr.update(visible=True),
        }

    def train(
        visit: Visit,
        ghost: Shown | None,
        features: Floats | None,
        released: Floats | None,
        language: str,
        backbone: str,
        *values: Any,
    ) -> Iterator[dict[Any, Any]]:
        settings = settings_of(values, most)
        mine = visit.wanted = (language, backbone, *values)
        say = words.speaker(language)
        drawings = 0
        for progress in head.run(bench(backbone), settings):
            if visit.wanted != mine:
                return
            if progress is None:
                continue
            if progress.result is None:
                share = progress.step / settings.steps
                update: dict[Any, Any] = {
                    status: bar(
                        share,
                        say("Step {step} of {steps} …", step=progress.step, steps=settings.steps),
                    )
                }
                if share >= drawings / CURVES:
                    drawings += 1
                    update[loss] = curve(progress.curve, settings.steps, ghost, say=say)
                yield update
                continue
            run = Shown(backbone, progress.result, progress.curve)
            yield finished(run, ghost, language) | photo_updates(run, features, released, say)

    def finished(run: Shown, ghost: Shown | None, language: str) -> dict[Any, Any]:
        say, result = words.speaker(language), run.result
        before = ghost.result if ghost else None
        calibrated, confident = diagrams(result, before, say)
        return {
            shown: run,
            status: bar(1, ending(result, say)),
            table: html(numbers(result, before, say), language),
            loss: curve(run.curve, result.steps, ghost, result.kept, say),
            reliability: calibrated,
            histogram: confident,
        }

    def first(
        visit: Visit,
        ghost: Shown | None,
        features: Floats | None,
        released: Floats | None,
        language: str,
        *values: Any,
    ) -> Iterator[dict[Any, Any]]:
        if ghost is None:
            yield from train(visit, ghost, features, released, language, *values)
        else:
            yield photo_updates(ghost, features, released, words.speaker(language))

    def want(visit: Visit, *values: Any) -> None:
        visit.wanted = values

    inputs: list[Any] = [visit, shown, features, released, language, backbone, *controls]
    outputs: list[Any] = [shown, status, table, loss, reliability, histogram]
    outputs += [photo, photo_title, photo_hint]
    training: dict[str, Any] = PRIVATE | {"concurrency_id": "head", "concurrency_limit": VISITORS}
    opened = tab.select if tab is not None else root.load if root is not None else None
    if opened is None:
        raise ValueError("Call build inside a gr.Blocks context.")
    opened(first, inputs, outputs, api_name="head_first", **training)
    # While the slider moves, one head is trained after another, each at the latest setting; letting
    # go ends at once the one under way, unless it is already at the setting that is wanted.
    gr.on(
        [control.change for control in (*controls, backbone)],
        train,
        inputs,
        outputs,
        api_name="head_train",
        trigger_mode="always_last",
        **training,
    )
    gr.on(
        [control.release for control in controls if isinstance(control, gr.Slider)],
        want,
        [visit, language, backbone, *controls],
        None,
        queue=False,
        trigger_mode="multiple",
        api_visibility="private",
        show_progress="hidden",
    )

    def sweep_all(language: str, backbone: str, *values: Any) -> Iterator[dict[Any, Any]]:
        settings, say = settings_of(values, most), words.speaker(language)
        penultimate = evaluation.penultimate[PAIR.index(backbone)]
        before = -1.0
        for share, swept in head.sweep(penultimate, evaluation.labels, settings):
            if swept is not None:
                yield {sweep_status: "", swept_last: (swept, backbone)} | sweep_updates(
                    swept, backbone, language
                )
            elif share > before:
                before = share
                total = len(head.EPSILONS) * head.SEEDS
                text = say("{done} of {total} heads …", done=round(share * total), total=total)
                yield {sweep_status: bar(share, text)}

    def sweep_updates(swept: head.Sweep, backbone: str, language: str) -> dict[Any, Any]:
        say = words.speaker(language)
        return {
            sweep_text: sweep_words(swept, backbone, say),
            sweep_plot: gr.update(value=sweep_figure(swept, say), visible=True),
            sweep_table: html(head.sweep_table(swept), language),
        }

    sweeping = sweep.click(
        sweep_all,
        [language, backbone, *controls],
        [sweep_status, swept_last, sweep_text, sweep_plot, sweep_table],
        api_name="head_sweep",
        concurrency_limit=2,
        **PRIVATE,
    )
    stop.click(
        lambda: "", None, sweep_status, cancels=[sweeping], queue=False, api_visibility="private"
    )

    def draw_clusters(
        drawn: str, language: str, *breeds: int
    ) -> tuple[str, str, go.Figure, go.Figure] | dict:
        if drawn == language:
            return gr.skip()
        return language, *geometry(evaluation, language, *breeds)

    def again(
        run: Shown | None,
        swept: tuple[head.Sweep, str] | None,
        drawn: str,
        features: Floats | None,
        released: Floats | None,
        language: str,
        *breeds: int,
    ) -> dict[Any, Any]:
        """All of it in a language that was chosen later."""
        updates: dict[Any, Any] = {}
        if run is not None:
            updates |= finished(run, None, language)
            updates |= photo_updates(run, features, released, words.speaker(language))
        if swept is not None:
            updates |= sweep_updates(*swept, language)
        if drawn:
            clustered = draw_clusters("", language, *breeds)
            updates |= dict(zip((drawn_in, geometry_text, *clusters), clustered, strict=True))
        return updates or gr.skip()

    language.change(
        again,
        [shown, swept_last, drawn_in, features, released, language, *chosen],
        [*outputs, sweep_text, sweep_plot, sweep_table, drawn_in, geometry_text, *clusters],
        api_name="head_language",
        **PRIVATE,
    )

    opened(
        draw_clusters,
        [drawn_in, language, *chosen],
        [drawn_in, geometry_text, *clusters],
        api_name="head_geometry",
        **PRIVATE,
    )
    gr.on(
        [breed.change for breed in chosen],
        lambda language, *breeds: geometry(evaluation, language, *breeds),
        [language, *chosen],
        [geometry_text, *clusters],
        api_name="head_breeds",
        trigger_mode="always_last",
        **PRIVATE,
    )
