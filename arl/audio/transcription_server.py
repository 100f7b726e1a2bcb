"""Any recogniser behind an OpenAI-compatible transcription server (vLLM, SGLang, SenseVoice's, a hosted one).

    server = TranscriptionServer("http://localhost:8000/v1", "Qwen/Qwen3-ASR-0.6B")
    server.transcribe([clip], "zh")                                       # ["…"], None for a request that failed

Each clip is one request, several at a time. A request is made once: a server that is busy for longer than the timeout
is too small. Left out: streaming, time stamps, prompts (the text to speak would be one, and no reward).
"""

import functools
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx

from arl.errors import UsageError

PATH = "/audio/transcriptions"
SHOWN = 120  # characters of a server's own words


class TranscriptionServer:
    """url: the server's, with or without `/audio/transcriptions`. model: its name there, where it needs one. key: an
    environment variable that holds one; sent where it is set. timeout_s: of a request. jobs: requests at a time."""

    def __init__(
        self, url: str, model: str = "", key: str = "ARL_ASR_KEY", timeout_s: float = 60.0, jobs: int = 16
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UsageError(f"--url {url!r}: the server's address, such as http://localhost:8000/v1")
        if jobs < 1 or not timeout_s > 0:
            raise UsageError(f"--requests {jobs} --timeout {timeout_s:g}: both above 0")
        self.url = url.rstrip("/").removesuffix(PATH) + PATH
        self.model, self.jobs = model, jobs
        secret = os.environ.get(key) if key else None
        self.session = httpx.Client(
            timeout=timeout_s, headers={"Authorization": f"Bearer {secret}"} if secret else {},
            limits=httpx.Limits(max_connections=jobs),
        )  # fmt: skip
        self.said: set[str] = set()

    @classmethod
    @functools.cache
    def opened(cls, *settings: Any) -> "TranscriptionServer":
        """The one of these settings, whose connections stay open."""
        return cls(*settings)

    def transcribe(self, clips: Sequence[bytes], lang: str = "") -> list[str | None]:
        """The text of each audio file; None, with the first of each kind of reason on stderr, for a request that
        failed. lang: a code of ISO 639-1, or ""."""
        with ThreadPoolExecutor(self.jobs) as pool:
            answers = list(pool.map(lambda clip: self.ask(clip, lang), clips))
        for _, problem in answers:
            kind = problem.partition(":")[0]
            if problem and kind not in self.said:
                self.said.add(kind)
                print(f"asr: {self.url}: {problem}; null for its hypotheses", file=sys.stderr)
        return [text for text, _ in answers]

    def ask(self, clip: bytes, lang: str) -> tuple[str | None, str]:
        """(the text, ""), or (None, what went wrong)."""
        fields = {"model": self.model, "language": lang, "response_format": "json", "temperature": "0"}
        given = {name: value for name, value in fields.items() if value}
        try:
            answer = self.session.post(self.url, data=given, files={"file": ("speech.flac", clip)})
        except httpx.TimeoutException:
            return None, f"no answer in {self.session.timeout.read:g} s (--timeout)"
        except httpx.HTTPError as error:
            return None, f"{type(error).__name__}: {error}"
        if answer.status_code != httpx.codes.OK:
            return None, f"status {answer.status_code}: {' '.join(answer.text.split())[:SHOWN]}"
        return read_text(answer)


def read_text(answer: Any) -> tuple[str | None, str]:
    """(the text of an answer, ""), or (None, why it has none)."""
    try:
        fields = answer.json()
    except ValueError:
        return None, f"no JSON: {' '.join(answer.text.split())[:SHOWN]}"
    if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
        return None, 'no "text" in its answer'
    return fields["text"].strip(), ""
