"""The Label Smoothing Lab: `python app.py` serves the page."""

from __future__ import annotations

import gradio as gr

from model import gate
from model.calibrators import Cures
from model.classifier import Pair
from model.evaluate import Evaluation, load
from model.tabs import calibration, classify, head, toy
from model.tabs import language as words
from model.tabs.language import TRANSLATIONS, fixed, say
from model.tabs.page import remember
from model.tabs.theme import HEAD, MARK, STYLE, THEME

TABS = {
    "classify": "Classify",
    "toy": "Toy logits",
    "calibration": "Calibration",
    "train": "Train it yourself",
}


def load_or_explain() -> tuple[Pair, Evaluation] | str:
    """The pair and its evaluation, or one sentence that names the missing file and the remedy."""
    try:
        return Pair(), load()
    except ValueError as error:
        return str(error)


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


def build() -> gr.Blocks:
    """The whole page."""
    loaded = load_or_explain()
    # Uploads are deleted within the hour after they came (looked for every ten minutes).
    with gate.Page(
        title="Label Smoothing Lab", delete_cache=(600, 3000), analytics_enabled=False
    ) as demo:
        gr.HTML(words.both(title("en"), title("zh")), elem_id="title")
        shown = ("classify", "toy") if isinstance(loaded, str) else tuple(TABS)
        with gr.Tabs() as tabs:
            rooms = {key: gr.Tab(fixed(TABS[key]), id=key) for key in shown}
        for key, room in rooms.items():
            js = remember("tab", "classify", value=key)
            room.select(None, None, None, js=js, api_visibility="private")
        with rooms["toy"]:
            toy.build()
        if isinstance(loaded, str):
            with rooms["classify"]:
                gr.Markdown(f"**The classifiers cannot be loaded.** {loaded}")
            return demo
        pair, evaluation = loaded
        cures = Cures(evaluation.logits, evaluation.labels)
        with rooms["classify"]:
            photo = classify.build(pair, evaluation, cures)
        with rooms["calibration"]:
            calibration.build(evaluation, cures)
        with rooms["train"]:
            head.build(evaluation, photo)
        demo.load(open_tab, None, tabs, show_progress="hidden", api_visibility="private")
    return demo


def main() -> None:
    gate.keep_uploads_apart()
    build().queue(max_size=64).launch(
        theme=THEME,
        css_paths=STYLE,
        head=HEAD,
        i18n=TRANSLATIONS,
        footer_links=["api", "settings"],
        max_file_size="50mb",
        mcp_server=True,
        ssr_mode=False,  # drawn in the browser everywhere, as it is tested
        app_kwargs={"middleware": gate.MIDDLEWARE},
        run_history=False,
    )


if __name__ == "__main__":
    main()
