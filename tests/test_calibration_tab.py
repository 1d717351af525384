"""Protects the Calibration tab on a real server and in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect

from model import calibration, report
from model.calibrators import CURES, NONE, TEMPERATURE
from model.evaluate import load
from model.tabs import calibration as tab
from tests.conftest import free_port

DRAWN = "() => document.querySelectorAll('.js-plotly-plot .main-svg').length >= 10"


@pytest.fixture(scope="module")
def lab() -> report.Lab:
    return report.Lab(load())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A page of two tabs, of which the second is the Calibration tab."""
    with gr.Blocks() as demo:
        with gr.Tab("First"):
            gr.Markdown("Something else")
        with gr.Tab("Calibration"):
            tab.build(load())
    _, address, _ = demo.launch(prevent_thread_lock=True, server_port=free_port(), quiet=True)
    yield address
    demo.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def figure(plot: dict) -> dict:
    assert plot["type"] == "plotly"
    return json.loads(plot["plot"])


def array(values: object) -> np.ndarray:
    """Numbers of a plotly JSON: a list, or base64 with its type (plotly 6)."""
    if isinstance(values, dict):
        import base64

        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return np.array(values, dtype=float)


def trace(plot: dict, kind: str, number: int = 0) -> dict:
    return [t for t in figure(plot)["data"] if t["type"] == kind][number]


@pytest.mark.parametrize("cure", CURES)
@pytest.mark.parametrize(("bins", "binning"), [(7, tab.WIDTH), (15, tab.MASS), (1, tab.WIDTH)])
def test_diagrams_show_the_bins(
    client: Client, lab: report.Lab, cure: str, bins: int, binning: str
) -> None:
    plots = client.predict(cure, bins, binning, "en", api_name="/calibration_bins")
    assert len(plots) == 2, "a change of bins redraws the two diagrams and nothing else"
    for k, plot in enumerate(plots):
        expected = calibration.reliability(*lab.cures.top1(cure)[k], bins, binning == tab.MASS)
        np.testing.assert_array_equal(array(trace(plot, "bar")["y"]), expected.photos)
        np.testing.assert_allclose(
            array(trace(plot, "scatter", 2)["y"]), expected.accuracy[expected.photos > 0]
        )


def test_a_cure_redraws_diagrams_and_histograms(client: Client, lab: report.Lab) -> None:
    plots = client.predict(TEMPERATURE, 15, tab.WIDTH, "en", api_name="/calibration_cure")
    assert len(plots) == 4
    for k, plot in enumerate(plots[2:]):
        right, wrong = (array(trace(plot, "bar", i)["y"]) for i in (0, 1))
        truth = lab.cures.top1(TEMPERATURE)[k][1]
        assert (right.sum(), wrong.sum()) == (truth.sum(), (1 - truth).sum())
        np.testing.assert_array_equal(right, lab.histogram(TEMPERATURE)[k][0])


@pytest.mark.parametrize("percent", [0, 10, 50])
def test_declining_counts_what_is_left_wrong(client: Client, lab: report.Lab, percent: int) -> None:
    table, plot = client.predict(percent, "en", api_name="/calibration_decline")
    for k in (0, 1):
        for by in report.RANKINGS:
            rest = lab.remainder(k, by, percent / 100)
            assert f"<span>{rest.wrong:.0f}</span>" in table
            assert f"<span>{rest.share.value:.2%}</span>" in table
    assert figure(plot)["layout"]["shapes"][0]["x0"] == pytest.approx(1 - percent / 100)
    assert len([t for t in figure(plot)["data"] if t["type"] == "scatter"]) == 4


def test_scores_are_not_recomputed(lab: report.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the tab was opened, no setting bootstraps or fits again."""
    report.report(lab, 15, False, NONE, 0.1)

    def refuse(*_: object) -> None:
        raise AssertionError("recomputed")

    monkeypatch.setattr(calibration, "resampled", refuse)
    monkeypatch.setattr(calibration, "draws", refuse)
    monkeypatch.setattr("model.calibrators.fit_platt", refuse)
    for cure in CURES:
        tab.diagrams(lab, cure, 20, tab.MASS)
        tab.histograms(lab, cure)
    tab.declining(lab, 30)
    report.story(lab)


def test_a_table_is_escaped() -> None:
    table = report.Table(["<b>"], [[report.Cell("a & b", "1 to 2", True)]])
    text = tab.html(table)
    assert "&lt;b&gt;" in text
    assert "a &amp; b" in text
    assert 'class="marked"' in text


def opened(browser: Browser, url: str, theme: str, width: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{url}?__theme={theme}")
    page.get_by_role("tab", name="Calibration").click()
    page.wait_for_function(DRAWN, timeout=120_000)
    expect(page.get_by_role("table")).to_have_count(5, timeout=120_000)
    return page


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_shows_everything_and_fits(
    browser: Browser, url: str, lab: report.Lab, theme: str, width: int
) -> None:
    page = opened(browser, url, theme, width)
    expect(page.get_by_role("heading", name=report.headline(lab))).to_be_visible()
    for row in report.score_table(lab).rows:
        shown = page.get_by_role("row").filter(has_text=row[0].small)
        expect(shown).to_contain_text(row[1].text)
        expect(shown).to_contain_text(row[2].text)
    expect(page.get_by_text("best NLL")).to_have_count(2)
    sideways = "() => document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(sideways) <= 0
    page.close()


def test_a_click_redraws_only_what_changed(browser: Browser, url: str) -> None:
    page = opened(browser, url, "light", 1280)
    data = "[...document.querySelectorAll('.js-plotly-plot')].map(p => JSON.stringify(p.data))"
    before = page.evaluate(f"() => {data}")
    assert len(before) == 5
    page.get_by_label("Equal mass").check()
    page.wait_for_function(
        f"before => {{ const now = {data}; return now[0] !== before[0] && now[1] !== before[1]; }}",
        arg=before,
        timeout=60_000,
    )
    assert page.evaluate(f"() => {data}")[2:] == before[2:]
    page.close()


def test_coming_back_keeps_the_settings(browser: Browser, url: str) -> None:
    page = opened(browser, url, "light", 1280)
    page.get_by_label("Temperature").check()
    first = "() => JSON.stringify(document.querySelector('.js-plotly-plot').data)"
    page.wait_for_timeout(3000)
    shown = page.evaluate(first)
    page.get_by_role("tab", name="First").click()
    page.get_by_role("tab", name="Calibration").click()
    page.wait_for_function(DRAWN, timeout=60_000)
    page.wait_for_timeout(3000)
    assert page.get_by_label("Temperature").is_checked()
    assert page.evaluate(first) == shown
    expect(page.get_by_role("table")).to_have_count(5)
    page.close()
