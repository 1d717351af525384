"""The page in English and Chinese. Its English is the key, `chinese.py` has the other half.

Text that stands on the page from the start is translated in the browser, by Gradio, into the
browser's language or the one chosen at the foot of the page under Settings (``fixed``). Text that
the server writes later follows that choice, which ``current`` brings to it (``say``).

Gradio translates whatever it knows, the value of a radio button too: no component may have a value
that is also a text of the page.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from model.tabs.chinese import CHINESE

ENGLISH, CHINESE_CODE = "en", "zh"
# What the browser gets; grows while the page is built.
PAGE: dict[str, dict[str, str]] = {"en": {}, "zh": {}}
TRANSLATIONS = gr.I18n(**PAGE)


def say(language: str, english: str, /, **values: Any) -> str:
    """``english`` in the language ``en`` or ``zh``, with ``values`` filled in by ``str.format``.

    What Chinese lacks stays English.
    """
    text = CHINESE.get(english, english) if language == CHINESE_CODE else english
    return text.format(**values) if values else text


def fixed(english: str, /, **values: Any) -> I18nData:
    """Text of a component, in both languages."""
    return both(say("en", english, **values), say("zh", english, **values))


def both(english: str, chinese: str) -> I18nData:
    """Text of a component that was written in both languages already. No braces, please: Gradio
    reads the key up to the first of them."""
    PAGE["en"][english] = english
    PAGE["zh"][english] = chinese
    return TRANSLATIONS(english)


def current() -> gr.Textbox:
    """A hidden component whose value is the language that the browser shows now: en or zh."""
    return gr.Textbox(fixed(ENGLISH), visible="hidden", container=False)
