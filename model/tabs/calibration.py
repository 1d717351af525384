"""The Calibration tab: what a confidence is worth, and what repairs it."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
import plotly.graph_objects as go
from gradio.blocks import BlockContext
from gradio.context import Context

from model import calibration, report
from model.calibration import Bins, wilson
from model.calibrators import CURES, NONE, Cures
from model.evaluate import PAIR, Evaluation
from model.figures import calibration as figures
from model.figures import style
from model.pets import HALVES_SEED
from model.report import CURE_LABELS, RANKINGS, Lab, Table
from model.tabs import chinese_story
from model.tabs import language as words
from model.tabs.language import fixed, say
from model.tabs.page import keep
from model.words import Say, english

WIDTH, MASS = "width", "mass"
DECLINED = 10  # percent, when the page opens
NAMES = tuple(name.capitalize() for name in PAIR)
PRIVATE: dict[str, Any] = {
    "api_visibility": "undocumented",
    "show_progress": "hidden",
    "queue": True,
}
COUNTING = {"show_progress": "minimal"}  # what may take a second, at least the first time

TABLE_STYLE = """
table { border-collapse: collapse; width: 100%; font-size: 0.95rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem; text-align: right; vertical-align: top; line-height: 1.3;
  border-bottom: 1px solid var(--border-color-primary); color: var(--body-text-color); }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
small { display: block; font-size: 0.78em; opacity: 0.8; }
td.marked > span { font-weight: 700; padding: 0 0.3em; border-radius: 0.3em; margin-right: -0.3em;
  background: color-mix(in srgb, var(--color-accent) 28%, transparent); }
@media (max-width: 640px) {
  table { font-size: 0.74rem; }
  th, td { padding: 0.3rem 0.1rem; }
}
"""


TABLE: dict[str, Any] = {"css_template": TABLE_STYLE, "apply_default_css": False}


def html(table: Table, language: str = words.ENGLISH) -> str:
    """A table of the report in HTML, its words in the language where they are known."""
    to = say(language, " to ")
    head = "".join(
        f'<th scope="col">{escape(say(language, text)) or "&nbsp;"}</th>' for text in table.header
    )
    body = ""
    for row in table.rows:
        body += "<tr>"
        for cell in row:
            opening = '<td class="marked">' if cell.marked else "<td>"
            narrow = escape(say(language, cell.small))
            narrow = narrow.replace(" to ", to.rstrip() + "&nbsp;")  # an interval breaks once
            small = f"<small>{narrow}</small>" if cell.small else ""
            body += f"{opening}<span>{escape(say(language, cell.text))}</span>{small}</td>"
        body += "</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def diagram(bins: Bins, classifier: int, say: Say) -> go.Figure:
    """One classifier's reliability diagram."""
    low, high = wilson(bins.accuracy * bins.photos, bins.photos)
    return figures.reliability(
        *bins,
        low,
        high,
        title=say(NAMES[classifier]),
        color=style.COLORS[PAIR[classifier]],
        say=say,
    )


def diagrams(
    lab: Lab, cure: str, bins: float, binning: str, say: Say = english
) -> tuple[go.Figure, go.Figure]:
    """Both reliability diagrams."""
    first, second = lab.reliability(cure, int(bins), binning == MASS)
    return diagram(first, 0, say), diagram(second, 1, say)


def histograms(lab: Lab, cure: str, say: Say = english) -> tuple[go.Figure, go.Figure]:
    """Both confidence histograms."""
    first, second = (
        figures.histogram(*counts, title=say(title), color=color, say=say)
        for counts, title, color in zip(
            lab.histogram(cure), NAMES, style.COLORS.values(), strict=True
        )
    )
    return first, second


def declining(lab: Lab, percent: float, language: str = words.ENGLISH) -> tuple[str, go.Figure]:
    """What is left wrong when a percentage is declined, and the curves with that place marked."""
    risks = [[lab.ranking(k, by).risk for by in RANKINGS] for k in (0, 1)]
    share = percent / 100
    told = words.speaker(language)
    return (
        html(report.decline_table(lab, share), language),
        figures.risk_coverage(
            risks,
            [told(name) for name in NAMES],
            [told(ranking) for ranking in RANKINGS],
            share,
            told,
        ),
    )


def enclosing_tab() -> gr.Tab | None:
    """The tab that is being built, if any."""
    block: BlockContext | None = Context.block
    while block is not None and not isinstance(block, gr.Tab):
        block = block.parent
    return block


def build(evaluation: Evaluation, cures: Cures | None = None) -> None:
    """Lay out the tab and wire it. Numbers are computed when the tab is first opened, and kept.

    Args:
        evaluation: both classifiers on the test split.
        cures: the cures of it, to share the fits with the Classify tab.
    """
    lab = Lab(evaluation, cures)
    tab = enclosing_tab()
    root = Context.root_block
    drawn, written = gr.State(""), gr.State("")  # in which language
    language = words.current()

    gr.Markdown(fixed("## What is a confidence worth?"))
    story = gr.Markdown(fixed("Measuring both classifiers on the test photos …"))
    with gr.Accordion(fixed("All scores, with 95% bootstrap intervals"), open=True):
        scores = gr.HTML(**TABLE)
        gr.Markdown(
            fixed(
                "**How to read this.** Lower is better, but for mean confidence, and confidence − "
                "accuracy, which should be 0. Small print: what the score is, and the interval "
                "that {resamples:,} bootstrap resamples give it. Marked: lower than the other "
                "classifier's by more than chance explains (95%, resampled in pairs). NLL is the "
                "mean of −log of the true breed's probability; ECE, the expected calibration "
                "error, the mean gap between confidence and share right, over bins of confidence; "
                "AURC, the area under the risk–coverage curve, the mean share wrong when the least "
                "confident answers are declined, over all shares declined.",
                resamples=calibration.RESAMPLES,
            ),
            elem_classes="hint",
        )

    gr.Markdown(fixed("## Does it keep its word?"))
    with gr.Row():
        cure = gr.Radio(
            [(fixed(CURE_LABELS[key]), key) for key in CURES],
            value=NONE,
            label=fixed("Cure after training"),
            scale=4,
            min_width=280,
        )
        bins = gr.Slider(1, 50, calibration.BINS, step=1, label=fixed("Bins"), scale=2)
        binning = gr.Radio(
            [(fixed("Equal width"), WIDTH), (fixed("Equal mass"), MASS)],
            value=WIDTH,
            label=fixed("Bins of"),
            scale=3,
        )
    with gr.Row():
        reliability = [
            gr.Plot(show_label=False, min_width=260, elem_id=f"reliability-{name}") for name in PAIR
        ]
    gr.Markdown(
        fixed(
            "**How to read this.** Of the answers given with a confidence of 80%, 80% should be "
            "right: the dotted diagonal. Below it the classifier is over-confident, above it "
            "under-confident. The shaded band is each bin's 95% Wilson interval: a bin whose band "
            "touches the diagonal is no evidence of either. Below: how many photos each bin holds. "
            "A cure is fitted on one half of the test photos and shown on the other, both ways "
            "round."
        ),
        elem_classes="hint",
    )
    with gr.Row():
        histogram = [
            gr.Plot(show_label=False, min_width=260, elem_id=f"confidences-{name}") for name in PAIR
        ]
    gr.Markdown(
        fixed(
            "**How to read this.** The confidence of right answers above, of wrong answers below, "
            "each on its own scale. The further apart the two heaps, the better confidence warns "
            "of mistakes."
        ),
        elem_classes="hint",
    )

    gr.Markdown(fixed("## Which cure?"))
    tables = []
    for name in NAMES:
        gr.Markdown(fixed(f"**{name}**"))
        tables.append(gr.HTML(**TABLE))
    gr.Markdown(fixed("**Both ways round**"))
    tables.append(gr.HTML(**TABLE))
    first, second = (len(half) for half in lab.cures.halves)
    gr.Markdown(
        fixed(
            "**How to read this.** Half A has {first:,} test photos, half B {second:,}: stratified "
            "by breed, seed {seed}. A → B: fitted on half A, reported on half B. Marked: the "
            "lowest NLL of the four. A temperature divides the logits and never changes an answer; "
            "Platt scaling and isotonic regression bend each breed's probability by itself, so "
            "they may. Small print: 95% bootstrap intervals, the fits kept as they are.",
            first=first,
            second=second,
            seed=HALVES_SEED,
        ),
        elem_classes="hint",
    )

    gr.Markdown(fixed("## If it may decline some photos"))
    declined = gr.Slider(0, 50, DECLINED, step=1, label=fixed("It may decline … % of the photos"))
    remainder = gr.HTML(**TABLE)
    curves = gr.Plot(show_label=False, elem_id="risk-coverage")
    gr.Markdown(
        fixed(
            "**How to read this.** The classifier answers the photos it ranks highest and declines "
            "the rest; the lower a curve, the fewer of its answers are wrong. Solid: ranked by "
            "confidence. Dashed: by normalised logits, the largest centred logit over the p-norm "
            "of them all ([Cattelan & Silva 2024](https://arxiv.org/abs/2305.15508)), which mends "
            "the harm that label smoothing can do here "
            "([Xia et al. 2025](https://arxiv.org/abs/2403.14715)); p is chosen on the other half, "
            "where confidence itself may win. Dotted: your slider."
        ),
        elem_classes="hint",
    )

    def recure(
        cure: str, bins: float, binning: str, language: str
    ) -> tuple[go.Figure, go.Figure, go.Figure, go.Figure]:
        told = words.speaker(language)
        return *diagrams(lab, cure, bins, binning, told), *histograms(lab, cure, told)

    def draw(
        drawn: str, cure: str, bins: float, binning: str, language: str
    ) -> tuple[str, go.Figure, go.Figure, go.Figure, go.Figure] | dict:
        if drawn == language:
            return gr.skip()
        return language, *recure(cure, bins, binning, language)

    def write(written: str, language: str) -> tuple[str, str, str, str, str, str] | dict:
        if written == language:
            return gr.skip()
        told = chinese_story.story if language == words.CHINESE_CODE else report.story
        return (
            language,
            "\n\n".join(told(lab)),
            html(report.score_table(lab), language),
            html(report.cure_table(lab, 0), language),
            html(report.cure_table(lab, 1), language),
            html(report.halves_table(lab, words.speaker(language)), language),
        )

    opened = tab.select if tab is not None else root.load if root is not None else None
    if opened is None:
        raise ValueError("Call build inside a gr.Blocks context.")
    settings = [cure, bins, binning, language]
    keep({"cured": cure, "bins": bins, "binning": binning, "declined": declined})
    # What draws the same figures waits in one line, so that the latest setting is drawn last.
    in_line = PRIVATE | {"concurrency_id": "calibration", "concurrency_limit": 1}
    # The figures need no bootstrap: they come first, the words when they are ready.
    opened(
        write,
        [written, language],
        [written, story, scores, *tables],
        api_name="calibration_words",
        **PRIVATE,
    )
    opened(
        draw,
        [drawn, *settings],
        [drawn, *reliability, *histogram],
        api_name="calibration_figures",
        **in_line | COUNTING,
    )

    def again(drawn: str, written: str, percent: float, *settings: Any) -> tuple[Any, ...] | dict:
        """All of it in a language that was chosen later."""
        if not drawn or not written:
            return gr.skip()
        language = settings[-1]
        return (
            *write("", language),
            *draw("", *settings),
            *declining(lab, percent, language),
        )

    language.change(
        again,
        [drawn, written, declined, *settings],
        [written, story, scores, *tables, drawn, *reliability, *histogram, remainder, curves],
        api_name="calibration_language",
        **PRIVATE,
    )

    def redraw(cure: str, bins: float, binning: str, language: str) -> tuple[go.Figure, go.Figure]:
        return diagrams(lab, cure, bins, binning, words.speaker(language))

    def decline(percent: float, language: str) -> tuple[str, go.Figure]:
        return declining(lab, percent, language)

    # While a redraw is under way the latest setting waits, those between are skipped.
    latest = in_line | {"trigger_mode": "always_last"}
    bins.change(redraw, settings, reliability, api_name="calibration_bins", **latest)
    binning.change(redraw, settings, reliability, api_name="calibration_binning", **latest)
    recured = latest | COUNTING
    cure.change(
        recure, settings, [*reliability, *histogram], api_name="calibration_cure", **recured
    )
    for trigger, api_name, progress in (
        (opened, "calibration_declining", COUNTING),
        (declined.change, "calibration_decline", {}),
    ):
        trigger(
            decline,
            [declined, language],
            [remainder, curves],
            api_name=api_name,
            **PRIVATE | {"trigger_mode": "always_last"} | progress,
        )
