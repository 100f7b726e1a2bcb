"""How busy the engine was: its running batch and its queue, polled while requests are in flight.

async with watched(engine.queue, engine.metrics()): await asyncio.gather(...)
engine.metrics().peak       # of the last such block
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from arl.errors import ArlError

PAUSES_S = 0.05, 1.0  # the first and the longest between two looks


@dataclass(frozen=True)
class Queue:
    """Requests in the running batch, and in the queue before it."""

    running: int = 0
    queued: int = 0

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Queue":
        """From SGLang's /v1/loads, over its ranks."""
        ranks = content["loads"]
        return cls(sum(rank["num_running_reqs"] for rank in ranks), sum(rank["num_waiting_reqs"] for rank in ranks))

    def maximum(self, other: "Queue") -> "Queue":
        """The larger of each count."""
        return Queue(max(self.running, other.running), max(self.queued, other.queued))


@dataclass
class Metrics:
    """Sums over a client's requests, from the engine's counts. peak: the highest counts in the last `watched` block."""

    groups: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    peak: Queue = field(default_factory=Queue)

    @property
    def prefilled_tokens(self) -> int:
        """Prompt tokens that were computed: for G hypotheses about one prompt, not G."""
        return self.prompt_tokens - self.cached_tokens


@asynccontextmanager
async def watched(queue: Callable[[], Awaitable[Queue]], metrics: Metrics) -> AsyncIterator[None]:
    """Keeps the highest counts that are seen inside the block in `metrics.peak`. queue: asks the engine."""
    metrics.peak = Queue()
    watching = asyncio.create_task(_watch(queue, metrics))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(queue: Callable[[], Awaitable[Queue]], metrics: Metrics) -> None:
    pause_s, longest_s = PAUSES_S
    while True:
        await asyncio.sleep(pause_s)
        try:
            metrics.peak = metrics.peak.maximum(await queue())
        except ArlError:  # it does not answer: the requests themselves will say so
            return
        pause_s = min(2 * pause_s, longest_s)
