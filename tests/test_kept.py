"""Protects memory and privacy: what nobody will come back to is forgotten, whatever the clock."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.processing_utils import save_bytes_to_cache

from model import gate, kept
from tests.conftest import free_port

HOUR = 3600


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A page with a state for each session, served; and its address."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gate.Page(analytics_enabled=False) as page:
        count, text = gr.State(0), gr.Textbox()
        gr.Image()
        gr.Button().click(lambda n: (n + 1, str(n + 1)), count, [count, text], api_name="count")
        gr.Button().click(lambda: 1 / 0, None, text, api_name="fail")
    page.launch(prevent_thread_lock=True, quiet=True, server_port=free_port())
    yield page
    page.close()


def call(page: gr.Blocks, name: str, **more: str) -> str:
    url = f"{page.local_url}gradio_api/call/{name}"
    event = httpx.post(url, json={"data": [], **more}, timeout=30).json()["event_id"]
    return httpx.get(f"{url}/{event}", timeout=30).text


def join(page: gr.Blocks, session: str) -> str:
    """One event of a page that has a session."""
    url = f"{page.local_url}gradio_api/queue"
    index = next(i for i, f in page.fns.items() if f.api_name == "count")
    body = {"data": [None], "fn_index": index, "session_hash": session}
    httpx.post(f"{url}/join", json=body, timeout=30).raise_for_status()
    return httpx.get(f"{url}/data", params={"session_hash": session}, timeout=30).text


def test_a_session_has_no_copy_of_the_page(page: gr.Blocks) -> None:
    """What Gradio would draw up for each of them, on the thread that answers all others."""
    assert '"1"' in join(page, "visitor")
    (state,) = page.state_holder.session_data.values()
    assert len(page.blocks) > 4
    touched = {page.blocks[key].get_block_name() for key in state.config_values}
    assert touched == {"state", "textbox"}


def test_a_program_leaves_no_session(page: gr.Blocks) -> None:
    """Answered or refused; a page keeps its own, which is what state is for."""
    for _ in range(5):
        assert '"1"' in call(page, "count")
        assert "event: error" in call(page, "fail")
    assert not page.state_holder.session_data
    assert not page.state_holder.time_last_used
    assert '"1"' in join(page, "visitor")
    call(page, "count")
    assert '"2"' in join(page, "visitor")
    assert list(page.state_holder.session_data) == ["visitor"]


def test_closed_pages_are_forgotten_but_for_the_last(
    page: gr.Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "CLOSED_SESSIONS", 2)
    for name in ("open", "a", "b", "c"):
        join(page, name)
        page.state_holder[name].is_closed = name != "open"
    join(page, "d")
    assert set(page.state_holder.session_data) == {"open", "b", "c", "d"}


def test_answers_that_nobody_fetches_are_forgotten(
    page: gr.Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "UNCLAIMED", 3)
    page._queue.pending_event_ids_session.update({f"gone {n}": {"x"} for n in range(9)})
    join(page, "visitor")
    assert not [k for k in page._queue.pending_event_ids_session if k.startswith("gone")]
    assert page._queue.ANALYTICS_MAX_EVENTS == kept.EVENTS


def test_an_upload_is_never_older_than_an_hour() -> None:
    """First seen one interval late, deleted one interval late."""
    assert kept.SECONDS_KEPT + 2 * kept.SECONDS_BETWEEN < HOUR


def test_uploads_go_though_the_clock_goes_back(
    page: gr.Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock is set back by a day; the time since is what counts."""
    import datetime as dt
    import time

    from gradio import route_utils

    class Yesterday(dt.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return dt.datetime.now(tz) - dt.timedelta(days=1)

    clock = SimpleNamespace(now=0.0)
    uploads = kept.Uploads(page, lambda: clock.now)
    files = {"files": ("photo.png", b"some photo")}
    answer = httpx.post(f"{page.local_url}gradio_api/upload", files=files, timeout=30)
    path = Path(answer.json()[0])
    uploads.delete_old()
    monkeypatch.setattr(route_utils, "datetime", Yesterday)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    clock.now = kept.SECONDS_KEPT - 1
    uploads.delete_old()
    assert path.exists()
    clock.now += 2
    route_utils.delete_files_created_by_app(page, 0)
    assert path.exists()  # Gradio takes it for one of tomorrow
    uploads.delete_old()
    assert not path.exists()
    assert not uploads.seen
    assert not any(page.temp_file_sets), "the name of a deleted file is kept"
    assert not path.parent.exists()


def test_an_upload_that_someone_else_deleted_is_forgotten(page: gr.Blocks, tmp_path: Path) -> None:
    path = Path(save_bytes_to_cache(b"a photo", "photo.png", str(tmp_path)))
    page.upload_file_set.add(str(path))
    path.unlink()
    kept.Uploads(page).delete_old()
    assert not any(page.temp_file_sets)


def test_an_upload_that_cannot_be_deleted_stops_nothing(
    page: gr.Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays noted and is tried again, and the next one goes."""
    stuck, free = (
        Path(save_bytes_to_cache(name.encode(), f"{name}.png", str(tmp_path)))
        for name in ("stuck", "free")
    )
    page.upload_file_set.update({str(stuck), str(free)})
    real = os.unlink

    def unlink(path: Path) -> None:
        if Path(path) == stuck:
            raise PermissionError(13, "Permission denied")
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    clock = SimpleNamespace(now=0.0)
    uploads = kept.Uploads(page, lambda: clock.now)
    uploads.delete_old()
    clock.now = kept.SECONDS_KEPT + 1
    uploads.delete_old()
    assert stuck.exists()
    assert not free.exists()
    assert page.upload_file_set == {str(stuck)}
    monkeypatch.setattr(os, "unlink", real)
    uploads.delete_old()
    assert not stuck.exists()


def test_an_upload_that_came_again_starts_anew(page: gr.Blocks, tmp_path: Path) -> None:
    clock = SimpleNamespace(now=0.0)
    uploads = kept.Uploads(page, lambda: clock.now)
    path = Path(save_bytes_to_cache(b"a photo", "photo.png", str(tmp_path)))
    page.upload_file_set.add(str(path))
    example = Path(save_bytes_to_cache(b"an example", "example.png", str(tmp_path)))
    page.upload_file_set.add(str(example))
    next(b for b in page.blocks.values() if isinstance(b, gr.Image)).keep_in_cache.add(str(example))
    uploads.delete_old()
    clock.now = kept.SECONDS_KEPT
    os.utime(path)  # written again
    uploads.delete_old()
    clock.now += kept.SECONDS_KEPT
    uploads.delete_old()
    assert path.exists()
    clock.now += 1
    uploads.delete_old()
    assert not path.exists()
    assert example.exists()  # what the page shows from the start stays
