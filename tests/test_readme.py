"""Protects the README: its numbers are measured, its examples run, the Hub reads its header."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard, SpaceCardData
from PIL import Image

from model import article, evaluate, head, report, samples, study
from model.calibrators import TEMPERATURE
from model.checkpoint import CHECKPOINTS, PAIR
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


# What the Hub takes for the two colours of a Space's card.
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def block(command: str) -> str:
    """What stands between the comment with a command and the next one."""
    found = re.search(rf"<!-- {re.escape(command)} -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    assert found, f"README.md has no block of {command}"
    return found[1]


def test_results_are_those_of_metrics_json() -> None:
    metrics = json.loads((CHECKPOINTS / "metrics.json").read_text())
    assert block("python -m model.evaluate --metrics-only") == evaluate.table(metrics)


def test_errors_in_fp32_are_those_of_the_comparison() -> None:
    """``serving.json`` has the difference between what serves and the checkpoint."""
    served = json.loads((CHECKPOINTS / "metrics.json").read_text())
    differences = json.loads((CHECKPOINTS / "serving.json").read_text())
    exact = [
        f"{100 * (served[name]['error']['value'] - differences[name]['error_difference']):.1f} %"
        for name in PAIR
    ]
    assert f"in fp32, are wrong on {exact[0]} and {exact[1]}." in " ".join(README.split())


def test_confidence_in_words_is_what_the_report_says() -> None:
    lab = report.Lab(evaluate.load())
    gaps = [100 * abs(lab.scores()["overconfidence"][k].value) for k in (0, 1)]
    cured = [lab.cured(TEMPERATURE)[k].scores for k in (0, 1)]
    sure = [100 * lab.scores()["mean_confidence"][k].value for k in (0, 1)]
    nll, ece = ([scores[name].value for scores in cured] for name in ("nll", "ece"))
    (chance,) = {f"{value:.3f}" for value in lab.ece_by_chance(TEMPERATURE)}
    text = " ".join(README.split())
    for said in (
        f"where chance alone gives {chance} on so many photos.",
        f"the unsmoothed one by {gaps[0]:.1f} points, the smoothed one by {gaps[1]:.1f}.",
        f"NLL falls to {nll[0]:.3f} and {nll[1]:.3f}, ECE to {ece[0]:.3f} and {ece[1]:.3f},",
        f"it is {sure[1]:.0f} % confident, the unsmoothed one {sure[0]:.0f} %.",
    ):
        assert said in text


def test_study_is_what_was_measured() -> None:
    measured = study.study(study.read())
    assert block("python -m model.study --table-only") == study.words(measured)


def test_article_is_what_was_measured() -> None:
    assert block("python -m model.article") == article.table(article.read()).markdown()


def test_sweep_is_what_the_command_finds() -> None:
    """Every number of the table, to what another processor's rounding may change."""
    evaluation = evaluate.load()
    *_, (_, swept) = head.sweep(evaluation.penultimate[0], evaluation.labels, head.Settings())
    assert swept is not None
    expected = f"{head.sweep_table(swept).markdown()}\n\n{head.sweep_sentence(swept)}"
    number = re.compile(r"\d+\.\d+|\d+")
    shown, found = block("python -m model.head"), number.findall(expected)
    assert number.sub("#", shown) == number.sub("#", expected)
    for ours, theirs in zip(number.findall(shown), found, strict=True):
        assert float(ours) == pytest.approx(float(theirs), rel=0.02, abs=0.002)


def test_front_matter() -> None:
    card = SpaceCard.load(ROOT / "README.md").data
    assert card.sdk == "gradio"
    assert card.sdk_version == version("gradio")
    assert f"gradio=={card.sdk_version}\n" in (ROOT / "requirements.txt").read_text()
    assert (ROOT / card.app_file).is_file()
    assert len(card.short_description) <= 60  # the Hub's limit
    assert card.license == "apache-2.0"
    assert card.python_version == "3.11"  # the oldest that pyproject.toml checks for
    assert {card.colorFrom, card.colorTo} <= COLORS
    assert card.datasets == [samples.DATASET]
    assert card.suggested_hardware == "cpu-basic"
    assert card.title == "Label Smoothing Lab"
    assert len(card.emoji) == 1
    assert (ROOT / card.thumbnail).is_file()
    assert "mcp-server" in card.tags
    known = set(inspect.signature(SpaceCardData.__init__).parameters)
    # What the Hub documents beyond the parser's own fields.
    known |= {"emoji", "colorFrom", "colorTo", "thumbnail", "suggested_hardware", "pinned"}
    assert set(card.to_dict()) <= known | {"short_description", "python_version", "app_file"}


def test_pictures_are_small_and_those_shown_are_there() -> None:
    """Made by tests/screenshots.py; together under a megabyte, so that a clone stays quick."""
    pictures = [path for path in (ROOT / "assets").iterdir() if path.suffix in (".webp", ".png")]
    assert len(pictures) == 9
    assert max(path.stat().st_size for path in pictures) < 250_000
    assert sum(path.stat().st_size for path in pictures) < 1_000_000
    for name in re.findall(r"assets/[\w-]+\.\w+", README):
        assert (ROOT / name).is_file(), name
    with Image.open(ROOT / "assets" / "thumbnail.png") as thumbnail:
        assert thumbnail.size == (1200, 630)


def commands() -> list[str]:
    """The commands of the README's bash blocks that run this repository's Python."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(".venv/bin/python ")]


@pytest.mark.parametrize("command", commands())
def test_commands_take_the_flags_they_are_given(command: str) -> None:
    """What they then do takes hours, and is tested beside the modules that do it."""
    words = shlex.split(command, comments=True)[1:]
    target = words[:2] if words[0] == "-m" else words[:1]
    run = subprocess.run(
        [sys.executable, *target, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert all(word in run.stdout for word in words if word.startswith("--"))


@pytest.mark.parametrize(
    "code", [c for c in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Client" not in c]
)
def test_examples_run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True, timeout=300)


def test_client_example_runs(server: str, tmp_path: Path) -> None:
    """The example for programs, with this server's address and a picture of our own."""
    from tests.test_classifier import PICTURE

    (code,) = [c for c in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Client" in c]
    PICTURE.save(tmp_path / "my_pet.jpg")
    code = code.replace("http://127.0.0.1:7860", server)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)


def test_curl_example_runs(server: str, tmp_path: Path) -> None:
    from tests.test_classifier import PICTURE

    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    (code,) = [c for c in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "curl" in c]
    PICTURE.save(tmp_path / "my_pet.jpg")
    code = "set -euo pipefail\n" + code.replace("http://127.0.0.1:7860", server)
    run = subprocess.run(
        ["bash", "-c", code], cwd=tmp_path, check=True, timeout=300, capture_output=True, text=True
    )
    assert run.stdout.count("event: complete") == 2, run.stdout + run.stderr
    assert '"smoothed": {"breed": ' in run.stdout
    assert '"gradient"' in run.stdout
