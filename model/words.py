"""Text in the reader's language. Its English, values in {braces}, is the key to every other."""

from __future__ import annotations

from typing import Any, Protocol


class Say(Protocol):
    """What turns English into the reader's language; see ``english``, which leaves it as it is."""

    def __call__(self, text: str, /, **values: Any) -> str: ...


def english(text: str, /, **values: Any) -> str:
    """``text`` with ``values`` filled in by ``str.format``."""
    return text.format(**values) if values else text
