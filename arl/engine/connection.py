"""HTTP to the engine on loopback: plain calls for control, concurrent ones for generation.

Left out: what the requests mean (client.py). httpx is imported with the first connection, not with the module.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from arl.engine.processes import stopped_members
from arl.engine.state import EngineInfo
from arl.errors import ArlError
from arl.runtime.console import note

LOOK_S = 2.0  # between two looks at the processes of an engine that has not answered yet
STOPPED_S = 60.0  # until an engine whose processes are stopped counts as gone


class EngineGone(ArlError):
    """The engine does not answer any more: the stage cannot go on."""


class Refused(ArlError):
    """The engine answered with an error; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Patience:
    """What a wait for the engine looks at: a stopped process of it (SIGSTOP, a debugger) is said, and waited for
    STOPPED_S long. An engine that computes may take its time."""

    def __init__(self, info: EngineInfo) -> None:
        self._info = info
        self._since: float | None = None

    def look(self) -> None:
        """EngineGone when processes have been stopped for too long."""
        stopped = " ".join(map(str, stopped_members(self._info.pid)))
        if not stopped:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
            note(f"engine: waiting for its stopped process {stopped}, {STOPPED_S:.0f} s at most; kill -CONT {stopped}")
        elif time.monotonic() - self._since > STOPPED_S:
            raise EngineGone(
                f"the engine's process {stopped} has been stopped for {STOPPED_S:.0f} s: kill -CONT {stopped}, or "
                f"`arl engine stop`, then run the command again"
            )


class Connection:
    """Requests to one engine. Every answer but 200 raises Refused, no answer raises EngineGone."""

    def __init__(self, info: EngineInfo, timeout_s: float) -> None:
        import httpx

        self._httpx = httpx
        self._info = info
        self._timeout_s = timeout_s
        self._patience = Patience(info)
        self._session: tuple[asyncio.AbstractEventLoop, Any] | None = None

    def call(self, method: str, path: str, body: Any = None, timeout_s: float | None = None) -> Any:
        """One request; returns the parsed JSON, or None for an empty or plain-text answer."""

        def send() -> Any:
            with self._httpx.Client(**self._options(timeout_s)) as session:
                return self._read(path, session.request(method, path, json=body))

        try:
            return _in_thread(send, self._patience.look)
        except self._httpx.TransportError as error:
            raise self._gone(error) from error

    async def post(self, path: str, body: Any) -> Any:
        """Like `call`, without blocking the event loop and over kept connections."""
        return await self._request("POST", path, body)

    async def get(self, path: str) -> Any:
        """`post` without a body."""
        return await self._request("GET", path, None)

    async def _request(self, method: str, path: str, body: Any) -> Any:
        try:
            return self._read(path, await self._answer(self._open().request(method, path, json=body)))
        except self._httpx.TransportError as error:
            raise self._gone(error) from error

    async def _answer(self, request: Awaitable[Any]) -> Any:
        waiting = asyncio.ensure_future(request)
        try:
            while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
                self._patience.look()
            return waiting.result()
        finally:
            waiting.cancel()

    async def close(self) -> None:
        """Close the connections kept for the running event loop."""
        if self._session is not None and self._session[0] is asyncio.get_running_loop():
            await self._session[1].aclose()
            self._session = None

    def _open(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session[0] is not loop:  # connections belong to their event loop
            limits = self._httpx.Limits(max_connections=None, max_keepalive_connections=64)
            self._session = (loop, self._httpx.AsyncClient(limits=limits, **self._options(None)))
        return self._session[1]

    def _options(self, timeout_s: float | None) -> dict[str, Any]:
        return {
            "base_url": self._info.url,
            "headers": {"Authorization": f"Bearer {self._info.api_key}"},
            "timeout": timeout_s or self._timeout_s,
            "trust_env": False,  # a proxy has no business on loopback
            "verify": False,  # plain HTTP; loading certificates would cost more than the request
        }

    def _gone(self, error: Exception) -> EngineGone:
        reason = f"{type(error).__name__} {error}".strip()
        return EngineGone(f"the engine at {self._info.url} does not answer ({reason}); see {self._info.log}")

    @staticmethod
    def _read(path: str, response: Any) -> Any:
        is_json = response.headers.get("content-type", "").startswith("application/json") and response.content
        content = response.json() if is_json else None
        if response.status_code == 200:
            return content
        text = content or response.text
        for name in ("error", "message"):
            text = text.get(name, text) if isinstance(text, dict) else text
        raise Refused(f"engine: {path}: HTTP {response.status_code}: {str(text)[:300]}", response.status_code)


def _in_thread(work: Callable[[], Any], look: Callable[[], None]) -> Any:
    """What `work` returns or raises; `look` is called every LOOK_S meanwhile and may raise, which leaves it alone."""
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            answer, error = answers.get(timeout=LOOK_S)
        except queue.Empty:
            look()
            continue
        if error is not None:
            raise error
        return answer
