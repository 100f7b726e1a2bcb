"""How busy the engine was: its running batch and its queue, looked at now and then while requests are in flight.

async with watched(engine): await asyncio.gather(...)
engine.metrics().peak       # of the last such block
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arl.errors import ArlError

if TYPE_CHECKING:
    from arl.engine.client import Engine

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


@asynccontextmanager
async def watched(engine: "Engine") -> AsyncIterator[None]:
    """Keeps the highest load that is seen inside the block in the engine's metrics."""
    engine.metrics().peak = Load()
    watching = asyncio.create_task(_watch(engine))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(engine: "Engine") -> None:
    pause_s, longest_s = PAUSES_S
    while True:
        await asyncio.sleep(pause_s)
        try:
            engine.metrics().peak = engine.metrics().peak.peak(await engine.load())
        except ArlError:  # it does not answer: the requests themselves will say so
            return
        pause_s = min(2 * pause_s, longest_s)
