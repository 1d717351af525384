"""Protects the start on Hugging Face Spaces: their variables, an ordinary user, read-only files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from huggingface_hub.utils import filter_repo_objects

from model.samples import examples
from tests.conftest import ROOT, free_port

NOBODY = 65534
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is served, in which nothing can be written."""
    copy = tmp_path / "app"
    copy.mkdir()
    for name in ("app.py", "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, copy)
    for folder in ("model", "assets"):
        ignored = shutil.ignore_patterns("__pycache__", "*.pyi")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for path in (tmp_path, *tmp_path.parents[:2]):  # pytest keeps these to their owner
        path.chmod(0o755)
    for path in (*copy.rglob("*"), copy):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return copy


def test_it_starts_as_on_a_space(checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    user = NOBODY if os.getuid() == 0 else None  # root could write everywhere
    run = {"cwd": checkout, "user": user, "group": user, "extra_groups": [] if user else None}
    try:
        subprocess.run([sys.executable, "-c", "import gradio"], check=True, **run)  # type: ignore[call-overload]
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("an ordinary user cannot run this Python: it lies in a folder of root's own")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/label-smoothing-lab",
        "SPACE_HOST": "someone-label-smoothing-lab.hf.space",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(  # type: ignore[call-overload]
            [sys.executable, "app.py"], env=environment, stdout=output, stderr=output, **run
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                ended = process.poll() is not None or time.monotonic() > deadline
                assert not ended, f"the app does not come up:\n{log.read_text()}"
                time.sleep(0.5)
        client = Client(url, verbose=False, download_files=tmp_path)
        answer = client.predict(handle_file(examples()[0].path), api_name="/classify")
        assert set(answer) == {"unsmoothed", "smoothed"}
        with urllib.request.urlopen(f"{url}/config", timeout=30) as config:
            assert b"someone/label-smoothing-lab" in config.read()
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert "Error" not in log.read_text()


def test_the_deploy_command_sends_what_is_served_and_no_more() -> None:
    (command,) = re.findall(r"^hf upload (?:.*\\\n)*.*", README, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == ["hf", "upload", "YOUR_NAME/label-smoothing-lab"]
    excluded = [after for word, after in pairwise(words) if word == "--exclude"]
    assert len(words) == 5 + 2 + 2 * len(excluded), "one --exclude for each pattern"
    paths = [
        "app.py",
        "requirements.txt",
        "README.md",
        "assets/style.css",
        "model/tabs/classify.py",
        "model/checkpoints/smoothed.safetensors",
        "model/checkpoints/evaluation.npz",
        ".venv/bin/python",
        ".git/config",
        "model/__pycache__/loss.cpython-311.pyc",
        "tests/__pycache__/conftest.cpython-311.pyc",
        ".mypy_cache/x.json",
    ]
    sent = list(filter_repo_objects(paths, ignore_patterns=excluded))
    assert sent == paths[:7]
