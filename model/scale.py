"""The app on more than one machine, by Ray Serve: `serve run model.scale:app`.

One page takes the visitors; the photos go to classifiers of their own, two replicas here and as
many as a cluster holds, which answer together those that come at the same time. Optional:
`pip install "ray[serve]"`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import FastAPI
from gradio import mount_gradio_app
from numpy.typing import NDArray
from ray import serve
from ray.serve.gradio_integrations import GradioIngress
from ray.serve.handle import DeploymentHandle

import app as page
from model.checkpoint import Metadata
from model.classifier import Pair
from model.engine import Outputs
from model.reading import Reading

Pixels = NDArray[np.uint8]
BATCH, WAIT = 8, 0.005  # photos; seconds that the first waits for others


@serve.deployment(num_replicas=2, max_ongoing_requests=2 * BATCH)
class Classifier:
    """Both networks, in a process of their own."""

    def __init__(self) -> None:
        self.pair = Pair()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT)
    async def __call__(self, photos: Sequence[Pixels]) -> list[Outputs]:
        """Logits and activations of each photo's pixels ``(1, size, size, 3)``."""
        logits, features = await asyncio.to_thread(self.pair.engine, np.concatenate(photos))
        each = range(len(photos))
        return [(logits[:, i : i + 1], features[:, i : i + 1]) for i in each]

    def metadata(self) -> tuple[Metadata, ...]:
        """What the checkpoints say of themselves."""
        return self.pair.metadata


class Remote:
    """The engine that asks the replicas; see ``engine.Engine``."""

    name = "replicas of Ray Serve"
    at_once = 4 * BATCH

    def __init__(self, classifier: DeploymentHandle) -> None:
        self.classifier = classifier
        # A handle does not wait inside the event loop, on which Ray Serve builds the page.
        self.pool = ThreadPoolExecutor(64)
        self.metadata = self.pool.submit(self.ask, "metadata").result()

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a replica answers."""
        return getattr(self.classifier, method).remote(*arguments).result()

    def __call__(self, pixels: Pixels) -> Outputs:
        """See ``engine.Engine``."""
        return self.pool.submit(self.ask, "__call__", pixels).result()


@serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})  # it waits
class Page(GradioIngress):
    """The page: one replica, since Gradio keeps uploads and the queue in the process."""

    def __init__(self, classifier: DeploymentHandle) -> None:
        logging.getLogger("model").setLevel(logging.INFO)
        pair = Pair(choose=lambda _: Remote(classifier))
        blocks = page.ready(Reading(lambda: pair))
        # Given the blocks alone, `GradioIngress` would serve them without the gate and the theme.
        whole = mount_gradio_app(FastAPI(), blocks, path="", **page.OPTIONS)
        super(GradioIngress, self).__init__(whole)


classifiers: Any = Classifier
app = Page.bind(classifiers.bind())
