"""Protects the start: files are read side by side, and what cannot be read is explained."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import app
from model import reading
from model.classifier import Pair
from model.evaluate import Evaluation


def test_what_cannot_be_read_says_why() -> None:
    def missing() -> Pair:
        raise ValueError("The pair is missing. Make it.")

    begun = reading.Reading(missing)
    assert begun.pair == "The pair is missing. Make it."
    assert isinstance(begun.evaluation, Evaluation)


def test_both_are_read_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other to have begun."""
    both = threading.Barrier(2, timeout=30)
    monkeypatch.setattr(reading, "load", lambda: both.wait())
    begun: Any = reading.Reading(lambda: both.wait())  # type: ignore[arg-type, return-value]
    assert {begun.pair, begun.evaluation} == {0, 1}


def test_importing_the_page_reads_nothing() -> None:
    assert not hasattr(app, "reading")
