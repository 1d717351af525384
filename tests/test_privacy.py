"""Protects privacy: uploads go, nobody is told of anything, and nothing is fetched elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from playwright.sync_api import Browser, expect

from app import build
from model import gate
from model.reading import Reading
from tests import hostile
from tests.conftest import ROOT, free_port
from tests.serving import Server, served

HOUR = 3600


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("privacy")) as server:
        yield server


def test_no_tab_asks_another_host(server: Server, browser: Browser) -> None:
    """Scripts, fonts, styles, pictures, sockets: all of them are served by us."""
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    page.goto(server.url)
    page.locator("#photo input[type=file]").set_input_files(
        {"name": "p.jpg", "mimeType": "image/jpeg", "buffer": hostile.valid_files()["JPEG"]}
    )
    expect(page.locator("#verdict .points")).to_be_visible(timeout=60_000)
    for tab in page.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        page.wait_for_timeout(2_000)  # never idle: the page keeps a connection to the server
    for button in ("Use via API", "Settings"):
        page.goto(server.url)
        expect(page.locator("#verdict .points")).to_be_visible(timeout=60_000)
        found = page.get_by_role("button", name=re.compile(button))
        if found.count():
            found.first.click()
            page.wait_for_timeout(1000)
    own = (server.url, "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []
    assert len(asked) > 20
    page.close()


def test_the_server_asks_no_other_host(server: Server) -> None:
    """While it starts, serves its page and classifies; no setting of the user's is needed."""
    config = httpx.get(f"{server.url}/config", timeout=60).json()
    assert config["analytics_enabled"] is False
    server.classify("photo.jpg", hostile.valid_files()["JPEG"])
    assert server.attempts.read_text() == ""


def test_uploads_are_deleted_within_the_hour() -> None:
    """Looked for so often, and deleted so old, that none is ever older than an hour."""
    frequency, age = build(Reading()).delete_cache
    assert frequency + age <= HOUR


def test_uploads_are_deleted_when_their_time_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same machinery with seconds for minutes."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gate.Page(delete_cache=(1, 1), analytics_enabled=False) as page:
        gr.Image()
    port = free_port()
    page.launch(
        prevent_thread_lock=True,
        quiet=True,
        server_port=port,
        app_kwargs={"middleware": gate.MIDDLEWARE},
    )
    try:
        photo = {"files": ("photo.jpg", hostile.valid_files()["JPEG"])}
        answer = httpx.post(f"http://127.0.0.1:{port}/gradio_api/upload", files=photo, timeout=30)
        path = Path(answer.json()[0])
        assert path.is_file()
        deadline = time.monotonic() + 20
        while path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        page.close()


def test_weights_and_arrays_cannot_carry_code() -> None:
    """Only safetensors, and NumPy without pickles, are read anywhere in what serves."""
    served = [path for path in (ROOT / "model").rglob("*.py") if path.name != "train.py"]
    for path in [ROOT / "app.py", *served]:
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text, path
        assert "allow_pickle=True" not in text, path
        for load in re.findall(r"np\.load\([^)]*\)", text):
            assert "allow_pickle=False" in load, path
        for load in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in load, path
