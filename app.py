"""The Label Smoothing Lab: `python app.py` serves the page."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from model.calibrators import Cures
from model.classifier import Pair
from model.evaluate import Evaluation, load
from model.tabs import calibration, classify, head, toy

ASSETS = Path(__file__).parent / "assets"
STYLE = [ASSETS / "style.css"]
FONT = ["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
THEME = gr.themes.Soft(primary_hue="blue", neutral_hue="slate", font=FONT, font_mono="monospace")


def load_or_explain() -> tuple[Pair, Evaluation] | str:
    """The pair and its evaluation, or one sentence that names the missing file and the remedy."""
    try:
        return Pair(), load()
    except ValueError as error:
        return str(error)


def build() -> gr.Blocks:
    """The whole page."""
    loaded = load_or_explain()
    # Uploads are deleted an hour after they came (checked every ten minutes), and at exit.
    with gr.Blocks(title="Label Smoothing Lab", delete_cache=(600, 3600)) as demo:
        gr.Markdown(
            "# Label Smoothing Lab\n"
            "See what label smoothing does to a classifier: to its answers, and to how sure it is.",
            elem_id="title",
        )
        if isinstance(loaded, str):
            with gr.Tab("Classify", id="classify"):
                gr.Markdown(f"**The classifiers cannot be loaded.** {loaded}")
            with gr.Tab("Toy logits", id="toy"):
                toy.build()
            return demo
        pair, evaluation = loaded
        cures = Cures(evaluation.logits, evaluation.labels)
        with gr.Tab("Classify", id="classify"):
            photo = classify.build(pair, evaluation, cures)
        with gr.Tab("Toy logits", id="toy"):
            toy.build()
        with gr.Tab("Calibration", id="calibration"):
            calibration.build(evaluation, cures)
        with gr.Tab("Train it yourself", id="train"):
            head.build(evaluation, photo)
    return demo


def main() -> None:
    build().queue(max_size=64).launch(
        theme=THEME,
        css_paths=STYLE,
        footer_links=["api", "settings"],
        max_file_size="50mb",
    )


if __name__ == "__main__":
    main()
