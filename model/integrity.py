"""The SHA-256 sums of the released files: `python -m model.integrity FILE…` records them.

A flipped bit in the middle of the weights gives a network that loads and errs. So the commands that
write files note their sums in `SHA256SUMS` beside them, and what reads the files compares. Its
format is that of `sha256sum`: `cd model/checkpoints && sha256sum -c SHA256SUMS`.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

NAME = "SHA256SUMS"


def sum_of(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded(folder: Path) -> dict[str, str]:
    """The sums noted in a folder, by the names of the files; empty if there are none.

    Raises:
        ValueError: the list is damaged; it says what to do.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = [line.split(maxsplit=1) for line in lines]
        sums = {name.removeprefix("*"): digest for digest, name in pairs}
        if any(len(bytes.fromhex(digest)) != 32 for digest in sums.values()):
            raise ValueError("a sum that is none")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"The list of sums {path} is damaged. Restore it from the repository, or delete it: "
            "`python -m model.integrity` writes it anew."
        ) from error
    return sums


def record(*paths: Path) -> None:
    """Note the sums of files that were just written, each in the list of its folder.

    A file that is gone loses its line.
    """
    for path in paths:
        try:
            sums = recorded(path.parent)
        except ValueError:  # it is written anew
            sums = {}
        sums.pop(path.name, None)
        if path.exists():
            sums[path.name] = sum_of(path)
        unfinished = path.with_name(f"{NAME}.unfinished")
        lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
        unfinished.write_text("".join(lines), encoding="utf-8")
        unfinished.replace(path.with_name(NAME))


def check(path: Path, remedy: str) -> None:
    """Compare a file with its noted sum; a file without one, of your own training, passes.

    Args:
        path: an existing file.
        remedy: a sentence that says how to get the file back.

    Raises:
        ValueError: the sums differ, or one cannot be read; it names the file and the remedy.
    """
    noted = recorded(path.parent).get(path.name)
    try:
        fits = noted is None or sum_of(path) == noted
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}. {remedy}") from error
    if not fits:
        raise ValueError(
            f"{path} is damaged: its SHA-256 sum is not the one in {NAME}. {remedy} If you put it "
            f"there on purpose, note its sum with `python -m model.integrity {path}`."
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.integrity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", type=Path, nargs="+", help="whose sums to note, beside them")
    record(*parser.parse_args().files)


if __name__ == "__main__":
    main()
