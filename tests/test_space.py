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
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from huggingface_hub.utils import filter_repo_objects

from model.samples import examples
from tests.conftest import ROOT, free_port

NOBODY = 65534
# What Gradio prints where a Space's own package is missing, and Matplotlib where home is read-only.
THEIRS = ["raise RuntimeError(", "`spaces` package is required", "Errno 13"]
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
    for path in (*copy.rglob("*"), copy):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return copy


def ordinary() -> list[str]:
    """What to put before a command so that it runs as an ordinary user.

    Root becomes a user who may read everything, since this Python may lie in a folder of root's
    own, and write nowhere but in folders open to all.
    """
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (of util-linux) to run as an ordinary user")
    read = "-all,+dac_read_search"
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return ["setpriv", *user, f"--inh-caps={read}", f"--ambient-caps={read}"]


@contextmanager
def started(checkout: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of the app as it runs on a Space, and where it may write."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder, mode in ((home, 0o555), (temporary, 0o777)):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/label-smoothing-lab",
        "SPACE_HOST": "someone-label-smoothing-lab.hf.space",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*ordinary(), sys.executable, "app.py"],
            cwd=checkout,
            env=environment,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                ended = process.poll() is not None or time.monotonic() > deadline
                assert not ended, f"the app does not come up:\n{log.read_text()}"
                time.sleep(0.5)
        yield url, temporary
    finally:
        process.terminate()  # as a Space does that falls asleep
        process.wait(timeout=60)
    problems = [line for line in log.read_text().splitlines() if "Error" in line]
    assert [line for line in problems if not any(known in line for known in THEIRS)] == []


def test_an_ordinary_user_cannot_write(checkout: Path) -> None:
    """Else the next test would prove nothing."""
    code = "from pathlib import Path; Path('app.py').write_text('')"
    run = subprocess.run(
        [*ordinary(), sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True
    )
    assert "PermissionError" in run.stderr


def test_it_runs_as_on_a_space_sleeps_and_wakes(checkout: Path, tmp_path: Path) -> None:
    """Files and home read-only; it ends when told to, leaves nothing behind, and starts again."""
    answers = []
    for _ in range(2):
        with started(checkout, tmp_path) as (url, temporary):
            client = Client(url, verbose=False, download_files=tmp_path)
            answers.append(client.predict(handle_file(examples()[0].path), api_name="/classify"))
            with urllib.request.urlopen(f"{url}/config", timeout=30) as config:
                assert b"someone/label-smoothing-lab" in config.read()
        uploads = temporary.glob("label-smoothing-lab-*/**/*")
        assert not [path for path in uploads if path.is_file()]
    assert set(answers[0]) == {"unsmoothed", "smoothed"}
    assert answers[0] == answers[1]


def test_large_files_are_left_to_the_hub() -> None:
    """No filter that `git clone` would need Git LFS for; none is too large for a plain upload."""
    attributes = ROOT / ".gitattributes"
    assert not attributes.exists() or "filter=" not in attributes.read_text()
    sizes = {path: path.stat().st_size for path in (ROOT / "model" / "checkpoints").iterdir()}
    assert max(sizes.values()) < 5 * 10**9  # the Hub's limit for one part of a plain upload


def test_hf_knows_the_flags_of_the_deploy_commands() -> None:
    commands = re.findall(r"^\.venv/bin/hf upload (?:.*\\\n)*.*", README, re.MULTILINE)
    assert len(commands) == 2
    run = subprocess.run(
        [Path(sys.executable).with_name("hf"), "upload", "--help"],
        env=os.environ | {"COLUMNS": "200", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))
        assert all(word in run.stdout for word in words if word.startswith("--"))


def test_the_deploy_command_sends_what_is_served_and_no_more() -> None:
    command, _ = re.findall(r"^\.venv/bin/hf upload (?:.*\\\n)*.*", README, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == [".venv/bin/hf", "upload", "YOUR_NAME/label-smoothing-lab"]
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
