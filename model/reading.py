"""What the page shows, read from files while other things go on. Imports no Gradio."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from model import sandbox
from model.classifier import Pair
from model.evaluate import Evaluation, load

Read = TypeVar("Read")


class Reading:
    """The classifiers and the evaluation, side by side; a process for photos starts as well."""

    def __init__(self, load_pair: Callable[[], Pair] = Pair) -> None:
        """Begin at once; ``load_pair`` gives the classifiers."""
        sandbox.start()
        pool = ThreadPoolExecutor(2, thread_name_prefix="reading")
        self._pair = pool.submit(load_or_explain, load_pair)
        self._evaluation = pool.submit(load_or_explain, load)
        pool.shutdown(wait=False)  # its threads end when both are read

    @property
    def pair(self) -> Pair | str:
        """The classifiers, or why there are none; waits until they are read."""
        return self._pair.result()

    @property
    def evaluation(self) -> Evaluation | str:
        """The measurements, or why there are none; waits until they are read."""
        return self._evaluation.result()


def load_or_explain(load: Callable[[], Read]) -> Read | str:
    """What ``load`` gives, or the sentences that name the missing file and the remedy."""
    try:
        return load()
    except ValueError as error:
        return str(error)
