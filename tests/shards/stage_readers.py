"""How each stage reads its shards, up to what it computes: for tests that give all of them the same damaged shard.

    place = Place.make(tmp_path)
    for name in READS["rollout"]:
        READERS[name](place)      # what was read, or an ArlError

Left out: what needs a model or an engine.
"""

import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from arl.audio.io import load
from arl.data.mining import transcripts
from arl.data.mining.held_out import Held
from arl.data.mining.pool import read_pool
from arl.rewards.reading import RewardJob, utterances
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.checks import shard_problems
from arl.shards.lineage import find_column, read_with_references
from arl.shards.look import describe, json_line, shard_row
from arl.shards.paths import STDIN
from arl.shards.reader import read_joined, read_shard
from arl.shards.rows import Meta, Prompt, failed_to_encode

SHARD = "000000.tar"
POLICY = "000000-abc"
ACOUSTIC = (4, 20)  # token of code 0, number of codes
TTS = SimpleNamespace(acoustic=ACOUSTIC, predictor_dir=None)
CHARACTERS = SimpleNamespace(encode=lambda text, add_special_tokens: SimpleNamespace(ids=[ord(c) % 30 for c in text]))


@dataclass(frozen=True)
class Place:
    """A folder with a shard of each column: audio/, emb/, rollout/, wav/ and reward/."""

    folder: Path

    def shard(self, column: str) -> Path:
        return self.folder / column / SHARD

    def shards(self, *names: str) -> list[Path]:
        return [self.shard(name) for name in names]


def plain(value: Any) -> Any:
    """Comparable."""
    import torch

    return value.tolist() if isinstance(value, torch.Tensor) else value


def strict(place: Place, column: str) -> Any:
    """The reader of all stages."""
    return [(sample.key, sample.members) for sample in read_shard(place.shard(column))]


def piped(place: Place, column: str) -> Any:
    with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(place.shard(column).read_bytes()))):
        return [(sample.key, sample.members) for sample in read_shard(Path(STDIN))]


def listed(place: Place, column: str) -> Any:
    """`arl ls --json`: a damaged shard is a row."""
    return json.loads(json_line(shard_row(place.shard(column))), parse_constant=pytest_fail)


def shown(place: Place, column: str) -> Any:
    """`arl cat --json`, whose lines are JSON to any reader."""
    rows = []
    for sample in read_joined([place.shard(column)]):
        line = json_line({"key": sample.key, **{name: describe(sample, name) for name in sample.members}})
        assert "\n" not in line
        rows.append(json.loads(line, parse_constant=pytest_fail))
    return rows


def pytest_fail(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def checked(place: Place, column: str) -> list[str]:
    """`arl check`."""
    return list(shard_problems([place.shard(column)], lambda content, name: load(content, name=name)))


def encode(place: Place) -> Any:
    from arl.audio.clips import load_shard

    clips = load_shard(read_joined(place.shards("audio")), 16_000)
    return [(clip.key, clip.error or len(clip.wave)) for clip in clips]


def rollout(place: Place) -> Any:
    from arl.engine.reference import PREFIX, load_embedding

    found = []
    for sample in read_joined(place.shards("emb")):
        if not failed_to_encode(sample):
            clip = columns.tensor_reference(sample, columns.EMB, columns.EMB_TENSOR)
            try:
                tensor, _ = load_embedding(PREFIX + json.dumps(clip), 8)
            except ValueError as error:  # HTTP 400, which the client makes one line of
                found.append((sample.key, str(error)))
                continue
            found.append((sample.key, Prompt.of(sample), plain(tensor)))
    return found


def decode(place: Place) -> Any:
    from arl.models.decode_shard import read_groups

    return read_groups(read_joined(place.shards("emb", "rollout")), TTS)


def _scored(inputs: list[Path]) -> Any:
    job = RewardJob(inputs, find_column(inputs, columns.META))
    found = list(utterances([job], FailureBudget(1000)))
    for _, utterance in found:
        if utterance is not None:
            from arl.rewards.programs.contract import utterance_line

            json.loads(utterance_line(utterance), parse_constant=pytest_fail)
    return found


def reward(place: Place) -> Any:
    return _scored(place.shards("rollout", "audio"))


def reward_found(place: Place) -> Any:
    return _scored(place.shards("rollout"))


def reward_waves(place: Place) -> Any:
    from arl.audio.waves import read_waves

    found = _scored(place.shards("rollout", "wav"))
    return [read_waves(utterance.hyps, "test") for _, utterance in found if utterance is not None]


def _batch(batch: Any) -> Any:
    """Comparable, and finite."""
    import torch

    for group in batch.groups:
        for tensor in (group.prompt, *group.clips, *group.responses, *group.sampled):
            assert torch.isfinite(tensor).all()
    return [(group.key, group.text, group.advantages, group.n_tokens) for group in batch.groups], batch.metrics


def update(place: Place) -> Any:
    from arl.train.data import rl_batch

    samples = read_joined(place.shards("emb", "rollout", "reward"))
    return _batch(rl_batch(samples, POLICY, False, correct=True))


def update_speech(place: Place) -> Any:
    from arl.train.data import rl_batch

    samples = read_joined(place.shards("emb", "rollout", "reward", "audio"))
    return _batch(rl_batch(samples, POLICY, False, with_clips=False, with_text=True))


def sft(place: Place) -> Any:
    from arl.train.data import sft_batch

    return _batch(sft_batch(read_joined(place.shards("emb", "audio")), CHARACTERS, 2, "plain", False))


def sft_features(place: Place) -> Any:
    from arl.train.data import sft_batch

    return _batch(sft_batch(read_joined(place.shards("emb", "audio")), CHARACTERS, 2, "characters", True))


def sft_speech(place: Place) -> Any:
    from arl.train.data import speech_batch

    return _batch(speech_batch(read_joined(place.shards("emb")), ACOUSTIC, 2))


def mine(place: Place) -> Any:
    counts: Counter[str] = Counter()
    found = list(read_pool([str(place.shard("audio"))], FailureBudget(1000), counts))
    return [(one.key, one.meta, one.clip, one.texts) for one in found]


def mine_heard(place: Place) -> Any:
    return transcripts.read("base", str(place.shard("rollout")), "all")


def held_out(place: Place) -> Any:
    return Held.read([str(place.shard("audio"))])


def evaluate(place: Place) -> Any:
    inputs = place.shards("rollout")
    return [Meta.of(sample) for sample in read_with_references(inputs, find_column(inputs, columns.META))]


def data(place: Place) -> Any:
    """`arl data --shards`, which takes other tools' tars."""
    import tempfile

    from arl.data.corpora.foreign import corpus
    from arl.data.corpora.prepare import DurationLimits, prepare
    from arl.data.corpora.utterance import Bad, unique

    with tempfile.TemporaryDirectory() as scratch:
        entries = list(corpus([str(place.shard("audio"))]).entries(Path(scratch)))
        good = list(unique(entry for entry in entries if not isinstance(entry, Bad)))
        bad = [entry for entry in entries if isinstance(entry, Bad)]
        return bad, [prepare(entry, DurationLimits(max_s=30.0)) for entry in good]


READERS: Mapping[str, Callable[[Place], Any]] = {
    reader.__name__: reader
    for reader in (encode, rollout, decode, reward, reward_found, reward_waves, update, update_speech, sft,
                   sft_features, sft_speech, mine, mine_heard, held_out, evaluate, data)
}  # fmt: skip
READS: Mapping[str, tuple[str, ...]] = {
    "audio": ("encode", "reward", "reward_found", "sft", "mine", "held_out", "evaluate", "update_speech", "data"),
    "emb": ("rollout", "decode", "update", "update_speech", "sft", "sft_features", "sft_speech"),
    "rollout": ("decode", "reward", "reward_found", "reward_waves", "update", "update_speech", "mine_heard"),
    "wav": ("reward_waves",),
    "reward": ("update", "update_speech"),
}
