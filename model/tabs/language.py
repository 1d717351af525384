"""The page in English and Chinese. Its English is the key, `chinese.py` has the other half.

Text that stands on the page from the start is translated in the browser, by Gradio, into the
browser's language or the one chosen at the foot of the page under Settings (``fixed``). Text that
the server writes later follows that choice, which ``current`` brings to it (``say``).

Gradio translates whatever it knows, the value of a radio button too: no component may have a value
that is also a text of the page.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from model.tabs.chinese import CHINESE, REFUSALS
from model.words import Say, english

ENGLISH, CHINESE_CODE = "en", "zh"
# What the browser gets; grows while the page is built.
PAGE: dict[str, dict[str, str]] = {
    "en": {},
    # Gradio says this to screen readers when an answer has come, and lacks its Chinese.
    "zh": {"common.complete": "完成"},
}
TRANSLATIONS = gr.I18n(**PAGE)


def say(language: str, text: str, /, **values: Any) -> str:
    """``text`` in the language ``en`` or ``zh``, with ``values`` filled in by ``str.format``.

    What Chinese lacks stays English.
    """
    return english(CHINESE.get(text, text) if language == CHINESE_CODE else text, **values)


def speaker(language: str) -> Say:
    """``say`` in one language, for those who write text and know of no languages."""
    return partial(say, language)


def retold(language: str, sentence: str) -> str:
    """A sentence of ``REFUSALS`` whose values are filled in already: an error's, for example."""
    if language == CHINESE_CODE:
        for template, pattern in refusals():
            if found := pattern.fullmatch(sentence):
                return say(language, template, **found.groupdict())
    return sentence


@lru_cache(maxsize=1)
def refusals() -> list[tuple[str, re.Pattern[str]]]:
    """Each of ``REFUSALS`` with what recognises it and reads its values."""
    return [
        (template, re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(template))))
        for template in REFUSALS
    ]


def fixed(text: str, /, **values: Any) -> I18nData:
    """Text of a component, in both languages."""
    return both(say("en", text, **values), say("zh", text, **values))


def both(text: str, chinese: str) -> I18nData:
    """Text of a component that was written in both languages already. No braces, please: Gradio
    reads the key up to the first of them."""
    PAGE["en"][text] = text
    PAGE["zh"][text] = chinese
    return TRANSLATIONS(text)


def current() -> gr.Textbox:
    """A hidden component whose value is the language that the browser shows now: en or zh."""
    return gr.Textbox(fixed(ENGLISH), visible="hidden", container=False)
