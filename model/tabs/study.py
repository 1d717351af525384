"""The end of the Calibration tab: what ε does to a network that is fine-tuned as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import plotly.graph_objects as go
from gradio.context import Context

from model import report, study
from model.figures import study as figures
from model.figures.study import Line, Panel
from model.study import ROWS, Study
from model.tabs import language as words
from model.tabs.calibration import PRIVATE, TABLE, enclosing_tab, html
from model.tabs.language import fixed
from model.words import Say, english


def mistakes(measured: Study, say: Say = english) -> go.Figure:
    """Over ε, how many answers are wrong, and how well confidence ranks them."""
    panels = [
        Panel(name, [Line(name, measured.values[score])], percent=report.SCORES[score].percent)
        for score, name in (("error", say("Wrong")), ("aurc", say("AURC")))
    ]
    return figures.scores(measured.epsilons, measured.seeds, panels, say)


def calibration(measured: Study, say: Say = english) -> go.Figure:
    """Over ε, NLL and ECE, before and after a temperature."""
    panels = []
    for score, name, cured in (
        ("nll", say("NLL"), say("NLL after a temperature")),
        ("ece", say("ECE"), say("ECE after a temperature")),
    ):
        before = Line(name, measured.values[score], say("as trained"))
        after = Line(cured, measured.values[f"{score}_cured"], say("after a temperature"), True)
        panels.append(Panel(name, [before, after], from_zero=True))
    return figures.scores(measured.epsilons, measured.seeds, panels, say)


def build(path: Path = ROWS) -> None:
    """Lay out the section and wire it, or say why it cannot be shown.

    Args:
        path: the rows of the study.
    """
    gr.Markdown(fixed("## What ε does to a whole network"))
    try:
        measured = study.load(path)
    except ValueError as error:
        gr.Markdown(words.both(str(error), words.retold(words.CHINESE_CODE, str(error))))
        return
    tab = enclosing_tab()
    root = Context.root_block
    drawn = gr.State("")  # in which language
    language = words.current()

    gr.Markdown(
        fixed(
            "A ResNet-18, fine-tuned as a whole at each ε with {seeds} seeds: {head} + {whole} "
            "epochs (the head alone, then everything) on crops of {size} pixels, measured on the "
            "test photos. At one seed all ε saw the same photos and crops in the same batches. It "
            "is not the pair above: compare its numbers with one another.",
            seeds=len(measured.seeds),
            head=study.RECIPE["head-epochs"],
            whole=study.RECIPE["epochs"],
            size=study.RECIPE["size"],
        )
    )
    verdict = gr.Markdown(elem_id="study-verdict")
    with gr.Row():
        plots = [
            gr.Plot(show_label=False, min_width=260, elem_id=f"study-{name}")
            for name in ("mistakes", "calibration")
        ]
    gr.Markdown(
        fixed(
            "**How to read this.** Each dot is a trained network, each line joins the means over "
            "the seeds; lower is better. Solid and filled: as trained. Dashed and hollow: after a "
            "temperature that was fitted on the other half of the test photos. Each panel has its "
            "own scale, and those of Wrong and AURC need not begin at 0."
        ),
        elem_classes="hint",
    )
    table = gr.HTML(elem_id="study-table", **TABLE)
    gr.Markdown(
        fixed(
            "**How to read this.** Mean ± standard deviation over {seeds} seeds, which is all that "
            "the deviation rests on. Cured: after that temperature. Marked: the lowest mean, and "
            "of confidence − accuracy the one closest to 0.",
            seeds=len(measured.seeds),
        ),
        elem_classes="hint",
    )

    def draw(drawn: str, language: str) -> tuple[str, str, go.Figure, go.Figure, str] | dict:
        if drawn == language:
            return gr.skip()
        say = words.speaker(language)
        return (
            language,
            f"**{study.on_error(measured, say)}** {study.on_calibration(measured, say)}",
            mistakes(measured, say),
            calibration(measured, say),
            html(study.table(measured), language),
        )

    def again(drawn: str, language: str) -> tuple[str, str, go.Figure, go.Figure, str] | dict:
        """All of it in a language that was chosen later."""
        return draw(drawn, language) if drawn else gr.skip()

    opened = tab.select if tab is not None else root.load if root is not None else None
    if opened is None:
        raise ValueError("Call build inside a gr.Blocks context.")
    shown: list[Any] = [drawn, verdict, *plots, table]
    opened(draw, [drawn, language], shown, api_name="study", **PRIVATE)
    language.change(again, [drawn, language], shown, api_name="study_language", **PRIVATE)
