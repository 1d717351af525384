"""What the page weighs: `python tests/benchmarks/page_weight.py`.

Opens the app in headless Chromium with an empty cache and prints the bytes that came over the wire,
the time until the page can be used (its first verdict and figure are drawn and the main thread has
been free for half a second), and the bytes of one figure update: another axis on the Classify tab.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.conftest import chromium  # noqa: E402
from tests.serving import served  # noqa: E402

# Lighthouse's definition looks for five quiet seconds; half of one is enough where nothing but
# this page runs, and the time counted ends where the quiet began.
QUIET_SINCE = """() => new Promise((resolve) => {
  let last = performance.now();
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) last = Math.max(last, entry.startTime + entry.duration);
  });
  observer.observe({ type: 'longtask', buffered: false });
  const poll = () => performance.now() - last > 500 ? resolve(last) : setTimeout(poll, 50);
  poll();
})"""


class Wire:
    """Counts the bytes that a page receives."""

    def __init__(self, page: Any) -> None:
        self.received, self.requests = 0, 0
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self.finished)
        session.on("Network.dataReceived", self.streamed)
        self.decoded = 0

    def finished(self, event: dict[str, Any]) -> None:
        self.received += int(event["encodedDataLength"])
        self.requests += 1

    def streamed(self, event: dict[str, Any]) -> None:
        self.decoded += int(event["dataLength"])


def visit(browser: Browser, url: str) -> dict[str, float]:
    """One visit, by someone who was never here before."""
    page = browser.new_context().new_page()
    wire = Wire(page)
    page.goto(url)
    page.locator("#verdict").wait_for()
    page.locator("#distributions .main-svg").first.wait_for()
    seconds = page.evaluate(QUIET_SINCE) / 1000
    page.wait_for_timeout(1000)
    measured = {"MB sent": wire.received / 1e6, "requests": float(wire.requests)}
    measured["s to interactive"] = seconds
    before = wire.decoded
    page.get_by_label("Logarithmic").first.check()
    page.wait_for_timeout(2000)
    measured["kB of a figure update"] = (wire.decoded - before) / 1000
    page.context.close()
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=5, help="visits (%(default)s)")
    times = parser.parse_args().times
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = chromium(playwright)
        visits = [visit(browser, server.url) for _ in range(times + 1)][1:]
        browser.close()
    print(f"| the page, median of {times} | |\n| --- | --: |")
    for name in visits[0]:
        print(f"| {name} | {statistics.median(visit[name] for visit in visits):.1f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
