"""What CI sends to the app, as a table: `python tests/benchmarks/bounded.py`.

Runs the tests of photos, requests, faults, leaks and privacy. Prints for each kind how many cases
were tried, held, failed and left out on this machine, and the time they took (which has to stay
under five minutes in all).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
KINDS = {
    "photos": "test_hostile_photos",
    "requests": "test_hostile_requests",
    "faults": "test_faults",
    "damaged files": "test_integrity",
    "leaks": "test_leaks",
    "what is kept": "test_kept",
    "privacy": "test_privacy",
}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    start, before = time.monotonic(), os.times()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [f"tests/{module}.py" for module in KINDS.values()]
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *files]
        code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
        cases = list(ElementTree.parse(report).iter("testcase"))  # our own file
    used = os.times()
    print(
        "| kind | cases | held | failed | left out | time |\n| --- | --: | --: | --: | --: | --: |"
    )
    for kind, module in KINDS.items():
        own = [case for case in cases if case.get("classname", "").endswith(module)]
        failed = sum(
            case.find("failure") is not None or case.find("error") is not None for case in own
        )
        left_out = sum(case.find("skipped") is not None for case in own)
        seconds = sum(float(case.get("time", 0)) for case in own)
        held = len(own) - failed - left_out
        print(f"| {kind} | {len(own)} | {held} | {failed} | {left_out} | {seconds:.0f} s |")
    processor = sum(used[2:4]) - sum(before[2:4])
    print(f"\n{time.monotonic() - start:.0f} s in all, {processor:.0f} s of processor time.")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
