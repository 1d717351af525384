"""What the server lets in: requests of bounded size, no errands to other hosts, nothing kept.

Every refusal is one sentence, whatever went wrong behind it.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import routes
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model import kept

MAX_BODY = 70 * 2**20  # bytes: a photo of 50 MB in base64, and a little around it
DRAINED = 4 * MAX_BODY  # bytes read and thrown away so that the sender hears why

# Gradio's routes that this app has no use for: it fetches nothing from other hosts for anyone,
# keeps no history of runs and no pages to link to, and edits no code.
CLOSED = re.compile(
    r"^(/gradio_api)?/(file[=/]+https?:|proxy=|process_recording|(undo-)?vibe-|run-history|runs\b"
    r"|deep_link|monitoring|dev/)",
    re.IGNORECASE,
)

NOT_FETCHED = "This server fetches nothing from other hosts: upload the photo itself."
NOT_UNDERSTOOD = (
    "This request does not fit: see the page's API view for what to send, or reload the page."
)
NOT_ANSWERED = "The server could not answer this request: try again in a few minutes."
QUEUE_FULL = "Too many requests are waiting: try again in a moment."
TOO_LARGE = f"This request is larger than {MAX_BODY >> 20} MB: send a photo of at most 50 MB."
CLOSED_HERE = "This address serves nothing here: see the page's API view for what does."

log = logging.getLogger(__name__)


routes.StateHolder = kept.Sessions  # type: ignore[misc] # what a page served has one of


class Page(gr.Blocks):
    """``gr.Blocks`` that answers each event with its result or one sentence."""

    def queue(self, *args: Any, **kwargs: Any) -> Page:
        super().queue(*args, **kwargs)
        self._queue.ANALYTICS_MAX_EVENTS = kept.EVENTS
        enqueue = self._queue.push

        async def push(*args: Any, **kwargs: Any) -> tuple[bool, Any, Any]:
            done, answer, state = await enqueue(*args, **kwargs)
            return done, QUEUE_FULL if state == "queue_full" else answer, state

        self._queue.push = push  # type: ignore[method-assign]
        return self

    async def process_api(
        self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        session, event = kwargs.get("session_hash"), kwargs.get("event_id")
        try:
            return await self.answer(block_fn, inputs, *args, **kwargs)
        finally:  # Gradio names the session of a request without one after its event
            kept.forget_sessions(self, session if session == event else None)

    async def answer(
        self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """``gr.Blocks.process_api``, whose errors all are sentences."""
        if names_a_url(inputs):
            raise gr.Error(NOT_FETCHED, print_exception=False)
        try:
            return await super().process_api(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            if is_sentence(error.message):
                raise
            raise gr.Error(NOT_UNDERSTOOD, print_exception=False) from error
        except Exception as error:
            log.exception("An event failed")
            raise gr.Error(NOT_UNDERSTOOD, print_exception=False) from error


def is_sentence(message: object) -> bool:
    """Whether an error says something to read: Gradio's own ones quote whatever was sent."""
    return isinstance(message, str) and len(message) < 500 and message.endswith((".", "。"))


def names_a_url(inputs: Any) -> bool:
    """Whether a file anywhere in the inputs is one of another host, which Gradio would download."""
    left = [inputs]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            if re.match(r"\s*https?:", str(value.get("path", "")), re.IGNORECASE):
                return True
            left.extend(value.values())
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            left.extend(value)
    return False


class TooLarge(Exception):
    """More has come than a request may have."""


class Gate:
    """ASGI middleware before all routes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if refusal := refusal_of(scope):
            await drain(scope, receive)
            await refusal(scope, receive, send)
            return
        started, received = False, 0

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:  # and it did not say so beforehand
                raise TooLarge
            return message

        async def note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, count, note)
        except TooLarge:
            if not started:
                await JSONResponse({"detail": TOO_LARGE}, 413)(scope, receive, send)
        except Exception:
            log.exception("A request failed")
            if started:
                raise
            await JSONResponse({"detail": NOT_ANSWERED}, 500)(scope, receive, send)


def length_of(scope: Scope) -> int:
    """The Content-Length of a request; 0 if it has none."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0


def refusal_of(scope: Scope) -> JSONResponse | None:
    """Why a request is turned away, if it is."""
    if CLOSED.search(scope["path"]):
        foreign = re.search("https?:", scope["path"], re.IGNORECASE)
        return JSONResponse({"detail": NOT_FETCHED if foreign else CLOSED_HERE}, 403)
    if length_of(scope) > MAX_BODY:
        return JSONResponse({"detail": TOO_LARGE}, 413)
    return None


async def drain(scope: Scope, receive: Receive) -> None:
    """Read what was sent and keep none of it; who sends far too much is cut off."""
    if length_of(scope) <= DRAINED:
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass


MIDDLEWARE = [Middleware(Gate)]


def keep_uploads_apart() -> None:
    """Let Gradio keep uploads in a folder of this process alone, deleted when it ends.

    What a process that was killed has left behind is deleted here, too. A folder named by
    `GRADIO_TEMP_DIR` is used as it is.

    Raises:
        SystemExit: the folder cannot be written; it says what to do.
    """
    if threading.current_thread() is threading.main_thread():  # Ray Serve ends it in its own way
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Gradio then closes, tidies up
    named = os.environ.get("GRADIO_TEMP_DIR")
    base = Path(tempfile.gettempdir()) / f"label-smoothing-lab-{getattr(os, 'getuid', int)()}"
    folder = Path(named) if named else base / str(os.getpid())
    try:
        if not named:
            for left in base.glob("*"):
                if left == folder or not is_running(left.name):
                    shutil.rmtree(left, ignore_errors=True)
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
            probe.flush()
    except OSError as error:
        raise SystemExit(
            f"The folder for uploads, {folder}, cannot be written ({error.strerror}): make room "
            "there, or name another one in the environment variable GRADIO_TEMP_DIR."
        ) from error
    os.environ["GRADIO_TEMP_DIR"] = str(folder)


def is_running(pid: str) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:  # it belongs to someone else
        return True
    return True
