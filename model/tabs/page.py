"""What the tabs share with the page's script, `assets/page.js`."""

from __future__ import annotations

import json
from collections.abc import Sequence


def remember(
    key: str, default: str = "", *, names: Sequence[str] = (), value: str | None = None
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
