"""The Label Smoothing Lab: `python app.py` serves the page."""

# ruff: noqa: E402
from __future__ import annotations

import gc

gc.disable()  # nothing imported is garbage: looking for some would take a tenth of the start

import logging
from collections.abc import Mapping
from typing import Any

from model.reading import Reading

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("model").setLevel(logging.INFO)  # what runs the classifiers, and why
    reading = Reading()  # goes on while Gradio is imported, on a core that is idle until then

import gradio as gr

from model import gate, kept
from model.calibrators import Cures
from model.classifier import Pair
from model.evaluate import Evaluation
from model.tabs import calibration, classify, head, study, toy
from model.tabs import language as words
from model.tabs.language import TRANSLATIONS, fixed, say
from model.tabs.page import remember
from model.tabs.theme import HEAD, MARK, STYLE, THEME

gc.enable()

TABS = {
    "classify": "Classify",
    "toy": "Toy logits",
    "calibration": "Calibration",
    "train": "Train it yourself",
}


# What the page is served with, here and by `model/scale.py`.
MOST_WAITING = 64
OPTIONS: dict[str, Any] = {
    "theme": THEME,
    "css_paths": STYLE,
    "head": HEAD,
    "i18n": TRANSLATIONS,
    "footer_links": ["api", "settings"],
    "max_file_size": "50mb",
    "mcp_server": True,
    "ssr_mode": False,  # drawn in the browser everywhere, as it is tested
    "run_history": False,
    "app_kwargs": {"middleware": gate.MIDDLEWARE},
}


def title(language: str) -> str:
    """The page's head: what it is called, and what it is for, in one sentence."""
    name = say(language, "Label Smoothing Lab")
    purpose = say(
        language,
        "See what label smoothing does to a classifier: to its answers, and to how sure it is.",
    )
    return f"{MARK}<div><h1>{name}</h1><p>{purpose}</p></div>"


def open_tab(request: gr.Request) -> gr.Tabs:
    """The tab that the page's address names."""
    wanted = request.query_params.get("tab")
    return gr.Tabs(selected=wanted) if wanted in TABS else gr.skip()


def fill(rooms: Mapping[str, gr.Tab], pair: Pair | str, evaluation: Evaluation | str) -> None:
    """Build the tabs that read files: each with what could be loaded, or why it could not."""
    measured = None if isinstance(evaluation, str) else evaluation
    cures = None if measured is None else Cures(measured.logits, measured.labels)
    photo = None
    with rooms["classify"]:
        if isinstance(pair, str):
            gr.Markdown(fixed("**The classifiers cannot be loaded.** {reason}", reason=pair))
        else:
            photo = classify.build(pair, measured, cures)
    if measured is None:
        for key in ("calibration", "train"):
            with rooms[key]:
                gr.Markdown(
                    fixed("**The measurements cannot be loaded.** {reason}", reason=evaluation)
                )
    else:
        with rooms["calibration"]:
            calibration.build(measured, cures)
        with rooms["train"]:
            head.build(measured, photo)
    with rooms["calibration"]:
        study.build()  # from a file of its own


def build(reading: Reading) -> gr.Blocks:
    """The whole page."""
    # Uploads are deleted within the hour after they came (looked for every ten minutes).
    with gate.Page(
        title="Label Smoothing Lab", delete_cache=(600, 3000), analytics_enabled=False
    ) as demo:
        gr.HTML(words.both(title("en"), title("zh")), elem_id="title")
        with gr.Tabs() as tabs:
            rooms = {key: gr.Tab(fixed(name), id=key) for key, name in TABS.items()}
        for key, room in rooms.items():
            js = remember("tab", "classify", value=key)
            room.select(None, None, None, js=js, api_visibility="private")
        with rooms["toy"]:
            toy.build()
        fill(rooms, reading.pair, reading.evaluation)
        demo.load(open_tab, None, tabs, show_progress="hidden", api_visibility="private")
    return demo


def ready(reading: Reading) -> gr.Blocks:
    """The page with its bounded queue, and its uploads deleted in time; to be served once."""
    gate.keep_uploads_apart()
    page = build(reading).queue(max_size=MOST_WAITING)
    page.state_session_capacity = kept.SESSIONS  # also where it is mounted, not launched
    kept.Uploads(page).watch()
    return page


if __name__ == "__main__":
    ready(reading).launch(state_session_capacity=kept.SESSIONS, **OPTIONS)
