"""Protects the two languages: nothing is missing, left over, or filled in differently."""

from __future__ import annotations

import ast
import io
import re
import string
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from app import TABS
from model import pets, photo, report, samples, sandbox, study
from model.calibrators import TRACK_RECORDS, Cures
from model.classifier import Pair, open_photo
from model.evaluate import load
from model.network import PAIR
from model.tabs import chinese_story, head, language
from model.tabs.chinese import CHINESE, REFUSALS
from tests.conftest import ROOT

CODE = [
    ROOT / "app.py",
    *(path for path in sorted((ROOT / "model").rglob("*.py")) if "chinese" not in path.name),
]


def nodes(paths: list[Path] = CODE) -> Iterator[ast.AST]:
    for path in paths:
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def written() -> Iterator[str]:
    """Every text that the code hands to ``fixed`` or ``say`` as it stands, or one of two."""
    for node in nodes():
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name not in ("fixed", "say"):
            continue
        for argument in node.args[:2]:  # the language may come first
            branches = [argument]
            while branches:
                branch = branches.pop()
                if isinstance(branch, ast.IfExp):
                    branches += [branch.body, branch.orelse]
                elif isinstance(branch, ast.Constant) and isinstance(branch.value, str):
                    yield branch.value


def constants() -> set[str]:
    """Every string of the code."""
    return {
        node.value
        for node in nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def blank(template: str) -> str:
    """A template without the names of its values."""
    return re.sub(r"{[^}]*}", "{}", template)


def raised(path: Path, function: str | None = None) -> Iterator[str]:
    """The templates of the errors that a module, or one function of it, raises."""
    for node in nodes([path]):
        if function and not (isinstance(node, ast.FunctionDef) and node.name == function):
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call) and inner.exc.args:
                text = inner.exc.args[0]
                if isinstance(text, ast.JoinedStr):
                    yield "".join(
                        part.value if isinstance(part, ast.Constant) else "{}"
                        for part in text.values
                    )
                elif isinstance(text, ast.Constant):
                    yield text.value


def refused() -> set[str]:
    """What a visitor may be told about a photo, with blanks for values."""
    return {
        *raised(ROOT / "model" / "classifier.py", "open_photo"),
        *raised(ROOT / "model" / "photo.py"),
        *raised(ROOT / "model" / "samples.py"),
        *(photo.UNREADABLE, photo.TOO_SLOW, photo.TOO_BIG, photo.DAMAGED),
    } - {"a photo at an unexpected host: {}", "a photo of {} bytes"}  # samples.py rewords these


def unread() -> set[str]:
    """What a visitor may be told about the study's file, with blanks for values."""
    return set(raised(ROOT / "model" / "study.py"))


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
    yield sandbox.NO_ROOM
    yield from head.ENDED.values()
    yield from head.LABELS.values()
    yield from study.COLUMNS.values()
    yield from study.JUDGED.values()
    yield from (by.capitalize() for by in report.RANKINGS)
    for score in report.SCORES.values():
        yield from (score.label, score.meaning)


# Abbreviations and numbers, the same in both languages.
ALIKE = {"NLL", "Brier", "ECE", "AURC"}


def test_every_text_has_its_chinese() -> None:
    missing = {text for text in (*written(), *computed()) if text not in CHINESE} - ALIKE
    missing -= {language.CHINESE_CODE}  # in ``say("zh", …)`` it is no text
    assert not missing


def test_no_chinese_without_its_text() -> None:
    lab = report.Lab(load())
    tables = [report.score_table(lab), report.cure_table(lab, 0), report.halves_table(lab)]
    tables.append(report.decline_table(lab, 0.1))
    shown = {text for table in tables for text in table.header}
    shown |= {t for table in tables for row in table.rows for cell in row for t in cell[:2]}
    texts = {*computed(), *shown, *constants()} | set(REFUSALS)
    assert {text for text in CHINESE if text not in texts} == set()
    raised_by_head = raised(ROOT / "model" / "head.py")
    known = {*refused(), *unread(), *raised_by_head, sandbox.NO_ROOM}
    assert {blank(text) for text in REFUSALS} <= known


def test_every_refusal_has_its_chinese() -> None:
    missing = (refused() | unread()) - {blank(text) for text in REFUSALS}
    assert not missing


def test_a_refusal_is_retold_with_its_values() -> None:
    with pytest.raises(ValueError, match="too much memory") as refusal:
        open_photo(large())
    told = language.retold("zh", str(refusal.value))
    assert re.findall(r"\d+", told) == re.findall(r"\d+", str(refusal.value))
    assert re.sub("JPEG|PNG", "", told).isascii() is False
    assert not re.search("[A-Za-z]{2}", told.replace("JPEG", ""))
    assert language.retold("en", str(refusal.value)) == str(refusal.value)
    assert language.retold("zh", "never said") == "never said"


def large() -> bytes:
    """A TIFF of 90 million pixels: small as a file, too large to open."""
    content = io.BytesIO()
    Image.new("L", (10_000, 9_000)).save(content, "TIFF", compression="tiff_deflate")
    return content.getvalue()


def test_the_toy_has_all_its_chinese() -> None:
    """Every sentence that the toy's script words, and every text of its form."""
    script = (ROOT / "assets" / "toy.js").read_text(encoding="utf-8")
    before, _, rest = script.partition("  const CHINESE = {")
    own, _, after = rest.partition("\n  };")
    string = r'"((?:[^"\\]|\\.)*)"'
    keys = set(re.findall(rf"^    {string}:", own, re.MULTILINE))
    used = set()
    for call in re.findall(r"worded\(((?:[^()]|\([^()]*\))*)\)", before + after):
        used |= {text for text in re.findall(string, call) if re.search("[a-z]{2}", text)}
    assert len(used) > 40
    assert used - keys - {"aria-label", "One-hot"} == set()
    for key, chinese in re.findall(rf"^    {string}:\s+{string},", own, re.MULTILINE):
        assert fields(key) == fields(chinese)


def fields(text: str) -> set[tuple[str, str | None]]:
    return {(name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("english", [text for text in CHINESE if "{" in text])
def test_both_fill_in_the_same_values(english: str) -> None:
    assert fields(english) == fields(CHINESE[english])


def test_no_value_is_translated() -> None:
    """Gradio translates every property that it knows a translation of, also a radio's value."""
    from model.tabs import calibration, classify, head, toy
    from model.tabs import study as study_tab

    evaluation = load()
    cures = Cures(evaluation.logits, evaluation.labels)
    with gr.Blocks() as demo:
        with gr.Tab("1"):
            states = classify.build(Pair(), evaluation, cures)
        with gr.Tab("2"):
            calibration.build(evaluation, cures)
            study_tab.build()
        with gr.Tab("3"):
            head.build(evaluation, states)
        with gr.Tab("4"):
            toy.build()
    assert set(language.PAGE["en"]) == set(language.PAGE["zh"]) - {"common.complete"}
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
