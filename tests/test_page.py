"""Protects the page around the tabs: what it opens with, its languages, addresses and figures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Browser, Page, expect

from model.samples import examples
from model.tabs.chinese import CHINESE

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
TABS = {
    "classify": "#distributions .js-plotly-plot",
    "toy": ".toy svg",
    "calibration": "#risk-coverage .js-plotly-plot",
    "train": "#head-smoothed .js-plotly-plot",
}
# Rules that Gradio's own components break, which a page cannot mend. Nothing else is excused.
GRADIO: dict[str, str] = {}


@pytest.fixture
def visit(server: str, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page in a fresh browser; its ``foreign`` lists requests to anybody else."""
    contexts = []

    def opened(query: str = "", locale: str = "en-US", width: int = 1280) -> Page:
        context = browser.new_context(locale=locale, viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.foreign = []
        page.on("request", lambda request: page.foreign.append(request.url))
        page.goto(f"{server}/?{query}")
        return page

    yield opened
    for context in contexts:
        context.close()


def foreign(page: Page, server: str) -> list[str]:
    return [url for url in page.foreign if not url.startswith((server, "data:", "blob:"))]


def settled(page: Page, tab: str) -> None:
    """Wait until a tab has drawn what it draws last."""
    expect(page.locator(TABS[tab]).first).to_be_visible(timeout=120_000)
    expect(page.locator(".progress-text")).to_have_count(0, timeout=120_000)


def test_it_opens_with_a_classified_photo(visit: Callable[..., Page], server: str) -> None:
    """The ten-second rule: a title, a sentence, a photo and both answers, without a click."""
    page = visit()
    cat = handle_file(examples()[0].path)
    expect(page.get_by_role("heading", level=1)).to_have_text("Label Smoothing Lab")
    expect(page.locator("#photo img").first).to_be_visible(timeout=120_000)
    expect(page.locator("#distributions .barlayer .trace.bars")).to_have_count(2, timeout=120_000)
    answer = Client(server, verbose=False).predict(cat, api_name="/classify")
    for name in ("unsmoothed", "smoothed"):
        card = page.locator(f"#verdict .card.{name}")
        expect(card.locator(".breed")).to_have_text(answer[name]["breed"])
        expect(card.locator(".confidence")).to_have_text(f"{answer[name]['confidence']:.1%}")
    for part in ("#title", "#photo", "#verdict .points"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900, f"{part} is below the fold"
    assert foreign(page, server) == []


def test_examples_say_what_they_are(visit: Callable[..., Page]) -> None:
    page = visit()
    before = page.locator("#verdict .points").inner_text(timeout=120_000)
    page.locator("#examples button").nth(3).click()
    expect(page.locator("#note")).to_contain_text("A tower is no animal.", timeout=60_000)
    expect(page.locator("#verdict .points")).not_to_have_text(before)
    assert "photo=tower" in page.url
    page.get_by_label("Remove Image").first.click()
    expect(page.locator("#verdict .empty")).to_be_visible(timeout=120_000)
    expect(page.locator("#note")).not_to_contain_text("tower")
    assert "photo" not in page.url


def test_an_address_reopens_what_was_shown(visit: Callable[..., Page]) -> None:
    page = visit()
    page.locator("#examples button").nth(1).click()
    expect(page.locator("#note")).to_contain_text("A lion is no pet.", timeout=60_000)
    page.get_by_label("Temperature").first.check()
    page.get_by_label("All 37").check()
    bars = "#distributions .barlayer .trace.bars >> nth=0 >> .point"
    expect(page.locator(bars)).to_have_count(37, timeout=120_000)
    points = page.locator("#verdict .points").inner_text()
    again = visit(page.url.partition("?")[2])
    expect(again.locator("#note")).to_contain_text("A lion is no pet.", timeout=60_000)
    expect(again.locator(bars)).to_have_count(37, timeout=60_000)
    expect(again.locator("#verdict .points")).to_have_text(points)
    assert again.get_by_label("Temperature").first.is_checked()
    again.get_by_role("tab", name="Toy logits").click()
    assert "tab=toy" in again.url
    third = visit(again.url.partition("?")[2])
    settled(third, "toy")


@pytest.mark.parametrize("query", ["tab=nonsense&cure=%00&show=-1&photo=../../etc/passwd", "tab"])
def test_a_broken_address_opens_the_usual_page(visit: Callable[..., Page], query: str) -> None:
    page = visit(query)
    expect(page.locator("#verdict .points")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("tab", selected=True)).to_have_text("Classify")


def test_chinese(visit: Callable[..., Page], server: str) -> None:
    """A Chinese browser gets Chinese, on the page and from the server, and no key is left bare."""
    page = visit(locale="zh-CN")
    expect(page.get_by_role("heading", level=1)).to_have_text("标签平滑实验室", timeout=120_000)
    expect(page.locator("#verdict")).to_contain_text("平滑分类器", timeout=120_000)
    expect(page.locator("#distributions .legendtext").first).to_contain_text("未平滑")
    page.locator("#examples button").nth(4).click()
    expect(page.locator("#note")).to_contain_text("花不是动物", timeout=60_000)
    expect(page.locator("#verdict .difference")).to_contain_text("个百分点")
    page.get_by_role("tab", name="校准").click()
    expect(page.get_by_role("table")).to_have_count(5, timeout=120_000)
    expect(page.get_by_role("row").filter(has_text="平均置信度").first).to_be_visible()
    heading = CHINESE["## Which cure?"].removeprefix("## ")
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.locator("#reliability-smoothed .js-plotly-plot")).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="玩具 logits").click()
    expect(page.get_by_role("button", name="复制链接")).to_be_visible(timeout=120_000)
    assert "__i18n__" not in page.locator("body").inner_text()
    assert foreign(page, server) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tab", TABS)
def test_nobody_is_shut_out(visit: Callable[..., Page], tab: str, theme: str) -> None:
    """axe-core finds no serious or critical violation."""
    page = visit(f"__theme={theme}&tab={tab}")
    settled(page, tab)
    page.wait_for_timeout(1000)
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = {
        violation["id"]: [node["html"][:200] for node in violation["nodes"]]
        for violation in found
        if violation["impact"] in ("serious", "critical") and violation["id"] not in GRADIO
    }
    assert serious == {}


def test_everything_is_reached_by_keyboard(visit: Callable[..., Page]) -> None:
    """Tab and Enter alone choose an example, and another tab."""
    page = visit()
    expect(page.locator("#verdict .points")).to_be_visible(timeout=120_000)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#examples') !== null"):
            break
    else:
        pytest.fail("the examples are not in the tab order")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_contain_text("A lion is no pet.", timeout=60_000)
    page.get_by_role("tab", name="Classify").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    settled(page, "toy")


def test_a_figure_is_saved_as_csv_and_png(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit("axis=logarithmic")
    expect(page.locator("#distributions .save button")).to_have_count(2, timeout=120_000)
    with page.expect_download() as download:
        page.locator("#distributions").get_by_text("CSV").click()
    assert download.value.suggested_filename == "distributions.csv"
    download.value.save_as(tmp_path / "data.csv")
    with (tmp_path / "data.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = page.evaluate(
        "document.querySelector('#distributions .js-plotly-plot')._fullData.flatMap("
        "t => Array.from(t.customdata))"
    )
    assert [float(row["x"]) for row in rows] == shown
    assert {row["series"] for row in rows} == {"unsmoothed (ε = 0)", "smoothed (ε = 0.1)"}
    with page.expect_download() as download:
        page.locator("#distributions").get_by_text("PNG").click()
    download.value.save_as(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
