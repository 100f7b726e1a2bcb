"""HTTP to the engine on loopback: plain calls for control, concurrent ones for generation.

Left out: what the requests mean (client.py). httpx is imported with the first connection, not with the module.
"""

import asyncio
from typing import Any

from arl.engine.state import EngineInfo
from arl.errors import ArlError


class EngineGone(ArlError):
    """The engine does not answer any more: the stage cannot go on."""


class Refused(ArlError):
    """The engine answered with an error; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """Requests to one engine. Every answer but 200 raises Refused, no answer raises EngineGone."""

    def __init__(self, info: EngineInfo, timeout_s: float) -> None:
        import httpx

        self._httpx = httpx
        self._info = info
        self._timeout_s = timeout_s
        self._session: tuple[asyncio.AbstractEventLoop, Any] | None = None

    def call(self, method: str, path: str, body: Any = None, timeout_s: float | None = None) -> Any:
        """One request; returns the parsed JSON, or None for an empty or plain-text answer."""
        try:
            with self._httpx.Client(**self._options(timeout_s)) as session:
                return self._read(path, session.request(method, path, json=body))
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
            return self._read(path, await self._open().request(method, path, json=body))
        except self._httpx.TransportError as error:
            raise self._gone(error) from error

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
