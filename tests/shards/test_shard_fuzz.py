"""Damaged and hostile shards, thousands of them, to every reader of every column: the original data, or one ArlError.

The same ones each time; `ARL_TEST_FUZZ=20000` makes more. Each has 1 GB more memory than the process has, and ten
seconds. A damaged shard is read as it was or refused, by every stage, alike from a file and a pipe. One with hostile
members and a true end marker is data, or a line that `arl check` has too.
"""

import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.shards import columns
from arl.shards.marker import read_marker
from arl.shards.writer import write_shard
from tests.shards.mutations import damaged, hostile, packed
from tests.shards.stage_readers import POLICY, READERS, READS, Place, checked, listed, piped, shown, strict

EXAMPLES = int(os.environ.get("ARL_TEST_FUZZ", "2000"))
MOST_BYTES, MOST_S = 1 << 30, 10.0
KEYS = ("utt-00", "utt-01", "utt-02")
many = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def good_rows() -> dict[str, list[tuple[str, dict[str, bytes]]]]:
    """Three small samples of every column, in both audio formats."""
    import numpy as np
    import soundfile

    def audio(number: int, kind: str) -> bytes:
        import io

        buffer = io.BytesIO()
        tone = (8000 * np.sin(np.arange(480 + number) / (7 + number))).astype(np.int16)
        soundfile.write(buffer, tone, 16_000, format=kind.upper(), subtype="PCM_16")
        return buffer.getvalue()

    rows: dict[str, list[tuple[str, dict[str, bytes]]]] = {name: [] for name in READS}
    for number, key in enumerate(KEYS):
        kind = ("flac", "wav")[number % 2]
        meta = {"text": f"one two {key}", "lang": "en", "duration_s": 0.03, "speaker": "a", "keywords": ["two"],
                "concatenated": [f"{key}-a", "b"], "texts": ["one", "two"], "more": {"x": [1, None]}}  # fmt: skip
        clip = np.arange(8 * (3 + number), dtype=np.float32).reshape(-1, 8) / 100
        prompt = {"input_ids": [1, 4, 3], "max_new_tokens": 9, "voice": "a"}
        hyps = [{"text": "one" * n, "tokens": [5, 6, 7 + n, 2], "logprobs": [-0.5, -1, -0.1 * n, 0], "finish": finish}
                for n, finish in enumerate(("length", "stop", "stop"))]  # fmt: skip
        scores = [0.5, 1.0, None]
        codes = {"codes": [0, 1, 19], "rate_hz": 25.0}
        rewards = {"components": {"wer": scores}, "rewards": scores, "advantages": [-1.0, 1.0, None],
                   "metrics": {"wer.errors": scores}}  # fmt: skip
        rows["audio"].append((key, {kind: audio(number, kind), columns.META: columns.dumps(meta)}))
        rows["emb"].append((key, {
            columns.EMB: columns.save_tensor("emb", clip), columns.FEAT: columns.save_tensor("feat", clip),
            columns.PROMPT: columns.dumps(prompt), columns.CODES: columns.dumps(codes),
        }))  # fmt: skip
        rollout = {"policy": POLICY, "temperature": 1.0, "hyps": hyps}
        rows["rollout"].append((key, {columns.ROLLOUT: columns.dumps(rollout)}))
        waves = {f"{n:02d}.flac": audio(n, "flac") for n in range(2)}
        rows["wav"].append((key, waves if number else {columns.NO_WAVE: columns.dumps({"error": "silent"})}))
        rows["reward"].append((key, {columns.REWARD: columns.dumps(rewards)}))
    return rows


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Undamaged, with the records that lead from the rollouts to the audio; every reader reads it."""
    place = Place(tmp_path_factory.mktemp("fuzz"))
    for name, rows in good_rows().items():
        write_shard(place.shard(name), rows)
    for name, source in (("emb", "audio"), ("rollout", "emb"), ("reward", "rollout"), ("wav", "rollout")):
        (place.folder / name / "stage.jsonl").write_text(f'{{"shard": "000000", "sources": ["../{source}"]}}\n')
    for name in READS:
        assert checked(place, name) == []
    for reader in READERS.values():
        reader(place)
    return place


@contextmanager
def bounded() -> Iterator[None]:
    """No more than 1 GB beyond what is there, and no more than ten seconds."""

    def late(*_: object) -> None:
        raise AssertionError(f"longer than {MOST_S:g} s")

    before, limits = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, MOST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


def outcome(read: Callable[..., Any], *arguments: Any) -> Any:
    """What was read, or the one line of the error; anything else that is raised fails the test."""
    with bounded():
        try:
            return read(*arguments)
        except ArlError as error:
            line = str(error)
            assert line and "\n" not in line and len(line) < 3000, line
            return error


@contextmanager
def with_shard(place: Place, column: str, raw: bytes) -> Iterator[None]:
    """The damaged shard in the place of the good one."""
    path = place.shard(column)
    kept = path.read_bytes()
    path.write_bytes(raw)
    try:
        yield
    finally:
        path.write_bytes(kept)


def is_refused(value: Any) -> bool:
    return isinstance(value, ArlError)


# What the policy, the other columns or the command line have against a good shard.
OTHERS = re.compile(
    r"joined shards need the same keys|rolled out by policy|mix temperatures|no group has a reward|names no voice"
    r"|no member|no \.\S+; join|no text to speak|no sample of the batch|hypotheses but \d+ advantages|no \.json"
    r"|\.json, only|is also in |but the policy speaks|no transcript: join"
)
N_READERS = 3  # of the stages, drawn anew for each shard


@pytest.mark.slow
@many
@given(st.sampled_from(tuple(READS)), st.booleans(), st.randoms(use_true_random=False))
def test_every_reader_gives_the_original_or_one_line(good: Place, column: str, is_packed: bool, random: Random) -> None:
    original = strict(good, column)
    members = [(f"{key}.{name}", data) for key, row in original for name, data in row.items()]
    raw = packed(hostile(random, members)) if is_packed else damaged(random, good.shard(column).read_bytes())
    with with_shard(good, column, raw):
        read, from_pipe = outcome(strict, good, column), outcome(piped, good, column)
        assert is_refused(read) == is_refused(from_pipe)
        assert is_refused(read) or read == from_pipe
        assert is_refused(read) or is_packed or read == original
        outcome(listed, good, column)
        problems, line = outcome(checked, good, column), outcome(shown, good, column)
        assert problems or not is_refused(line), line
        for name in random.sample(READS[column], min(N_READERS, len(READS[column]))):
            found = outcome(READERS[name], good)
            # without its end marker a shard is another tool's tar to `arl data`
            if is_refused(read) and not (name == "data" and read_marker(good.shard(column)) is None):
                assert is_refused(found), f"{name} takes what the reader refuses"
            if is_refused(found) and not problems:
                assert OTHERS.search(str(found)), f"{name} refuses what `arl check` calls good: {found}"
