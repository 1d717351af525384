"""Protects the page and its endpoints, on a real server: whatever is sent gets an answer."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from playwright.sync_api import Browser, Page, expect

from model import pets
from model.samples import examples
from tests.test_classifier import PICTURE, encode


@pytest.fixture(scope="session")
def client(server: str) -> Client:
    return Client(server, verbose=False)


@pytest.fixture(scope="session")
def photo(request: pytest.FixtureRequest) -> Path:
    """A photo of the test split; without the dataset, one that Gradio carries."""
    try:
        root = request.getfixturevalue("pets_root")
    except pytest.skip.Exception:
        return examples()[1].path
    return pets.official_split(root, "test")[1234].path


def test_classify(client: Client, photo: Path) -> None:
    answer = client.predict(handle_file(photo), api_name="/classify")
    assert list(answer) == ["unsmoothed", "smoothed"]
    for name, row in answer.items():
        assert set(row) == {"breed", "confidence", "probabilities"}, name
        assert tuple(row["probabilities"]) == pets.BREEDS
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert row["confidence"] == max(row["probabilities"].values())
        assert row["probabilities"][row["breed"]] == row["confidence"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jpg", b"This is text.", "not a photo"),
        ("cut.jpg", encode(PICTURE, "JPEG")[:-60], "damaged or incomplete"),
        ("empty.jpg", b"", "empty"),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a photo"),
    ],
)
def test_bad_files_are_explained_and_the_app_goes_on(
    client: Client, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AppError, match=message) as refusal:
        client.predict(handle_file(path), api_name="/classify")
    assert "Traceback" not in str(refusal.value)
    path.write_bytes(encode(PICTURE, "PNG"))
    assert client.predict(handle_file(path), api_name="/classify")["smoothed"]["breed"]


def test_no_photo_is_explained(client: Client) -> None:
    with pytest.raises(AppError, match="no photo yet"):
        client.predict(None, api_name="/classify")


def test_only_public_endpoints_are_offered(client: Client) -> None:
    offered = client.view_api(return_format="dict")["named_endpoints"]
    assert "/classify" in offered
    assert set(offered) <= {"/classify", "/smooth"}


def test_tools_say_what_they_do(server: str) -> None:
    """The same two, and no others, are tools for language models (MCP)."""
    content = base64.b64encode(examples()[0].path.read_bytes()).decode()
    photo = f"data:image/png;base64,{content}"

    async def ask() -> tuple[list, object, object]:
        async with (
            streamablehttp_client(f"{server}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            answer = await session.call_tool(
                "smooth", {"logits": [2.0, 1.0, 0.0], "true_class": 0, "epsilon": 0.1}
            )
            return tools, answer, await session.call_tool("classify", {"photo": photo})

    # In a thread of its own: the browser of other tests keeps an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        tools, smoothed, classified = thread.submit(asyncio.run, ask()).result()
    assert {tool.name for tool in tools} == {"classify", "smooth"}
    for tool in tools:
        assert len(tool.description) > 100
        assert all(field.get("description") for field in tool.inputSchema["properties"].values())
    assert not smoothed.isError
    assert "gradient" in smoothed.content[0].text
    assert not classified.isError, classified.content[0].text
    assert "confidence" in classified.content[0].text


@pytest.fixture
def page(server: str, browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.foreign = []
    page.on(
        "request",
        lambda request: (
            page.foreign.append(request.url)
            if not request.url.startswith((server, "data:", "blob:"))
            else None
        ),
    )
    page.goto(server)
    yield page
    page.close()


def upload(page: Page, path: Path) -> None:
    """Put a photo in the place of the one that stands there."""
    page.get_by_label("Remove Image").first.click()
    expect(page.locator("#verdict .empty")).to_be_visible(timeout=30_000)
    page.locator("#photo input[type=file]").set_input_files(path)


def test_a_photo_in_the_browser(page: Page, photo: Path, client: Client) -> None:
    """Upload, both distributions in one figure, the same numbers as the endpoint; all breeds."""
    upload(page, photo)
    expect(page.locator("#verdict .points")).to_be_visible(timeout=60_000)
    answer = client.predict(handle_file(photo), api_name="/classify")
    for name in ("unsmoothed", "smoothed"):
        card = page.locator(f"#verdict .card.{name}")
        expect(card.locator(".breed")).to_have_text(answer[name]["breed"])
        expect(card.locator(".confidence")).to_have_text(f"{answer[name]['confidence']:.1%}")
    bars = page.locator("#distributions .barlayer .trace.bars")
    expect(bars).to_have_count(2, timeout=30_000)
    expect(bars.first.locator(".point")).to_have_count(6)
    page.get_by_label("All 37").check()
    expect(bars.first.locator(".point")).to_have_count(37)
    shown = page.evaluate(
        """() => document.querySelector('#distributions .js-plotly-plot')._fullData.map(
            trace => ({names: Array.from(trace.y), values: Array.from(trace.customdata)}))"""
    )
    for trace, name in zip(shown, ("unsmoothed", "smoothed"), strict=True):
        assert sum(trace["values"]) == pytest.approx(1, abs=1e-6)
        for breed, value in zip(trace["names"], trace["values"], strict=True):
            assert value == pytest.approx(answer[name]["probabilities"][breed], abs=1e-4)
    page.get_by_label("Logarithmic").check()
    page.wait_for_function(
        """() => document.querySelector('#distributions .js-plotly-plot')
            .layout.xaxis.type === 'log'"""
    )
    assert page.foreign == []


def test_a_bad_file_in_the_browser_loses_nothing(page: Page, photo: Path, tmp_path: Path) -> None:
    upload(page, photo)
    points = page.locator("#verdict .points")
    expect(points).to_be_visible(timeout=60_000)
    before = points.inner_text()
    bad = tmp_path / "cut.jpg"
    bad.write_bytes(encode(PICTURE, "JPEG")[:-60])
    upload(page, bad)
    expect(page.get_by_text("damaged or incomplete")).to_be_visible(timeout=30_000)
    upload(page, photo)
    expect(points).to_have_text(before, timeout=60_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_sideways(
    server: str, browser: Browser, photo: Path, theme: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(f"{server}/?__theme={theme}")
    upload(page, photo)
    expect(page.locator("#distributions .js-plotly-plot")).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.close()
