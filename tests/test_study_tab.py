"""Protects the study of ε on the Calibration tab: it shows study.csv, or says why it cannot."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import Browser, expect

import app
from model import evaluate, study
from model.tabs import language
from model.tabs import study as tab
from tests.conftest import free_port
from tests.test_calibration_tab import array, figure

FIGURES = {"mistakes": ("error", "aurc"), "calibration": ("nll", "nll_cured", "ece", "ece_cured")}
NAMES = {
    "en": {
        "error": "Wrong",
        "aurc": "AURC",
        "nll": "NLL",
        "nll_cured": "NLL after a temperature",
        "ece": "ECE",
        "ece_cured": "ECE after a temperature",
    },
    "zh": {
        "error": "错误",
        "aurc": "AURC",
        "nll": "NLL",
        "nll_cured": "温度缩放后的 NLL",
        "ece": "ECE",
        "ece_cured": "温度缩放后的 ECE",
    },
}
SEED, MEAN = {"en": ", seed ", "zh": "，种子 "}, {"en": ", mean", "zh": "，均值"}


def measured_by_hand() -> list[dict[str, float]]:
    """The file as a spreadsheet would read it."""
    with study.ROWS.open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def common(rows: list[dict[str, float]]) -> list[float]:
    """The seeds that every ε has."""
    epsilons = {row["epsilon"] for row in rows}
    each = [{row["seed"] for row in rows if row["epsilon"] == e} for e in epsilons]
    return sorted(set.intersection(*each))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with gr.Blocks() as demo:
        with gr.Tab("First"):
            gr.Markdown("Something else")
        with gr.Tab("Second"):  # a name that no translation knows, whichever tests ran before
            tab.build()
    _, address, _ = demo.launch(
        prevent_thread_lock=True, server_port=free_port(), quiet=True, **launched()
    )
    yield address
    demo.close()


def launched() -> dict[str, object]:
    """As the app launches its page: translated, in its style, with buttons below figures."""
    return {key: app.OPTIONS[key] for key in ("theme", "css_paths", "head", "i18n")}


@pytest.mark.parametrize("code", ["en", "zh"])
def test_the_figures_show_every_number_of_the_file(url: str, code: str) -> None:
    rows = measured_by_hand()
    seeds = common(rows)
    client = Client(url, verbose=False)
    _, mistakes, calibration, _ = client.predict(code, api_name="/study")
    for plot, scores in zip((mistakes, calibration), FIGURES.values(), strict=True):
        traces = {trace["name"]: trace for trace in figure(plot)["data"]}
        assert len(traces) == len(scores) * (len(seeds) + 1)
        for score in scores:
            columns = []
            for seed in seeds:
                trace = traces[f"{NAMES[code][score]}{SEED[code]}{seed:g}"]
                own = sorted((row["epsilon"], row[score]) for row in rows if row["seed"] == seed)
                np.testing.assert_allclose(
                    np.stack([array(trace["x"]), array(trace["y"])], axis=-1), own
                )
                columns.append([value for _, value in own])
            mean = traces[f"{NAMES[code][score]}{MEAN[code]}"]
            np.testing.assert_allclose(array(mean["y"]), np.mean(columns, axis=0))


def test_every_point_lies_in_its_panel() -> None:
    measured = study.load()
    for drawn in (tab.mistakes(measured), tab.calibration(measured)):
        for trace in drawn.data:
            axis = drawn.layout["yaxis" + trace.yaxis[1:]]
            assert axis.range[0] <= min(trace.y) <= max(trace.y) < axis.range[1]
            assert drawn.layout.xaxis.range[0] < min(trace.x) < max(trace.x)
            assert max(trace.x) < drawn.layout.xaxis.range[1]


def test_another_seed_is_shown_without_a_change(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    path.write_text(study.ROWS.read_text().rstrip("\n") + "\n")
    before = study.load(path)
    for epsilon in before.epsilons:
        study.append(path, study.Row(float(epsilon), 97, 0.2, 0.5, 0.4, 0.1, 0.02, -0.1, 0.03, 5))
    after = study.load(path)
    assert after.seeds == (*before.seeds, 97)
    names = [trace.name for trace in tab.mistakes(after).data]
    assert "Wrong, seed 97" in names
    assert len(names) == len(tab.mistakes(before).data) + 2


@pytest.mark.parametrize("code", ["en", "zh"])
def test_the_page_says_what_the_data_say(
    browser: Browser, url: str, code: str, tmp_path: Path
) -> None:
    """On a phone in the dark: words, table and figures in its language, and nothing sticks out."""
    context = browser.new_context(
        locale={"en": "en-US", "zh": "zh-CN"}[code], viewport={"width": 390, "height": 900}
    )
    page = context.new_page()
    page.goto(f"{url}?__theme=dark")
    page.get_by_role("tab", name="Second").click()
    expect(page.locator(".save")).to_have_count(2, timeout=120_000)
    say, measured = language.speaker(code), study.load()
    expect(page.get_by_role("heading", level=2)).to_have_text(
        say("## What ε does to a whole network").removeprefix("## ")
    )
    verdict = page.locator("#study-verdict")
    expect(verdict).to_contain_text(study.on_error(measured, say))
    expect(verdict).to_contain_text(study.on_calibration(measured, say))
    expected = study.table(measured)
    expect(page.locator("#study-table th")).to_have_text([say(text) for text in expected.header])
    cells = [cell.text for row in expected.rows for cell in row]
    expect(page.locator("#study-table td")).to_have_text(cells)
    labels = page.locator("#study-calibration .annotation-text")
    expect(labels).to_have_text(2 * [say("as trained"), say("after a temperature")])
    assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") <= 0
    with page.expect_download() as download:
        page.locator("#study-calibration").get_by_text("CSV").click()
    assert download.value.suggested_filename == "label-smoothing-study-calibration.csv"
    download.value.save_as(tmp_path / "data.csv")
    with (tmp_path / "data.csv").open(encoding="utf-8-sig", newline="") as file:
        saved = {(row["series"], float(row["x"])): float(row["y"]) for row in csv.DictReader(file)}
    for row in measured_by_hand():
        if row["seed"] in measured.seeds:
            series = f"{NAMES[code]['ece_cured']}{SEED[code]}{row['seed']:g}"
            assert saved[series, row["epsilon"]] == pytest.approx(row["ece_cured"])
    context.close()


def test_the_chinese_sentences_carry_the_same_numbers() -> None:
    """Whether ε lowers the error or raises it, by more than the seeds differ or not."""
    shapes = set()
    for smoothed in ((0.08, 0.09), (0.13, 0.12), (0.06, 0.12), (0.1, 0.15)):
        rows = [
            study.Row(epsilon, seed, error, 0.5, 0.4, 0.1, 0.02, -0.1, 0.03, 5)
            for epsilon, errors in ((0.0, (0.1, 0.11)), (0.1, smoothed))
            for seed, error in enumerate(errors)
        ]
        measured = study.study(rows)
        for sentence in (study.on_error, study.on_calibration):
            told, retold = (sentence(measured, language.speaker(code)) for code in ("en", "zh"))
            numbers = [re.findall(r"\d+(?:\.\d+)?", text) for text in (told, retold)]
            assert sorted(numbers[0]) == sorted(numbers[1])
            assert not re.search("[a-z]{2}", retold)
            shapes.add(re.sub(r"\d+(?:\.\d+)?", "#", retold))
    assert len(shapes) == 5


GOOD = study.ROWS.read_text()
HEADER, FIRST, *REST = GOOD.splitlines()
DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "no rows": lambda path: path.write_text(HEADER),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00" * 100),
    "a cut row": lambda path: path.write_text(GOOD[: len(GOOD) * 2 // 3].rpartition(",")[0]),
    "a column gone": lambda path: path.write_text(GOOD.replace(",aurc,", ",area,")),
    "no header": lambda path: path.write_text("\n".join([FIRST, *REST])),
    "a word": lambda path: path.write_text("\n".join([HEADER, FIRST.replace("0.", "o.")])),
    "NaN": lambda path: path.write_text(re.sub(r"0\.1\d+", "nan", GOOD)),
    "an impossible error": lambda path: path.write_text(re.sub(r"0\.1\d+", "14.7", GOOD)),
    "one seed": lambda path: path.write_text(
        "\n".join([HEADER, *(r for r in (FIRST, *REST) if r.split(",")[1] == "0")])
    ),
}


def texts(room: gr.Tab) -> list[str]:
    """The English of a tab's own components, which the browser translates."""
    values = [str(child.get_config().get("value", "")) for child in room.children]
    return [json.loads(v.removeprefix("__i18n__"))["key"] for v in values if "__i18n__" in v]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_missing_or_damaged_file_costs_one_sentence(tmp_path: Path, damage: str) -> None:
    """It names the remedy in both languages; no figure and no event is left that would fail."""
    path = tmp_path / "study.csv"
    DAMAGES[damage](path)
    with gr.Blocks() as demo, gr.Tab("Calibration") as room:
        tab.build(path)
    with pytest.raises(ValueError, match=r"`python -m model\.study`") as refusal:
        study.load(path)
    sentence = str(refusal.value)
    assert len(re.findall(r"\.(?= |$)", sentence)) == 1
    chinese = language.PAGE["zh"][sentence]
    assert chinese.count("。") == 1
    assert chinese != sentence
    assert "python -m model.study" in chinese
    assert texts(room) == ["## What ε does to a whole network", sentence]
    assert demo.config["dependencies"] == []


@pytest.mark.parametrize("path", [study.ROWS, Path("nowhere.csv")])
def test_the_tab_works_with_either_file_or_neither(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study is on the Calibration tab, below the rest, and each is there without the other."""
    monkeypatch.setattr(tab.build, "__defaults__", (path,))
    for evaluation in (evaluate.load(), "evaluation.npz is missing."):
        with gr.Blocks() as demo:
            rooms = {key: gr.Tab(key, id=key) for key in app.TABS}
            app.fill(rooms, "No weights.", evaluation)
        plots = [
            component["props"]["elem_id"]
            for component in demo.config["components"]
            if component["type"] == "plot"
        ]
        assert ("risk-coverage" in plots) == (not isinstance(evaluation, str))
        assert ("study-mistakes" in plots) == (path == study.ROWS)
        written = texts(rooms["calibration"])
        section = written[written.index("## What ε does to a whole network") :]
        assert section[0] != written[0]
        assert section[1].startswith("nowhere.csv is missing") == (path != study.ROWS)


def test_the_file_is_read_without_pytorch() -> None:
    """Start-up time is a feature: the page reads the study, and trains nothing."""
    code = (
        "import sys\nfrom model.tabs import study\nfrom model.study import load, words\n"
        "measured = load()\nwords(measured)\nstudy.mistakes(measured)\n"
        "print({'torch', 'fastai', 'torchvision'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(study.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "set()"
