"""How fast the Calibration tab redraws: `python tests/benchmarks/calibration_latency.py`.

Changes the bins 50 times and the cure 50 times, and prints the median and the 95th percentile in
milliseconds: of the work at the server (numbers, figures, JSON), and of the whole round trip of a
program that asks a server on this machine (HTTP, queue and answer on top). Target for the work at
the server: 150 ms in the median. Scores and fits are computed before the clock starts, as they are
on the page when the tab opens; how long that takes is printed too.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gradio_client import Client  # noqa: E402

from model import report  # noqa: E402
from model.calibrators import CURES, NONE, Cures  # noqa: E402
from model.evaluate import load  # noqa: E402
from model.tabs import calibration as tab  # noqa: E402

TARGET = 150


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def timed(action: Callable[[int], object], times: int) -> tuple[float, float]:
    """The median and the 95th percentile of ``action(i)``, in milliseconds."""
    action(0)
    seconds = []
    for i in range(times):
        start = time.perf_counter()
        action(i)
        seconds.append(time.perf_counter() - start)
    median, high = np.percentile(seconds, [50, 95]) * 1000
    return float(median), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="redraws of each kind (%(default)s)")
    times = parser.parse_args().times

    evaluation = load()
    cures = Cures(evaluation.logits, evaluation.labels)
    start = time.perf_counter()
    for cure in CURES:
        cures.crossed(cure)
    print(f"all fits, once:      {1000 * (time.perf_counter() - start):7.0f} ms")
    lab = report.Lab(evaluation, cures)
    start = time.perf_counter()
    report.report(lab, 15, False, NONE, 0.1)
    print(f"all intervals, once: {1000 * (time.perf_counter() - start):7.0f} ms")

    with gr.Blocks() as demo:
        plot = gr.Plot()
        with gr.Tab("Calibration"):
            tab.build(evaluation, cures)

    def bins(i: int) -> None:
        for figure in tab.diagrams(lab, CURES[i % 4], 5 + i % 46, tab.MASS if i % 2 else tab.WIDTH):
            plot.postprocess(figure)

    def cure(i: int) -> None:
        chosen = CURES[i % 4]
        for figure in tab.diagrams(lab, chosen, 15, tab.WIDTH) + tab.histograms(lab, chosen):
            plot.postprocess(figure)

    work = {"bins": timed(bins, times), "cure": timed(cure, times)}
    _, url, _ = demo.launch(prevent_thread_lock=True, server_port=free_port(), quiet=True)
    client = Client(url, verbose=False)
    trips = {
        "bins": timed(
            lambda i: client.predict(
                NONE, 5 + i % 46, tab.WIDTH, "en", api_name="/calibration_bins"
            ),
            times,
        ),
        "cure": timed(
            lambda i: client.predict(
                CURES[i % 4], 15, tab.WIDTH, "en", api_name="/calibration_cure"
            ),
            times,
        ),
    }
    demo.close()
    for name in work:
        print(
            f"change of {name}: server median {work[name][0]:6.1f} ms, "
            f"95% {work[name][1]:6.1f} ms; "
            f"round trip median {trips[name][0]:6.1f} ms, 95% {trips[name][1]:6.1f} ms"
        )
    if max(median for median, _ in work.values()) > TARGET:
        sys.exit(f"slower than {TARGET} ms at the server")


if __name__ == "__main__":
    main()
