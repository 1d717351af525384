"""Protects the photos to try: they are there without a network, and the network fails gently."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from PIL import Image

from model import pets, samples
from model.classifier import open_photo


def test_examples_open_without_a_network() -> None:
    found = samples.examples()
    assert [example.name for example in found] == ["cat", "lion", "cheetah", "tower", "flower"]
    for example in found:
        assert min(open_photo(example.path).size) >= 200, example.name
        assert example.note


def test_a_random_photo_comes_from_pets_data(
    tiny_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETS_DATA", str(tiny_pets))
    monkeypatch.setattr(samples.httpx, "Client", None)  # a request would fail here
    photo = samples.random_test_photo()
    assert photo.breed in pets.BREEDS
    assert photo.name.startswith(photo.breed.replace(" ", "_") + "_test")
    assert open_photo(photo.content).size == (36, 40)


def test_a_visitor_is_not_told_where_the_photos_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PETS_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="click an example") as refusal:
        samples.random_test_photo()
    assert str(tmp_path) not in str(refusal.value)
    assert str(tmp_path) in caplog.text  # the operator is


@pytest.fixture
def hub() -> Iterator[HTTPServer]:
    """A server that answers as the Hub's dataset viewer is documented to."""
    content = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(content, "JPEG")

    class Viewer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            body = content.getvalue()
            if self.path.startswith("/rows"):
                source = server.source or f"http://127.0.0.1:{server.server_port}/photo.jpg"
                image = {"src": source, "height": 200, "width": 300}
                row = {"image": image, "label": 35, "image_id": "wheaten_terrier_17"}
                body = json.dumps({"rows": [{"row_idx": 7, "row": row}]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Viewer)
    server.asked, server.source = [], ""  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_fetched_photo_is_asked_for_once(hub: HTTPServer) -> None:
    address = f"http://127.0.0.1:{hub.server_port}/rows"
    photo = samples.fetched(7, address)
    assert (photo.breed, photo.name) == ("Wheaten Terrier", "wheaten_terrier_17")
    assert open_photo(photo.content).size == (300, 200)
    assert samples.fetched(7, address) is photo
    assert len(hub.asked) == 2, "one request for the row, one for the photo, then none"
    assert "offset=7&length=1" in hub.asked[0]


def test_a_photo_elsewhere_is_not_fetched(hub: HTTPServer) -> None:
    hub.source = "http://localhost:9/secret"
    with pytest.raises(ValueError, match="No test photo came"):
        samples.fetched(8, f"http://127.0.0.1:{hub.server_port}/rows")
    assert len(hub.asked) == 1


def test_no_network_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="cannot be reached") as refusal:
        samples.fetched(9, "http://127.0.0.1:9/rows")
    assert "Traceback" not in str(refusal.value)
