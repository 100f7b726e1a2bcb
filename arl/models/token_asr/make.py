"""`arl train-token-asr`: shards of codes and texts → the trained recogniser's folder, with its record and metrics."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arl.engine.session import hold_device
from arl.errors import ArlError, UsageError
from arl.models import Family, family_of_frontend, files_of
from arl.models.token_asr import model as token_asr
from arl.models.token_asr.model import TokenAsr, fewest_codes
from arl.models.token_asr.train import Pair, Recipe, score, split, train_token_asr
from arl.policy import refuse_other, remove_stale
from arl.runtime.console import note
from arl.runtime.device import flushed_denormals, pick_device
from arl.runtime.stage import Phases, peak_memory_mb
from arl.shards import columns
from arl.shards.durable import refuse_inputs, refuse_unwritable, write_folder
from arl.shards.paths import joined_shards
from arl.shards.reader import read_joined
from arl.shards.record import StageRecord, append_record
from arl.shards.rows import Codes, Meta
from arl.text.letters import Unspoken
from arl.train.job import Shard, fingerprint


@dataclass(frozen=True)
class Settings:
    """Flags of the command that change the recogniser. codes: how many there are; the rest as `Recipe`, `TokenAsr` and
    `split` have it."""

    codes: int
    steps: int
    lr: float
    batch: int
    width: int
    layers: int
    noise: float
    held_out: float
    seed: int


def make_token_asr(
    shards: Sequence[str], out: Path, settings: Settings, tokenizer: Path | None, device: str, threads: int, force: bool
) -> dict[str, Any]:
    """What was measured of the recogniser at `out`, which is trained unless it was made from the same inputs.

    tokenizer: a frontend with a speech tokenizer, to begin with its recognition head."""
    arguments = {**asdict(settings), "tokenizer": tokenizer_digest(tokenizer) if tokenizer else None}
    found = joined_shards(shards)
    wanted = fingerprint(["train-token-asr"], arguments, found)
    metrics = None if force else metrics_of(out, wanted)
    if metrics is not None:
        note(f"train-token-asr: {out} is already made from these inputs (-f redoes it)")
        return metrics
    phases, (pairs, left_out) = Phases(), read_pairs(found)
    remove_stale(out)
    refuse_inputs(out, [*(path for _, paths in found for path in paths), *([tokenizer] if tokenizer else [])])
    refuse_unwritable(out)
    refuse_other(out, token_asr.CONFIG, "token recogniser")
    train, held = parts(pairs, settings)
    start = first_recogniser(tokenizer, settings.codes) if tokenizer else None
    with phases.phase("wake"):
        where = pick_device(device, threads)
    with flushed_denormals(), hold_device("train-token-asr", str(where)), phases.phase("run"):
        recipe = Recipe(settings.steps, settings.lr, settings.batch, settings.noise, settings.seed)
        asr = train_token_asr(train, settings.codes, recipe, where, start, width=settings.width, layers=settings.layers)
        metrics = {"trained_on": len(train), **left_out, **(score(asr, held) if held else {})}
    record = StageRecord(
        "train-token-asr", "token-asr", len(pairs), phases.rounded(), peak_memory_mb(), fingerprint=wanted,
        arguments=arguments, figures=metrics,
    )  # fmt: skip

    def fill(folder: Path) -> None:
        token_asr.save(asr.cpu(), folder, made=wanted, figures=metrics, arguments=arguments)
        append_record(folder, record)

    write_folder(out, fill)
    return metrics


def family_of_tokenizer(frontend: Path) -> Family:
    """The family whose speech tokenizer lies in a frontend's folder. UsageError where there is none."""
    family = family_of_frontend(frontend, "tokenizer")
    if family is None:
        raise UsageError(f"{frontend / files_of('tokenizer')}: missing; --tokenizer is the frontend of a policy that "
                         "can tokenise speech")  # fmt: skip
    return family


def tokenizer_digest(frontend: Path) -> str:
    """12 hex digits that name the weights of a frontend's speech tokenizer. UsageError where it has none."""
    weights = frontend / family_of_tokenizer(frontend).files["tokenizer"]
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


def first_recogniser(frontend: Path, codes: int) -> TokenAsr:
    """The recognition head of a frontend's speech tokenizer. ArlError where it has another number of codes."""
    start = family_of_tokenizer(frontend).token_recogniser(frontend)
    if start.n_codes != codes:
        raise ArlError(f"{frontend}: a tokenizer of {start.n_codes} codes; --codes says {codes}")
    return start


def metrics_of(out: Path, wanted: str) -> dict[str, Any] | None:
    """The metrics of the recogniser at `out` if its fingerprint is the wanted one, else None."""
    config = token_asr.read_config(out) if (out / token_asr.CONFIG).is_file() else {}
    return config["figures"] if config.get("made") == wanted else None


def parts(pairs: Sequence[Pair], settings: Settings) -> tuple[list[Pair], list[Pair]]:
    """(to train on, held out). ArlError where there is nothing to train on, or a code beyond those there are."""
    largest = max(max(codes) for codes, _ in pairs)
    if largest >= settings.codes:
        raise ArlError(f"--codes {settings.codes}: the shards have code {largest}; give acoustic_codes of arl.json")
    train, held = split(pairs, settings.held_out, settings.seed)
    if not train:
        raise ArlError(f"--held-out {settings.held_out:g}: nothing is left to train on; lower it")
    return train, held


def read_pairs(shards: Sequence[Shard]) -> tuple[list[Pair], dict[str, int]]:
    """All codes with a text, and how many samples were left out for what reason. ArlError when there are none."""
    pairs: list[Pair] = []
    left_out = {"without_codes": 0, "unspoken": 0, "too_short": 0}
    for _, paths in shards:
        for sample in read_joined(paths):
            text = Meta.of(sample).text
            if columns.CODES not in sample.members:
                left_out["without_codes"] += 1
                continue
            heard = Codes.of(sample).codes
            try:
                is_long_enough = len(heard) >= max(1, fewest_codes(text))
            except Unspoken:
                left_out["unspoken"] += 1
                continue
            if is_long_enough:
                pairs.append((heard, text))
            else:
                left_out["too_short"] += 1
    if not pairs:
        raise ArlError(f"no sample has codes and a text that they can be read as ({left_out}); `arl encode` with a "
                       "synthesis policy makes codes of recordings, unless it warns that it makes none")  # fmt: skip
    return pairs, left_out
