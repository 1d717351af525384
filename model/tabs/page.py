"""What the tabs share with the page's script, `assets/page.js`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context


def remember(
    key: str, default: Any = "", *, names: Sequence[str] = (), value: str | None = None
) -> str:
    """JavaScript for an event: write its input into the page's address under ``key``.

    Args:
        key: of the address's query.
        default: what is not worth mentioning there.
        names: what to write for the inputs 0, 1, …; without, the input itself.
        value: what to write, whatever the input.
    """
    source = json.dumps(value) if value is not None else "input"
    if names:
        source = f"{json.dumps(list(names))}[input]"
    return (
        f"input => window.LabelSmoothingPage.remember({json.dumps(key)}, {source}, "
        f"{json.dumps(default)})"
    )


def keep(settings: Mapping[str, Component]) -> None:
    """Keep each setting in the page's address under its key, and restore it from there.

    Called inside a ``gr.Blocks``. What an address says of a setting and is none of its values, is
    passed over.
    """
    for key, setting in settings.items():
        js = remember(key, setting.value)
        setting.change(None, setting, None, js=js, api_visibility="private")  # type: ignore[attr-defined]

    def restore(request: gr.Request) -> Any:
        found = [
            value_of(setting, request.query_params.get(key)) for key, setting in settings.items()
        ]
        updates = [gr.skip() if value is None else gr.update(value=value) for value in found]
        return updates if len(updates) > 1 else updates[0]

    if Context.root_block is not None:
        Context.root_block.load(
            restore,
            None,
            list(settings.values()),
            show_progress="hidden",
            api_visibility="private",
        )


def value_of(setting: Component, text: str | None) -> Any:
    """The value of a slider, checkbox, radio or dropdown that an address names, or ``None``."""
    if text is None:
        return None
    if isinstance(setting, gr.Slider):
        try:
            value = float(text)
        except ValueError:
            return None
        return value if setting.minimum <= value <= setting.maximum else None
    if isinstance(setting, gr.Checkbox):
        return {"true": True, "false": False}.get(text)
    choices: Sequence[tuple[Any, Any]] = setting.choices  # type: ignore[attr-defined]
    return {str(value): value for _, value in choices}.get(text)
