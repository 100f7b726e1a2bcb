"""How busy the engine was: its running batch and its queue, polled while requests are in flight.

async with watched(engine.load, engine.metrics()): await asyncio.gather(...)
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
class Load:
    """Requests in the running batch, and in the queue before it."""

    running: int = 0
    queued: int = 0

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Load":
        """From SGLang's /v1/loads, over its ranks."""
        ranks = content["loads"]
        return cls(sum(rank["num_running_reqs"] for rank in ranks), sum(rank["num_waiting_reqs"] for rank in ranks))

    def peak(self, other: "Load") -> "Load":
        return Load(max(self.running, other.running), max(self.queued, other.queued))


@dataclass
class Metrics:
    """Sums over a client's requests, from the engine's counts. peak: the highest load in the last `watched` block."""

    groups: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    peak: Load = field(default_factory=Load)

    @property
    def prefilled_tokens(self) -> int:
        """Prompt tokens that were computed: for G hypotheses about one prompt, not G."""
        return self.prompt_tokens - self.cached_tokens


@asynccontextmanager
async def watched(load: Callable[[], Awaitable[Load]], metrics: Metrics) -> AsyncIterator[None]:
    """Keeps the highest load that is seen inside the block in `metrics.peak`. load: asks the engine."""
    metrics.peak = Load()
    watching = asyncio.create_task(_watch(load, metrics))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(load: Callable[[], Awaitable[Load]], metrics: Metrics) -> None:
    pause_s, longest_s = PAUSES_S
    while True:
        await asyncio.sleep(pause_s)
        try:
            metrics.peak = metrics.peak.peak(await load())
        except ArlError:  # it does not answer: the requests themselves will say so
            return
        pause_s = min(2 * pause_s, longest_s)
