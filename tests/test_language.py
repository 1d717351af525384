"""Protects the two languages: nothing is missing, left over, or filled in differently."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator

import gradio as gr
import pytest

from app import TABS
from model import pets, report, samples
from model.calibrators import TRACK_RECORDS, Cures
from model.classifier import Pair
from model.evaluate import load
from model.network import PAIR
from model.tabs import chinese_story, language
from model.tabs.chinese import CHINESE
from tests.conftest import ROOT


def written() -> Iterator[str]:
    """Every text that the page's code hands to ``fixed`` or ``say`` as it stands."""
    for path in [ROOT / "app.py", *sorted((ROOT / "model" / "tabs").glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = {"fixed": 0, "say": 1}.get(name)
            if place is not None and len(node.args) > place:
                text = node.args[place]
                if isinstance(text, ast.Constant):
                    yield text.value


def computed() -> Iterator[str]:
    """What is handed to them under another name."""
    yield from TABS.values()
    yield from pets.BREEDS
    yield from PAIR
    for name in PAIR:
        yield f"{name} (ε = {{epsilon:g}})"
        yield f"**{name.capitalize()}**"
        yield name.capitalize()
    yield from report.CURE_LABELS.values()
    yield from (example.note for example in samples.examples())
    yield from (f"Breed {n}" for n in (1, 2, 3))
    yield from TRACK_RECORDS
    yield language.ENGLISH
    with pytest.raises(ValueError, match="No test photo") as refusal:
        samples.fetched(0, "http://127.0.0.1:9/rows")
    yield str(refusal.value)
    yield from (by.capitalize() for by in report.RANKINGS)
    for score in report.SCORES.values():
        yield from (score.label, score.meaning)


# Abbreviations and numbers, the same in both languages.
ALIKE = {"NLL", "Brier", "ECE", "AURC"}


def test_every_text_has_its_chinese() -> None:
    missing = {text for text in (*written(), *computed()) if text not in CHINESE} - ALIKE
    assert not missing


def test_no_chinese_without_its_text() -> None:
    lab = report.Lab(load())
    tables = [report.score_table(lab), report.cure_table(lab, 0), report.halves_table(lab)]
    tables.append(report.decline_table(lab, 0.1))
    shown = {text for table in tables for text in table.header}
    shown |= {t for table in tables for row in table.rows for cell in row for t in cell[:2]}
    assert set(CHINESE) <= {*written(), *computed(), *shown}


def fields(text: str) -> set[tuple[str, str | None]]:
    return {(name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("english", [text for text in CHINESE if "{" in text])
def test_both_fill_in_the_same_values(english: str) -> None:
    assert fields(english) == fields(CHINESE[english])


def test_no_value_is_translated() -> None:
    """Gradio translates every property that it knows a translation of, also a radio's value."""
    from model.tabs import calibration, classify, head, toy

    evaluation = load()
    cures = Cures(evaluation.logits, evaluation.labels)
    with gr.Blocks() as demo:
        with gr.Tab("1"):
            states = classify.build(Pair(), evaluation, cures)
        with gr.Tab("2"):
            calibration.build(evaluation, cures)
        with gr.Tab("3"):
            head.build(evaluation, states)
        with gr.Tab("4"):
            toy.build()
    assert set(language.PAGE["en"]) == set(language.PAGE["zh"])
    for component in demo.config["components"]:
        if component["type"] in ("radio", "dropdown", "checkbox", "slider"):
            for _, value in component["props"].get("choices") or ():
                assert value not in language.PAGE["en"], component["props"]["elem_id"]


def test_an_unknown_language_is_english() -> None:
    assert language.say("fr", "Label Smoothing Lab") == "Label Smoothing Lab"
    assert language.say("zh", "Label Smoothing Lab") == "标签平滑实验室"
    assert language.say("zh", "no such text") == "no such text"


def test_both_stories_tell_the_same_numbers() -> None:
    lab = report.Lab(load())
    for english, chinese in zip(report.story(lab), chinese_story.story(lab), strict=True):
        told, retold = (re.findall(r"[−+]?\d[\d.,]*\d|\d", text) for text in (english, chinese))
        assert sorted(told) == sorted(retold)
        assert not re.search("[a-z]{7}", chinese.replace("softmax", "")), "English is left"
