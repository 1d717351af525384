"""Protects the page around the tabs: what it opens with, its languages, addresses and figures."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Browser, Page, expect

from model.samples import examples
from model.tabs.chinese import CHINESE
from tests import hostile

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
TABS = {
    "classify": "#distributions .js-plotly-plot",
    "toy": ".toy svg",
    "calibration": "#risk-coverage .js-plotly-plot",
    "train": "#activations-smoothed .js-plotly-plot",
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


def test_a_setting_changed_while_a_photo_is_classified_is_applied_to_it(
    visit: Callable[..., Page], server: str, tmp_path: Path
) -> None:
    """The photo is large, so that its answer comes after that of the setting."""
    large = tmp_path / "large.png"
    large.write_bytes(hostile.encode(hostile.picture(7000, 5000), "PNG"))
    page = visit()
    bars = "#distributions .barlayer .trace.bars >> nth=0 >> .point"
    expect(page.locator(bars).first).to_be_visible(timeout=120_000)
    with page.expect_response(re.compile("/upload")):
        page.locator("#photo input[type=file]").first.set_input_files(large)
    page.get_by_label("All 37").check()
    answer = Client(server, verbose=False).predict(handle_file(large), api_name="/classify")
    sure = [f"{answer[name]['confidence']:.1%}" for name in ("unsmoothed", "smoothed")]
    expect(page.locator("#verdict .confidence")).to_have_text(sure, timeout=60_000)
    expect(page.locator(bars)).to_have_count(37, timeout=60_000)


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
    expect(page.get_by_role("table")).to_have_count(6, timeout=120_000)
    expect(page.get_by_role("row").filter(has_text="平均置信度").first).to_be_visible()
    heading = CHINESE["## Which cure?"].removeprefix("## ")
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.locator("#reliability-smoothed .js-plotly-plot")).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="logits 小实验").click()
    expect(page.get_by_role("button", name="复制链接")).to_be_visible(timeout=120_000)
    assert "__i18n__" not in page.locator("body").inner_text()
    assert foreign(page, server) == []


# What a Chinese page may say in Latin letters: names, abbreviations, mathematics, file formats.
LATIN = re.compile(
    r"""(?<![A-Za-z])(logits?|softmax|dropout|bootstrap|one-hot|ce|log|p-范数|trainval|Adam|L-BFGS|ResNet
    |NLL|ECE|AURC|Brier|Platt|Wilson|Cattelan|Silva|Xia|et\ al|Müller|Kornblith|Hinton
    |PNG|CSV|JPEG|MB|API|MCP|CC\ BY-SA|Oxford-IIIT\ Pet)(?![A-Za-z])""",
    re.VERBOSE | re.IGNORECASE,
)
# Every text and name that is shown or read out, and what hovering over the figures would show.
TEXTS = """() => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ALL);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.nodeType === 1 ? node : node.parentElement;
    if (!element.checkVisibility() || element.closest("script, style")) continue;
    if (node.nodeType === 3) texts.push(node.textContent);
    if (node.nodeType !== 1) continue;
    if (node.tagName === "INPUT" && node.type === "text") texts.push(node.value);
    for (const name of ["aria-label", "aria-valuetext", "title", "placeholder"]) {
      texts.push(node.getAttribute(name) ?? "");
    }
  }
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    if (!plot.checkVisibility()) continue;
    for (const trace of plot._fullData) {
      texts.push(trace.name);
      if (trace.hovertemplate) texts.push(trace.hovertemplate.replace(/%{[^}]*}|<[^>]*>/g, " "));
    }
  }
  return texts;
}"""


def english(page: Page) -> list[str]:
    """What the page says in words of Latin letters that are not ``LATIN``."""
    page.wait_for_timeout(500)  # the page's script names buttons a moment after they come
    texts = page.evaluate(TEXTS)
    assert len(texts) > 100
    return sorted({text for text in texts if re.search("[A-Za-z]{2}", LATIN.sub("", text))})


def test_no_english_is_left_on_a_chinese_page(visit: Callable[..., Page], tmp_path: Path) -> None:
    """Through all tabs, with what they say only after something was done."""
    page = visit("cure=isotonic", locale="zh-CN")
    expect(page.locator("#verdict .points")).to_be_visible(timeout=120_000)
    expect(page.locator("#distributions .save button")).to_have_count(2, timeout=120_000)
    assert english(page) == []
    page.locator("#examples button").nth(3).click()
    expect(page.locator("#note")).to_contain_text("塔", timeout=60_000)
    assert english(page) == []
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    page.get_by_label("移除图片").first.click()
    page.locator("#photo input[type=file]").first.set_input_files(tmp_path / "no.jpg")
    expect(page.locator(".toast-body").first).to_be_visible(timeout=60_000)
    assert english(page) == []
    page.get_by_label("Close").or_(page.locator(".toast-close")).first.click()

    page.get_by_role("tab", name="logits 小实验").click()
    settled(page, "toy")
    assert english(page) == []
    for preset in ("right", "wrong", "undecided"):
        page.locator(f'[data-preset="{preset}"]').click()
        page.locator('[data-action="step"]').click()
        assert english(page) == []
    for epsilon in ("0", "1", "2"):
        page.locator(".epsilon-number").fill(epsilon)
        assert english(page) == []

    page.get_by_role("tab", name="校准").click()
    settled(page, "calibration")
    expect(page.get_by_role("table")).to_have_count(6, timeout=120_000)
    assert english(page) == []

    page.get_by_role("tab", name="亲手训练").click()
    settled(page, "train")
    expect(page.locator("#head-numbers td").first).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="其他正则化").click()
    page.get_by_label("早停").check()
    expect(page.locator("#head-numbers")).to_contain_text("上一次", timeout=60_000)
    page.get_by_role("button", name="扫描").click()
    expect(page.locator("#head-sweep .main-svg").first).to_be_visible(timeout=300_000)
    assert english(page) == []
    page.get_by_label("品种 1").click()
    assert english(page) == []


def test_a_language_chosen_later_reaches_what_is_drawn(visit: Callable[..., Page]) -> None:
    page = visit("tab=train")
    settled(page, "train")
    expect(page.locator("#head-numbers td").first).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Toy logits").click()
    page.get_by_role("button", name="Confident, wrong").click()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Language").last.click()
    page.get_by_role("option", name="中文").first.click()
    expect(page.locator('.toy [data-text="verdict"]')).to_contain_text("要求类别 2")
    expect(page.locator('.toy [data-text="logits"]')).to_contain_text("类别 3 排在第一")
    expect(page.locator(".head-status").first).to_contain_text("张照片学习", timeout=60_000)
    expect(page.locator("#activations-smoothed .legendtext").first).to_have_text("美国比特斗牛梗")


def test_an_address_reopens_the_other_tabs(visit: Callable[..., Page]) -> None:
    """Moved by hand on Calibration and Train, found again in a fresh browser."""
    page = visit("tab=calibration")
    settled(page, "calibration")
    page.get_by_role("slider", name="Bins").press("ArrowRight")
    page.get_by_label("Equal mass").check()
    page.get_by_role("slider", name="It may decline").press("ArrowLeft")
    page.get_by_role("tab", name="Train it yourself").click()
    page.get_by_role("slider", name="Label smoothing").press("ArrowRight")
    page.get_by_role("slider", name="Label noise").press("ArrowRight")
    page.get_by_label("Breed 2").click()
    page.get_by_role("option", name="Beagle", exact=True).click()
    expect(page).to_have_url(re.compile("breed2=4"))
    again = visit(page.url.partition("?")[2])
    settled(again, "train")
    expect(again.get_by_role("slider", name="Label smoothing")).to_have_value("0.11")
    expect(again.get_by_role("slider", name="Label noise")).to_have_value("1")
    expect(again.get_by_label("Breed 2")).to_have_value("Beagle")
    expect(again.locator(".head-status").first).to_contain_text("ε = 0.11:", timeout=60_000)
    again.get_by_role("tab", name="Calibration").click()
    expect(again.get_by_role("slider", name="Bins")).to_have_value("16")
    expect(again.get_by_label("Equal mass")).to_be_checked()
    expect(again.get_by_role("slider", name="It may decline")).to_have_value("9")


def test_a_phone_opens_the_tab_that_is_named(visit: Callable[..., Page]) -> None:
    """Also one that waits in the menu, also when the page comes from the browser's cache."""
    page = visit("tab=train", width=390)
    for _ in range(2):
        settled(page, "train")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        page.reload()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tab", TABS)
def test_nobody_is_shut_out(visit: Callable[..., Page], tab: str, theme: str, locale: str) -> None:
    """axe-core finds no serious or critical violation."""
    page = visit(f"__theme={theme}&tab={tab}", locale)
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
    assert download.value.suggested_filename == "label-smoothing-distributions.csv"
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
    assert download.value.suggested_filename == "label-smoothing-distributions.png"
    download.value.save_as(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
