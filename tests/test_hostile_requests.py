"""Protects the server from requests that no page sends: one sentence, and it goes on serving."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, expect

from model import gate
from tests import hostile
from tests.conftest import ROOT
from tests.serving import Refusal, Server, served

FILE = {"_type": "gradio.FileData"}
PHOTO = hostile.valid_files()["JPEG"]
POLLUTION = {"__proto__": {"polluted": True}, "constructor": {"prototype": {"polluted": True}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Whatever was sent to it in the meantime, it classifies at the end, and called nobody."""
    with served(tmp_path_factory.mktemp("hostile")) as server:
        yield server
        assert server.classify("photo.jpg", PHOTO)["smoothed"]["breed"]
        assert server.process.poll() is None
        assert server.trespasses() == []


def assert_sentence(text: str) -> None:
    """One that may be shown: it ends, is short, and gives nothing of the machine away."""
    assert text.strip().endswith((".", '."}')), text
    assert len(text) < 300, text
    for word in ("Traceback", 'File "', str(ROOT), "site-packages", "None"):
        assert word not in text


def refused(server: Server, name: str, data: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        server.call(name, data)
    assert_sentence(str(refusal.value))
    return str(refusal.value)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [[1, 2]],
        [None, None, None],
        ["1,2", 0, 0.1],
        [[1], 0, 0.1],
        [[1, 2], 2, 0.1],
        [[1, 2], -1, 0.1],
        [[1, 2], 0.5, 0.1],
        [[1, 2], True, 0.1],
        [[1, 2], 0, "NaN"],
        [[1, 2], 0, None],
        [[1, 2], 0, 1.5],
        [[1, 2], 0, [0.1]],
        [[1, "x"], 0, 0.1],
        [[[1, 2], [3, 4]], 0, 0.1],
        [{"0": 1, "1": 2}, 0, 0.1],
        [POLLUTION, POLLUTION, POLLUTION],
        [[0.0] * 1_000_000, 0, 0.1],
        [[1e400, 0], 0, 0.1],
        [[10**400, 0], 0, 0.1],
    ],
    ids=lambda data: repr(data)[:40],
)
def test_smooth_refuses(server: Server, data: Any) -> None:
    if "inf" in repr(data):  # as a program without a JSON library might write it
        body = '{"data": [[1e400, 0], 0, 0.1]}'
        answer = server.post("call/smooth", content=body)
        assert answer.status_code in (200, 400, 422)
        return
    refused(server, "smooth", data)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have(server: Server, number: str) -> None:
    body = f'{{"data": [[1, 2], 0, {number}]}}'
    answer = server.post("call/smooth", content=body, headers={"Content-Type": "application/json"})
    if answer.status_code == 200:
        stream = server.get(f"call/smooth/{answer.json()['event_id']}").text
        assert "event: error" in stream
        assert "Epsilon must be" in stream
    else:
        assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "photo",
    [
        None,
        5,
        "photo.jpg",
        [],
        {},
        {"path": None},
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "meta": FILE},
        {"path": "../../../etc/passwd", "meta": FILE},
        {"path": str(ROOT / "app.py"), "meta": FILE},
        {"path": str(ROOT / "assets" / "style.css"), "meta": FILE},
        {"path": "/proc/self/environ", "meta": FILE, "is_stream": True},
        {"path": "/dev/zero", "meta": FILE},
        {"url": "/gradio_api/file=/etc/passwd", "meta": FILE},
        {"url": "file:///etc/passwd", "meta": FILE},
        {"path": "file:///etc/passwd", "meta": FILE},
        {"path": "http://169.254.169.254/latest/meta-data", "meta": FILE},
        {"path": "https://example.com/cat.jpg", "meta": FILE},
        {"path": " HTTPS://example.com/cat.jpg", "meta": FILE},
        {"url": "https://example.com/cat.jpg", "meta": FILE},
        {"path": "x", "url": "https://example.com/cat.jpg", "meta": FILE},
        {"url": "data:image/png;base64,%%%", "meta": FILE},
        {"url": "data:text/html,<script>alert(1)</script>", "meta": FILE},
        {"url": "data:", "meta": FILE},
        {"path": "\0", "meta": FILE},
        {"path": "x" * 100_000, "meta": FILE},
        {"path": 5, "url": [], "size": "x", "meta": FILE},
        POLLUTION | {"path": "x", "meta": POLLUTION | FILE},
        {"path": {"path": {"path": {}}}, "meta": FILE},
    ],
    ids=lambda photo: repr(photo)[:50],
)  # fmt: skip
def test_classify_refuses(server: Server, photo: Any) -> None:
    said = refused(server, "classify", [photo])
    assert "root:" not in said


def test_a_url_is_not_fetched_for_anyone(server: Server) -> None:
    """Neither as a photo nor as the value of anything else, nor by the route for files."""
    url = {"path": "https://example.com/cat.jpg", "meta": FILE}
    assert refused(server, "classify", [url]) == gate.NOT_FETCHED
    assert refused(server, "smooth", [[url], 0, {"a": [url]}]) == gate.NOT_FETCHED
    for route in (
        "file=https://example.com/cat.jpg",
        "file=HTTP://127.0.0.1:1/",
        "file/https://a.b",
    ):
        answer = server.get(route)
        assert answer.status_code == 403
        assert_sentence(answer.json()["detail"])
    assert server.get("proxy=https://huggingface.co/x").status_code == 403
    assert server.trespasses() == []


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/proc/self/environ",
        "/proc/self/cwd/app.py",
        str(ROOT / "app.py"),
        str(ROOT / "model" / "checkpoints" / "smoothed.safetensors"),
        str(ROOT / ".git"),
        "app.py",
        "requirements.txt",
        "file:///etc/passwd",
        "\\\\127.0.0.1\\share\\x",
        "%00",
    ],
)
def test_no_file_outside_the_app_is_readable(server: Server, path: str) -> None:
    for route in (f"file={path}", f"file/{path}", f"stream/{path}", f"static/{path}"):
        answer = server.get(route)
        assert answer.status_code in (403, 404, 405), route
        assert b"root:" not in answer.content
    for prefix in ("static", "assets", "svelte"):
        answer = httpx.get(f"{server.url}/{prefix}/{path}", follow_redirects=False)
        assert answer.status_code != 200, prefix


def test_an_upload_is_readable_by_its_address_alone(server: Server) -> None:
    """And if it is a page or a drawing, a browser saves it instead of showing it."""
    path = server.upload("page.html", f"<!doctype html>{hostile.SCRIPT}".encode())
    answer = server.get(f"file={path}")
    assert "attachment" in answer.headers["content-disposition"]
    assert server.get(f"file={Path(path).parent}").status_code == 403


@pytest.mark.parametrize(
    ("route", "method"),
    [
        ("run-history/records", "get"),
        ("run-history/connect", "post"),
        ("runs", "get"),
        ("deep_link?session_hash=x", "get"),
        ("process_recording", "post"),
        ("vibe-edit", "post"),
        ("vibe-code", "get"),
        ("dev/reload", "get"),
    ],
)
def test_routes_without_a_use_here_are_closed(server: Server, route: str, method: str) -> None:
    answer = getattr(server, method)(route)
    assert answer.status_code == 403
    assert_sentence(answer.json()["detail"])


@pytest.mark.parametrize(("megabytes", "status"), [(51, 413), (100, 413)])
def test_too_large_an_upload(server: Server, megabytes: int, status: int) -> None:
    answer = server.post("upload", files={"files": ("photo.jpg", bytes(megabytes << 20))})
    assert answer.status_code == status
    assert "50 MB" in answer.text or "maximum allowed size" in answer.text


def test_too_large_a_body(server: Server) -> None:
    answer = server.post("call/smooth", content=b'{"data": ["' + b"x" * (100 << 20) + b'"]}')
    assert answer.status_code == 413
    assert answer.json()["detail"] == gate.TOO_LARGE


def test_too_large_a_body_that_does_not_say_so(server: Server) -> None:
    """Sent in chunks, without a Content-Length: small is served, large is not."""
    json_type = {"Content-Type": "application/json"}
    small = iter([b'{"data": [[1, 2], ', b"0, 0.1]}"])
    assert server.post("call/smooth", content=small, headers=json_type).status_code == 200
    large = (b"[" if n == 0 else b"1," * (1 << 19) for n in range(100))
    try:
        answer = server.post("call/smooth", content=large, headers=json_type)
    except httpx.TransportError:
        return  # hung up on while still sending
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"data": 5}', b"\xff\xfe", b"[" * 100_000, b'{"a":1}']
)
@pytest.mark.parametrize("route", ["call/smooth", "run/smooth", "queue/join", "reset", "cancel"])
def test_what_is_no_request(server: Server, route: str, body: bytes) -> None:
    answer = server.post(route, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500 or answer.json().get("detail") == gate.NOT_ANSWERED
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("fn_index", [-1, 10**9, 10**30, "0", None, [], {}, 1.5])
def test_events_that_do_not_exist(server: Server, fn_index: Any) -> None:
    body = {"data": [], "fn_index": fn_index, "session_hash": "x"}
    answer = server.post("queue/join", json=body)
    assert "Traceback" not in answer.text
    assert answer.status_code < 500 or answer.json()["detail"] == gate.NOT_ANSWERED
    assert server.post("call/no_such_endpoint", json={"data": []}).status_code != 200


NONSENSE: list[Any] = [None, "nonsense", -1, 1e308, [], {}, POLLUTION, "x" * 10_000, [[]], True]


def test_no_event_of_the_page_breaks_on_nonsense(server: Server) -> None:
    """By their numbers, all of them, those without a name too: a result or a sentence."""
    config = httpx.get(f"{server.url}/config", timeout=60).json()
    events = [d for d in config["dependencies"] if d["backend_fn"]]
    assert len(events) > 10
    answers = 0
    for event in events:
        for value in NONSENSE:
            try:
                server.event(event["id"], [value] * len(event["inputs"]))
            except Refusal as refusal:
                answers += 1
                assert_sentence(str(refusal))
        if event["inputs"]:
            with pytest.raises(Refusal) as missing:
                server.event(event["id"], [])
            assert_sentence(str(missing.value))
    assert answers > len(events)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


def of_schema(schema: dict[str, Any]) -> st.SearchStrategy:
    """What a schema of the app's own API description allows."""
    kinds: dict[str, st.SearchStrategy] = {
        "number": st.floats(-100, 100) | st.integers(-3, 40),
        "integer": st.integers(-3, 40),
        "boolean": st.booleans(),
        "string": st.sampled_from(schema.get("enum") or ["", "x"]),
        "array": st.lists(st.floats(-100, 100), max_size=12),
    }
    return kinds.get(schema.get("type", ""), json_values)


def test_the_api_holds_what_it_says(server: Server) -> None:
    """Driven from its own description: arguments that fit it, and any others."""
    info = server.get("info").json()["named_endpoints"]
    assert {"/classify", "/smooth"} <= set(info)
    for name, endpoint in info.items():
        fitting = st.tuples(*(of_schema(p["type"]) for p in endpoint["parameters"])).map(list)
        drive(server, name.removeprefix("/"), fitting)
        drive(server, name.removeprefix("/"), st.lists(json_values, max_size=4))


def drive(server: Server, name: str, arguments: st.SearchStrategy) -> None:
    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(arguments)
    def call(data: list[Any]) -> None:
        try:
            json.dumps(data, allow_nan=False)
        except ValueError:
            return
        try:
            assert server.call(name, data)
        except Refusal as refusal:
            assert_sentence(str(refusal))

    call()


def test_programs_see_the_public_endpoints_alone(server: Server) -> None:
    offered = server.get("info").json()
    assert set(offered["named_endpoints"]) == {"/classify", "/smooth"}
    assert not offered["unnamed_endpoints"]
    paths = server.get("openapi.json").json()["paths"]
    assert not [path for path in paths if "calibration" in path or "head" in path]
    client = Client(server.url, verbose=False)
    private = [
        event
        for event in client.config["dependencies"]
        if event["api_visibility"] == "private" and event["backend_fn"]
    ]
    assert private
    for event in private:
        with pytest.raises(ValueError, match=r"."):
            client.predict(api_name=f"/{event['api_name']}")


@pytest.mark.parametrize(
    ("locale", "sentence"),
    [("en-US", gate.QUEUE_FULL), ("zh-CN", "排队的请求太多：请稍后再试。")],
)
def test_a_full_queue_is_one_sentence(
    tmp_path: Path, browser: Browser, locale: str, sentence: str
) -> None:
    """For programs in English, for visitors in the language of their page."""
    (tmp_path / "app.py").write_text(
        "import os, sys, gradio as gr\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from model import gate\nfrom model.tabs.theme import HEAD\n"
        "with gate.Page(analytics_enabled=False) as page:\n"
        "    gr.Button('Ask').click(lambda: None, api_name='ask')\n"
        "page.queue(max_size=0).launch(head=HEAD)\n"
    )
    with served(tmp_path, tmp_path) as server:
        answer = server.post("call/ask", json={"data": []})
        assert answer.status_code == 503
        assert answer.json()["detail"] == gate.QUEUE_FULL
        page = browser.new_page(locale=locale)
        page.goto(server.url)
        page.get_by_role("button", name="Ask").click()
        expect(page.get_by_text(sentence)).to_be_visible(timeout=60_000)
        page.close()


def test_html_in_names_and_exif_stays_text(server: Server, browser: Browser) -> None:
    page = browser.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(server.url)
    for name in ("<img src=x onerror=alert(1)>.png", '"><script>alert(2)</script>.jpg'):
        content = hostile.encode(hostile.picture(), "PNG", exif=hostile.exif())
        page.locator("#photo input[type=file]").set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": content}
        )
        expect(page.locator("#verdict .points")).to_be_visible(timeout=60_000)
        assert page.locator("img[src=x]").count() == 0
        page.get_by_label("Remove Image").first.click()
    page.locator("#photo input[type=file]").set_input_files(
        {"name": "<b>x</b>.png", "mimeType": "image/png", "buffer": b"<script>alert(3)</script>"}
    )
    expect(page.get_by_text("not a photo").first).to_be_visible(timeout=30_000)
    assert dialogs == []
    page.close()
