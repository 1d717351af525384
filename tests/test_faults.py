"""Protects against what machines do: damaged files, no room, no network, a process that is killed.

The message names the file and the remedy, and what can still work still works.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, expect
from safetensors import safe_open
from safetensors.torch import save_file

from model import evaluate, network, sandbox
from model.classifier import open_photo
from model.network import CHECKPOINTS
from tests import hostile
from tests.conftest import ROOT
from tests.serving import Refusal, Server, checkout, children, served

SMOOTHED, EVALUATION = CHECKPOINTS / "smoothed.safetensors", CHECKPOINTS / "evaluation.npz"


def header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def rewritten(metadata: dict[str, str]) -> Callable[[Path], None]:
    """The good weights under other metadata."""

    def write(path: Path) -> None:
        with safe_open(SMOOTHED, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        save_file(state, path, metadata=metadata)

    return write


def flipped(source: Path, *bits: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = bytearray(source.read_bytes())
        for bit in bits:
            data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)

    return write


def cut(source: Path, part: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(source.read_bytes()[: int(source.stat().st_size * part)])


META = header(SMOOTHED)
WEIGHTS: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated in the header": cut(SMOOTHED, 0.00001),
    "truncated at a tenth": cut(SMOOTHED, 0.1),
    "truncated at the end": cut(SMOOTHED, 0.9999),
    "header length flipped": flipped(SMOOTHED, 30),
    "header flipped": flipped(SMOOTHED, 80, 200, 1000),
    "a pickle": lambda path: torch.save({"fc.bias": torch.zeros(37)}, path),
    "no metadata": rewritten({}),
    "other classes": rewritten(META | {"classes": json.dumps(["cat", "dog"])}),
    "classes no list": rewritten(META | {"classes": "5"}),
    "classes no JSON": rewritten(META | {"classes": "cat, dog"}),
    "wrong network": rewritten(META | {"arch": "resnet18"}),
    "no network of ours": rewritten(META | {"arch": "vgg16"}),
    "epsilon NaN": rewritten(META | {"epsilon": "nan"}),
    "epsilon no number": rewritten(META | {"epsilon": "a lot"}),
    "huge photos": rewritten(META | {"image_size": "1000000"}),
    "no photos": rewritten(META | {"image_size": "0"}),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_damaged_weights_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "smoothed.safetensors"
    WEIGHTS[damage](path)
    with pytest.raises(ValueError, match=r"smoothed\.safetensors.*Restore it"):
        network.load(path)


def test_a_pickle_is_never_unpickled(tmp_path: Path) -> None:
    """Neither as weights nor inside the evaluation: what it would run does not run."""
    trap, sprung = tmp_path / "evaluation.npz", tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(sprung),)

    arrays = small_evaluation()
    arrays["names"] = np.array([Trap()], dtype=object)
    np.savez(trap, **arrays)
    with pytest.raises(ValueError, match=r"evaluation\.npz.*python -m model\.evaluate"):
        evaluate.load(trap)
    weights = tmp_path / "smoothed.safetensors"
    torch.save({"fc.bias": Trap()}, weights)
    with pytest.raises(ValueError, match="Restore it"):
        network.load(weights)
    assert not sprung.exists()


def small_evaluation() -> dict[str, np.ndarray]:
    """The arrays of an evaluation that loads, of 74 photos and few dimensions."""
    rng, n, size, kept = np.random.default_rng(0), 74, 32, 8
    arrays: dict[str, np.ndarray] = {
        "logits": rng.normal(size=(2, n, 37)).astype(np.float32),
        "labels": np.arange(n) % 37,
        "names": np.array([f"photo_{i}" for i in range(n)]),
    }
    for name in network.PAIR:
        arrays |= {
            f"features_{name}": rng.normal(size=(n, kept)).astype(np.float16),
            f"mean_{name}": rng.normal(size=size).astype(np.float32),
            f"rotation_{name}": rng.normal(size=(size, kept)).astype(np.float32),
            f"templates_{name}": rng.normal(size=(37, kept)).astype(np.float32),
            f"bias_{name}": rng.normal(size=37).astype(np.float32),
        }
    return arrays


def changed(**arrays: Any) -> Callable[[Path], None]:
    """An evaluation with some arrays replaced, or passed through a function."""

    def write(path: Path) -> None:
        good = small_evaluation()
        for name, new in arrays.items():
            good[name] = new(good[name]) if callable(new) else new
        np.savez(path, **{name: array for name, array in good.items() if array is not None})

    return write


def poisoned(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def poison(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[7] = value
        return array

    return poison


NPZ: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no archive"),
    "a single array": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{"),
    "truncated at half": cut(EVALUATION, 0.5),
    "truncated at the end": cut(EVALUATION, 0.9999),
    "flipped at the start": flipped(EVALUATION, 3, 40, 300),
    "flipped in the middle": flipped(EVALUATION, EVALUATION.stat().st_size * 4),
    "flipped at the end": flipped(EVALUATION, (EVALUATION.stat().st_size - 22) * 8),
    "an empty archive": lambda path: zipfile.ZipFile(path, "w").close(),
    "logits gone": changed(logits=None),
    "logits of one classifier": changed(logits=lambda a: a[:1]),
    "logits of ten breeds": changed(logits=lambda a: a[:, :, :10]),
    "logits as text": changed(logits=lambda a: a.astype(str)),
    "logits NaN": changed(logits=poisoned(np.nan)),
    "logits infinite": changed(logits=poisoned(np.inf)),
    "labels of other classes": changed(labels=poisoned(37)),
    "labels negative": changed(labels=poisoned(-1)),
    "labels as floats": changed(labels=lambda a: a.astype(float)),
    "labels in a table": changed(labels=lambda a: a[:, None]),
    "names too few": changed(names=lambda a: a[:-1]),
    "names as numbers": changed(names=lambda a: np.arange(len(a))),
    "features NaN": changed(features_smoothed=poisoned(np.nan)),
    "features too few": changed(features_unsmoothed=lambda a: a[1:]),
    "features flat": changed(features_unsmoothed=lambda a: a.ravel()),
    "rotation turned": changed(rotation_smoothed=lambda a: a.T),
    "mean too long": changed(mean_smoothed=lambda a: np.append(a, 0)),
    "bias infinite": changed(bias_smoothed=poisoned(np.inf)),
    "templates of ten": changed(templates_unsmoothed=lambda a: a[:10]),
    "no photos": changed(
        logits=lambda a: a[:, :0], labels=lambda a: a[:0], names=lambda a: a[:0],
        features_smoothed=lambda a: a[:0], features_unsmoothed=lambda a: a[:0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", NPZ)
def test_a_damaged_evaluation_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "evaluation.npz"
    NPZ[damage](path)
    with pytest.raises(ValueError, match=r"evaluation\.npz.*python -m model\.evaluate"):
        evaluate.load(path)


def test_the_good_files_load(tmp_path: Path) -> None:
    """What all the damage above starts from."""
    evaluate.load()
    network.load(SMOOTHED)
    changed()(tmp_path / "evaluation.npz")
    evaluate.load(tmp_path / "evaluation.npz")


DAMAGES = [
    ("smoothed.safetensors", WEIGHTS["missing"]),
    ("unsmoothed.safetensors", flipped(SMOOTHED, SMOOTHED.stat().st_size * 4)),
    ("evaluation.npz", NPZ["flipped in the middle"]),
]


@pytest.mark.parametrize(
    ("file", "damage"),
    DAMAGES,
    ids=["weights missing", "a bit of the weights flipped", "evaluation flipped"],
)
def test_the_page_names_the_file_and_the_rest_works(
    tmp_path: Path, browser: Browser, file: str, damage: Callable[[Path], Any]
) -> None:
    """The toy needs no file, Classify the weights alone, the other tabs the evaluation alone."""
    root = checkout(tmp_path)
    path = root / "model" / "checkpoints" / file
    path.unlink()
    damage(path)
    with served(tmp_path, root) as server:
        config = httpx.get(f"{server.url}/config", timeout=60).text
        assert file in config
        assert "Restore it" in config
        assert "Traceback" not in config + server.log.read_text()
        assert server.call("smooth", [[2, 1, 0], 0, 0.1])[0]["num_classes"] == 3
        page = browser.new_page()
        page.goto(server.url)
        message = page.get_by_text(f"{file} is").locator("visible=true")
        weights_lost = file.endswith(".safetensors")
        if weights_lost:
            expect(message).to_be_visible(timeout=180_000)
        else:
            photo = hostile.valid_files()["JPEG"]
            assert server.classify("photo.jpg", photo)["smoothed"]["breed"]
            page.locator("#photo input[type=file]").set_input_files(
                {"name": "p.jpg", "mimeType": "image/jpeg", "buffer": photo}
            )
            expect(page.locator("#verdict .points")).to_be_visible(timeout=180_000)
            expect(page.locator("#cure")).to_have_count(0)
        for tab, table in (("Calibration", "table"), ("Train it yourself", "#head-numbers td")):
            page.get_by_role("tab", name=tab).click()
            shown = message if not weights_lost else page.locator(f"{table}:visible").first
            expect(shown).to_be_visible(timeout=180_000)
        page.close()


def test_a_machine_without_room_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No decoder can be started: one sentence, and the next photo opens when there is room."""

    def no_room(*command: Any, **options: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    photo = hostile.valid_files()["JPEG"]
    monkeypatch.setattr(sandbox, "idle", LifoQueue())
    with monkeypatch.context() as fault:
        fault.setattr(subprocess, "Popen", no_room)
        with pytest.raises(ValueError, match="try again in a moment"):
            open_photo(photo)
    assert open_photo(photo).mode == "RGB"
    sandbox.idle.get().close()


def uploads(server: Server) -> list[Path]:
    return [p for p in (server.log.parent / "temporary").rglob("*.png") if "photo" in p.name]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_in_mid_request_and_started_again(tmp_path: Path) -> None:
    """No decoder outlives the server, and the next start deletes what was left of the uploads."""
    content = hostile.encode(Image.new("RGB", (12_000, 9_000)), "PNG")
    with served(tmp_path) as server:
        path = server.upload("photo.png", content)
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        server.post("call/classify", json={"data": [file]})
        deadline = time.monotonic() + 30
        while not (decoders := children(server.process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        server.process.kill()
        server.process.wait()
        assert uploads(server)
    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{child}").exists() for child in decoders):
        assert time.monotonic() < deadline, "a decoder is still there"
        time.sleep(0.1)
    with served(tmp_path) as server:
        assert not uploads(server)
        assert server.classify("photo.png", hostile.valid_files()["PNG"])["smoothed"]["breed"]
        assert uploads(server)
    assert not uploads(server)  # ended in good order, it leaves nothing


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a place that cannot be written")
@pytest.mark.parametrize("place", ["/proc/uploads", "/dev/full/uploads"])
def test_a_temporary_folder_that_cannot_be_written(place: str) -> None:
    """The app says so at once, in one sentence, instead of at the first upload."""
    started = subprocess.run(
        [sys.executable, "-W", "ignore", "app.py"],
        cwd=ROOT,
        env=os.environ | {"GRADIO_TEMP_DIR": place},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert started.returncode == 1
    assert place in started.stderr
    assert "GRADIO_TEMP_DIR" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_full_disk_refuses_uploads_and_nothing_else(tmp_path: Path) -> None:
    """A disk of 3 MB, where the machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with served(tmp_path, uploads=str(disk)) as server:
            large = {"files": ("photo.jpg", os.urandom(8 << 20))}
            answer = server.post("upload", files=large)
            assert answer.status_code >= 400
            assert "try again" in answer.text
            for left in disk.rglob("*"):  # someone makes room
                if left.is_file() and left.stat().st_size > 1 << 20:
                    left.unlink()
            assert server.call("smooth", [[2, 1, 0], 0, 0.1])[0]["num_classes"] == 3
            assert server.classify("photo.jpg", hostile.valid_files()["JPEG"])["smoothed"]["breed"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_files_that_cannot_be_written_while_it_serves(tmp_path: Path) -> None:
    """As on a full disk or one that became read-only, without the right to mount one."""
    import resource

    def limit(size: int) -> None:
        hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    with served(tmp_path) as server:
        path = server.upload("photo.jpg", hostile.valid_files()["JPEG"])
        limit(0)
        answer = server.post("upload", files={"files": ("photo.jpg", os.urandom(3 << 20))})
        assert answer.status_code >= 400
        assert "try again" in answer.text
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        assert server.call("smooth", [[2, 1, 0], 0, 0.1])[0]["num_classes"] == 3
        assert server.call("classify", [file])[0]["smoothed"]["breed"]
        limit(resource.RLIM_INFINITY)
        assert server.classify("photo.jpg", hostile.valid_files()["PNG"])["smoothed"]["breed"]


def test_the_folder_for_uploads_disappears(tmp_path: Path) -> None:
    """As when something tidies up the temporary folder: the next upload makes it anew."""
    with served(tmp_path) as server:
        photo = hostile.valid_files()["JPEG"]
        path = Path(server.upload("photo.jpg", photo))
        shutil.rmtree(path.parent.parent)
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(Refusal, match=r"\."):
            server.call("classify", [file])
        assert server.classify("photo.jpg", photo)["smoothed"]["breed"]


def test_the_clock_goes_backwards(tmp_path: Path) -> None:
    """By a day, then by a year, while requests are on their way: every one is answered in time."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    large = hostile.encode(Image.new("RGB", (12_000, 9_000)), "PNG")
    with served(tmp_path, clock=clock) as server:
        here = httpx.get(server.url, timeout=60).headers["date"]
        for offset in (-86_400, -365 * 86_400):
            with ThreadPoolExecutor(1) as thread:
                answer = thread.submit(server.classify, "large.png", large)
                time.sleep(0.3)
                clock.write_text(str(offset))
                assert answer.result(timeout=60)["smoothed"]["breed"]
            time.sleep(1.5)  # the server reads the clock once a second
            assert httpx.get(server.url, timeout=60).headers["date"] != here  # it did go back
            start = time.monotonic()
            assert server.classify("photo.jpg", hostile.valid_files()["JPEG"])["smoothed"]["breed"]
            assert server.call("smooth", [[2, 1, 0], 0, 0.1])[0]["num_classes"] == 3
            assert server.event(*first_event(server))
            with pytest.raises(Refusal, match="not a photo"):
                server.classify("photo.jpg", b"no photo")
            slow = hostile.many_scans(8_000, 20_000_000)
            with pytest.raises(Refusal, match="too long"):
                server.classify("slow.jpg", slow)
            assert time.monotonic() - start < 60
        assert "Traceback" not in server.log.read_text()


def first_event(server: Server) -> tuple[int, list[Any]]:
    """An event of the page that has a session: opening the tab that its address names."""
    config = httpx.get(f"{server.url}/config", timeout=60).json()
    events = [d for d in config["dependencies"] if d["backend_fn"] and not d["inputs"]]
    return events[0]["id"], []


def test_without_a_network_and_in_a_checkout_that_cannot_be_written(tmp_path: Path) -> None:
    """It starts and classifies, and does not even try the network or to write there."""
    with served(tmp_path) as server:
        assert server.classify("photo.jpg", hostile.valid_files()["JPEG"])["smoothed"]["breed"]
    assert server.attempts.read_text() == ""


def test_the_watch_is_awake(tmp_path: Path) -> None:
    """What the test above relies on: an attempt is refused and noted."""
    (tmp_path / "app.py").write_text(
        "import socket\n"
        "for attempt in (lambda: socket.create_connection(('example.com', 80)),\n"
        "                lambda: socket.socket().connect(('192.0.2.1', 80)),\n"
        "                lambda: open('here.txt', 'w')):\n"
        "    try:\n        attempt()\n    except PermissionError:\n        pass\n"
    )
    log = tmp_path / "attempts.txt"
    command = [sys.executable, str(ROOT / "tests" / "watched.py"), str(log)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    attempts = log.read_text().splitlines()
    assert attempts[:2] == ["look up example.com", "connect 192.0.2.1"]
    assert attempts[2].startswith("write ")
    assert not (tmp_path / "here.txt").exists()


def test_sigterm_ends_it_in_good_order(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        server.upload("photo.png", hostile.valid_files()["PNG"])
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        assert not uploads(server)
        assert "Traceback" not in server.log.read_text()
