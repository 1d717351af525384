"""The Toy tab: an instrument that runs in the browser, and its endpoint for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from model import toy

ASSETS = Path(__file__).parents[2] / "assets"

# The style and the script travel inside the component, so they are there whenever the tab is,
# also when it is not the tab shown first. `${css}` is filled in by the component, verbatim.
TEMPLATE = '<style>${css}</style><div class="toy"></div>'
MOUNT = 'window.LabelSmoothingToy.mount(element.querySelector(".toy"));'


def smooth(logits: list[float], true_class: int, epsilon: float = 0.1) -> dict[str, Any]:
    """What one-hot and smoothed targets ask of one example's logits.

    Args:
        logits: the scores of 2 to 1,000 classes.
        true_class: the label's index, counted from 0.
        epsilon: the smoothing, from 0 to 1.

    Returns:
        Probabilities, and for both targets: target, loss with its two parts, gradient on each
        logit, and the lead and confidence at the loss's minimum (null where it is infinite).
    """
    try:
        return toy.smooth(logits, true_class, epsilon)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


def build() -> None:
    """The tab's content, and the endpoint `/smooth`."""
    gr.HTML(
        html_template=TEMPLATE,
        css=(ASSETS / "toy.css").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "toy.js").read_text(encoding="utf-8") + MOUNT,
        apply_default_css=False,
    )
    gr.api(smooth, api_name="smooth", queue=False)
