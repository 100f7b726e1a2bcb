"""`arl decode`: rollout shards of a synthesis policy → one waveform per hypothesis.

    arl decode --shards emb/ --shards rollout/ --policy policy -o wav

The policy's decoder (flow matching, then the vocoder) runs over batches of similar length, formed over the whole shard.
Each hypothesis becomes `.00.flac`, `.01.flac`, …, 16 kHz 16-bit mono; one without an acoustic token 40 ms of silence.
The noise is a prefix of one sequence per utterance, named by the seed and the key: all members of a group start from
the same, and a wave depends neither on its batch nor on the size of its group (up to rounding, one step of 16 bits).
Equal hypotheses of a group are computed once. A sample without hypotheses keeps its row: `.wav.json` says why.
Left out: streaming; the reward programs read the waves in place (arl/reward_stage.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl import options

if TYPE_CHECKING:
    from arl.console import Progress
    from arl.encode import FailureBudget
    from arl.policy import Policy
    from arl.shards.reader import Sample

STRETCH = 1.125  # a batch's longest clip over its shortest: bounds the padding, whatever the lengths are
DTYPES = ("float32", "bfloat16")


def decode(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    nfe: Annotated[int, typer.Option("--nfe", min=1, help="Steps of the flow's solver.")] = 10,
    cfg: Annotated[
        float, typer.Option("--cfg", min=0.0, help="Classifier-free guidance; 0 is off, half the work.")
    ] = 0.7,
    dtype: Annotated[str, typer.Option("--dtype", help="Of matrix products: float32 or bfloat16.")] = "float32",
    batch_s: Annotated[float, typer.Option("--batch-s", help="Audio seconds per batch, padding included.")] = 60.0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Turn the hypotheses of a synthesis policy into waveforms.

    Example: arl decode --shards emb/ --shards rollout/ --policy policy -o wav
    """
    from arl import resident
    from arl.ahead import ahead
    from arl.console import progress
    from arl.device import pick_device
    from arl.encode import FailureBudget
    from arl.errors import UsageError
    from arl.lease import device_lease
    from arl.models import family
    from arl.policy import Policy
    from arl.rollout import policy_of_embeddings
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined
    from arl.stage import StageRun, default_out

    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype}: use {' or '.join(DTYPES)}")
    matched = joined_shards(shards)
    opened = synthesis(Policy.open(policy or policy_of_embeddings(shards)))
    settings = {"nfe": nfe, "cfg": cfg, "dtype": dtype, "seed": seed}
    arguments = {**settings, "frontend": opened.frontend_id, "acoustic": list(opened.acoustic)}
    run = StageRun("decode", out or default_out("wav", shards), arguments, sources=shards, force=force)
    todo = list(run.pending(matched))
    if not todo:
        return
    with run.phase("wake"):
        where = pick_device(device, threads)
    budget = FailureBudget(max_failed)
    with device_lease("decode", str(where)):
        with run.phase("wake"):
            kept = resident.take(opened.frontend_dir)
            decoder = (family(opened.family).decoder.load(opened.frontend_dir) if kept is None else kept).to(where)
            speakers = speakers_of(opened, decoder)
        for (name, inputs), groups in ahead((job, read_groups(read_joined(job[1]), opened)) for job in todo):
            with run.shard(name, inputs) as shard:
                n_clips = sum(len(group.codes) for group in groups)
                with run.phase("run"), progress(f"decode {name}", n_clips) as bar:
                    decoded = decode_groups(groups, decoder, speakers, settings, batch_s, bar)
                for group in groups:
                    shard.write(group.key, members_of(group, decoded, budget))
                shard.audio_s = decoded.audio_s
                shard.figures |= decoded.figures() | {"groups": len(groups), "hypotheses": n_clips}
        resident.sleep([decoder])
        resident.keep(decoder, opened.frontend_dir)


def synthesis(policy: "Policy") -> "Policy":
    """The policy itself. ArlError when it recognises speech instead."""
    from arl.errors import ArlError

    if not policy.is_tts:
        raise ArlError(f'{policy.path}: no synthesis policy ("task": "tts"), so its hypotheses are texts, not speech')
    return policy


def speakers_of(policy: "Policy", decoder: Any) -> dict[str, Any]:
    """The voices' speaker vectors, float32 [S], by name. ArlError where policy and decoder do not fit each other."""
    import torch

    from arl.errors import ArlError
    from arl.models.qwen2_flow.prompts import load_voices

    n_codes, sizes = policy.acoustic[1], decoder.flow.config
    if n_codes > sizes.codes:
        raise ArlError(f"{policy.path}: {n_codes} acoustic tokens, but its decoder knows {sizes.codes}")
    found = {name: torch.from_numpy(voice.speaker).float() for name, voice in load_voices(policy.frontend_dir).items()}
    for name, speaker in found.items():
        if speaker.shape != (sizes.speaker_dim,):
            shape = list(speaker.shape)
            raise ArlError(f"{policy.path}: voice {name!r}: speaker vector {shape}, not [{sizes.speaker_dim}]")
    return found


@dataclass(frozen=True)
class Group:
    """One utterance's hypotheses as codes, [G] lists, and its voice. error: why there are none; failed: news."""

    key: str
    where: str
    codes: list[list[int]] = field(default_factory=list)
    voice: str = ""
    error: str = ""
    failed: bool = False


def read_groups(samples: "Iterable[Sample]", policy: "Policy") -> list[Group]:
    """The groups of a shard, done ahead of the device's work. ArlError where rollouts or prompts are not joined."""
    return [group_of(sample, policy) for sample in samples]


def group_of(sample: "Sample", policy: "Policy") -> Group:
    """A sample's group; one that is malformed, or that the stages before could not do, has its error."""
    from arl.errors import ArlError
    from arl.models.qwen2_flow.codes import codes_of
    from arl.shards.columns import PROMPT, ROLLOUT

    for member, folder in ((ROLLOUT, "the rollouts"), (PROMPT, "the prompts (arl encode)")):
        if member not in sample.members:
            there = ", ".join(sample.members)
            raise ArlError(f"{sample.where}: no {member}, only {there}; join the folder with {folder}: --shards")
    rollout, prompt = sample.json(ROLLOUT), sample.json(PROMPT)
    try:
        if not rollout["hyps"]:
            return Group(sample.key, sample.where, error=str(prompt.get("error") or "no hypotheses"))
        codes = [codes_of(hyp["tokens"], *policy.acoustic) for hyp in rollout["hyps"]]
    except (KeyError, TypeError, AttributeError) as error:
        return Group(sample.key, sample.where, error=f"{ROLLOUT} is malformed ({error!r})", failed=True)
    if not isinstance(prompt, dict) or not isinstance(prompt.get("voice"), str):
        raise ArlError(f"{sample.where}: {PROMPT} names no voice; encode the texts with this policy")
    return Group(sample.key, sample.where, codes, prompt["voice"])


@dataclass
class Decoded:
    """A shard's waves as FLAC by (key, hypothesis), None where the decoder gave numbers that are none."""

    waves: "dict[tuple[str, int], Future[bytes] | None]" = field(default_factory=dict)
    audio_s: float = 0.0
    silent: int = 0  # hypotheses without an acoustic token
    repeated: int = 0  # hypotheses equal to another of their group
    batches: int = 0
    computed: int = 0  # codes, padding included
    padding: int = 0

    def figures(self) -> dict[str, Any]:
        share = round(self.padding / max(1, self.computed), 4)
        return {"padding": share, "batches": self.batches, "silent": self.silent, "repeated": self.repeated}


def decode_groups(
    groups: Sequence[Group], decoder: Any, speakers: Mapping[str, Any], settings: Mapping[str, Any], batch_s: float,
    bar: "Progress",
) -> Decoded:  # fmt: skip
    """All waves of a shard, written as FLAC by threads while the device goes on."""
    import numpy as np
    import torch

    from arl.audio.io import encode_flac
    from arl.models.qwen2_flow.decoder import noise_of

    clips, noises, result = clips_of(groups, speakers), {}, Decoded()
    for group in groups:
        if longest := max(map(len, group.codes), default=0):
            noises[group.key] = noise_of(f"{settings['seed']}/{group.key}", 2 * longest)
    rest = {name: settings[name] for name in ("nfe", "cfg")} | {"dtype": getattr(torch, settings["dtype"])}
    code_s, rate = 1 / decoder.token_rate_hz, decoder.sample_rate
    with ThreadPoolExecutor(2, thread_name_prefix="flac") as threads:
        for batch in batches({name: len(clip.codes) for name, clip in clips.items()}, batch_s / code_s):
            chosen = [clips[name] for name in batch]
            waves = decode_batch(decoder, chosen, speakers, noises, rest) if chosen[0].codes else [
                torch.zeros(round(code_s * rate)) for _ in chosen
            ]  # fmt: skip
            for clip, wave in zip(chosen, waves, strict=True):
                good = bool(torch.isfinite(wave).all())
                data = threads.submit(encode_flac, np.asarray(wave), rate) if good else None
                result.waves |= {(clip.key, number): data for number in clip.numbers}
                result.audio_s += len(wave) / rate * len(clip.numbers) if good else 0.0
                result.silent += 0 if clip.codes else len(clip.numbers)
                result.repeated += len(clip.numbers) - 1 if clip.codes else 0
            longest = len(chosen[-1].codes)
            result.batches += bool(longest)
            result.computed += longest * len(chosen)
            result.padding += sum(longest - len(clip.codes) for clip in chosen)
            bar.advance(sum(len(clip.numbers) for clip in chosen))
    return result


@dataclass
class DistinctClip:
    """Codes to decode, and which hypotheses of the group `key` have them."""

    key: str
    voice: str
    codes: list[int]
    numbers: list[int] = field(default_factory=list)


def clips_of(groups: Sequence[Group], speakers: Mapping[str, Any]) -> dict[str, DistinctClip]:
    """The distinct hypotheses of a shard by a name. ArlError for a voice that the policy does not have."""
    from arl.errors import ArlError

    clips: dict[tuple[str, tuple[int, ...]], DistinctClip] = {}
    for group in groups:
        if group.codes and group.voice not in speakers:
            known = ", ".join(speakers) or "none"
            raise ArlError(f"{group.where}: voice {group.voice!r} is not one of this policy ({known}): encode again")
        for number, codes in enumerate(group.codes):
            clip = clips.setdefault((group.key, tuple(codes)), DistinctClip(group.key, group.voice, codes))
            clip.numbers.append(number)
    return {f"{clip.key}.{clip.numbers[0]:06d}": clip for clip in clips.values()}


def decode_batch(
    decoder: Any, clips: Sequence[DistinctClip], speakers: Mapping[str, Any], noises: Mapping[str, Any],
    rest: Mapping[str, Any],
) -> list[Any]:  # fmt: skip
    """Waves, float32 [640 n] each."""
    import torch

    codes = [torch.tensor(clip.codes) for clip in clips]
    prefixes = [noises[clip.key][: 2 * len(clip.codes)] for clip in clips]
    return decoder.decode(codes, torch.stack([speakers[clip.voice] for clip in clips]), prefixes, **rest)


def batches(lengths: Mapping[str, int], most: float) -> Iterator[list[str]]:
    """Names by ascending length: at most `most` a batch with padding counted, its longest at most STRETCH times its
    shortest, those of length 0 by themselves; a longer clip goes alone."""
    batch: list[str] = []
    for name in sorted(lengths, key=lambda name: (lengths[name], name)):
        length = lengths[name]
        if batch and (length * (len(batch) + 1) > most or length > STRETCH * lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(name)
    if batch:
        yield batch


def members_of(group: Group, decoded: Decoded, budget: "FailureBudget") -> dict[str, bytes]:
    """The members of a row. What failed here is counted; a row without a wave says why, so that it is one."""
    from arl.shards.columns import NO_WAVE, dumps

    if group.failed:
        budget.spend(f"{group.where}: {group.error}")
    waves = {number: decoded.waves[group.key, number] for number in range(len(group.codes))}
    for number, wave in waves.items():
        if wave is None:
            budget.spend(f"{group.where}: hypothesis {number}: the decoder gave NaN or infinite samples")
    members = {f"{number:02d}.flac": wave.result() for number, wave in waves.items() if wave is not None}
    return members or {NO_WAVE: dumps({"error": group.error or "no finite samples"})}
