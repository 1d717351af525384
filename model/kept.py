"""What the server keeps of its visitors, and for how long: uploads and the state of sessions.

Gradio keeps the state of 10,000 sessions, takes each request of a program for a session, and tells
the age of an upload by a clock that may be set back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

SESSIONS = 1000  # the most whose state is kept; those used longest ago go first
CLOSED_SESSIONS = 100  # of pages that were closed: a browser that comes back finds its photo
EVENTS = 100  # finished ones in Gradio's statistics, which nobody sees here
UNCLAIMED = 4000  # sessions that asked and may not have fetched the answer yet

SECONDS_KEPT = 45 * 60  # an upload; looked for every five minutes
SECONDS_BETWEEN = 5 * 60

log = logging.getLogger(__name__)


def forget_sessions(page: gr.Blocks, finished: str | None = None) -> None:
    """Drop the state of sessions that nobody will come back to.

    Args:
        page: the served page.
        finished: a session that has just had its only event.
    """
    sessions = page.state_holder.session_data
    gone = [key for key, state in list(sessions.items()) if state.is_closed][:-CLOSED_SESSIONS]
    for key in [*gone, finished]:
        if key is not None:
            sessions.pop(key, None)
            page.state_holder.time_last_used.pop(key, None)
    unclaimed = page._queue.pending_event_ids_session
    if len(unclaimed) > UNCLAIMED:  # Gradio has dropped the answers of all but the last 2,000
        for key in unclaimed.keys() - page._queue.pending_messages_per_session.keys():
            unclaimed.pop(key, None)


class Sessions(StateHolder):
    """The states of sessions, each made without a copy of the page's configuration.

    Gradio makes one for each session, for links to results, which `gate.CLOSED` shuts; with a
    hundred components that was 7 of the 17 ms of its event loop for a program's request.
    """

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            bare = SimpleNamespace(default_config=self.blocks.default_config, blocks={})
            self.session_data[session_id] = SessionState(bare)  # type: ignore[arg-type]
        return super().__getitem__(session_id)


class Uploads:
    """The uploaded and served files of a page, with their age by a clock that never goes back."""

    def __init__(self, page: gr.Blocks, clock: Callable[[], float] = time.monotonic) -> None:
        self.page = page
        self.clock = clock
        self.seen: dict[str, tuple[int, float]] = {}  # when written, and when first seen so

    def delete_old(self, seconds: float = SECONDS_KEPT) -> None:
        """Delete the files that were first seen so long ago and were not written since."""
        now, seen = self.clock(), {}
        for file in self.files():
            try:
                written = os.lstat(file).st_ctime_ns
                before, since = self.seen.get(file, (written, now))
                seen[file] = (written, since if before == written else now)
                if now - seen[file][1] > seconds:
                    Path(file).unlink()
                    self.forget(file)
                    del seen[file]
            except FileNotFoundError:  # deleted already
                self.forget(file)
            except OSError as problem:  # it is tried again
                log.warning("An upload could not be deleted: %s", problem.strerror)
        self.seen = seen

    def forget(self, file: str) -> None:
        """Drop the name of a deleted file, which Gradio would keep, and its folder."""
        for files in self.page.temp_file_sets:
            files.discard(file)
        with contextlib.suppress(OSError):  # gone, or another file is in it
            Path(file).parent.rmdir()

    def files(self) -> Iterable[str]:
        """Those that Gradio would delete."""
        needed: set[str] = set()
        for block in self.page.blocks.values():
            needed |= getattr(block, "keep_in_cache", set())
        return {str(file) for files in self.page.temp_file_sets for file in list(files)} - needed

    def watch(self) -> None:
        """Delete old files for as long as the process lives."""

        def run() -> None:
            while True:
                time.sleep(SECONDS_BETWEEN)
                self.delete_old()

        threading.Thread(target=run, daemon=True, name="uploads").start()
