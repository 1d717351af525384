"""What several tests share: the photos where there are any, a real server, a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from model import network
from model.checkpoint import PAIR, Metadata
from model.pets import BREEDS

ROOT = Path(__file__).parent.parent
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Without these Chromium asks its maker's hosts at every start, and a container gives it no sandbox.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture(scope="session")
def pets_root() -> Path:
    """The dataset's root; skips where there is none (the tests download nothing)."""
    if not os.environ.get("PETS_DATA"):
        pytest.skip("needs the photos: set PETS_DATA to the folder that holds oxford-iiit-pet/")
    return Path(os.environ["PETS_DATA"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `python app.py`, started as a user starts it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("server") / "log.txt"
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(tmp_path_factory.mktemp("uploads")),
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    deadline = time.monotonic() + 180
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the app does not come up:\n{log.read_text()}")
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def chromium(playwright: Playwright) -> Browser:
    """Chromium, started."""
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("chromium-browser"), args=QUIET
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: the system's, or the one that `playwright install chromium` brought."""
    with sync_playwright() as playwright:
        try:
            instance = chromium(playwright)
        except Error as problem:
            pytest.skip(f"needs Chromium: run `playwright install chromium` ({problem.message})")
        yield instance
        instance.close()


@pytest.fixture
def tiny_pets(tmp_path: Path) -> Path:
    """A dataset in the official layout: two small pictures of noise per breed and split."""
    folder = tmp_path / "oxford-iiit-pet"
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split in ("trainval", "test"):
        lines = []
        for label, breed in enumerate(BREEDS):
            for copy in range(2):
                name = f"{breed.replace(' ', '_')}_{split}{copy}"
                tint = np.array([7 * label % 256, 31 * label % 256, 97 * label % 256])
                pixels = (tint + rng.integers(0, 60, (40, 36, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg")
                lines.append(f"{name} {label + 1} 1 1\n")
        (folder / "annotations" / f"{split}.txt").write_text("".join(lines))
    return tmp_path


def tiny_pair(folder: Path, seed: int = 0, *, shared: bool = False) -> None:
    """Two checkpoints of ResNet-18 with random weights, for photos of 32 pixels.

    With ``shared`` both have the first one's layers up to the last stage.
    """
    torch.manual_seed(seed)
    trunk: dict[str, torch.Tensor] = {}
    for name, epsilon in zip(PAIR, (0.0, 0.1), strict=True):
        metadata = Metadata("resnet18", epsilon, "none", "trainval", "0", 32, seed)
        state = network.build("resnet18").state_dict() | trunk
        if shared:
            trunk = {k: tensor for k, tensor in state.items() if k.split(".")[0] in network.TRUNK}
        network.save(folder / f"{name}.safetensors", state, metadata)
