"""A shard of hypotheses → waveforms, in batches of similar length."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from arl.audio.io import encode_flac
from arl.errors import ArlError
from arl.models.qwen2_flow.codes import codes_of
from arl.models.qwen2_flow.decoder import noise_of
from arl.models.qwen2_flow.prompts import load_voices
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.runtime.console import Progress
from arl.shards.columns import NO_WAVE, PROMPT, ROLLOUT, dumps
from arl.shards.reader import Sample

STRETCH = 1.125  # a batch's longest clip over its shortest: bounds the padding, whatever the lengths are


def synthesis(policy: Policy) -> Policy:
    """The policy itself. ArlError when it recognises speech instead."""
    if not policy.is_tts:
        raise ArlError(f'{policy.path}: no synthesis policy ("task": "tts"), so its hypotheses are texts, not speech')
    return policy


def speakers_of(policy: Policy, decoder: Any) -> dict[str, Any]:
    """The voices' speaker vectors, float32 [S], by name. ArlError where policy and decoder do not fit each other."""
    import torch

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


def read_groups(samples: Iterable[Sample], policy: Policy) -> list[Group]:
    """The groups of a shard, done ahead of the device's work. ArlError where rollouts or prompts are not joined."""
    return [group_of(sample, policy) for sample in samples]


def group_of(sample: Sample, policy: Policy) -> Group:
    """A sample's group; one that is malformed, or that the stages before could not do, has its error."""
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

    waves: dict[tuple[str, int], Future[bytes] | None] = field(default_factory=dict)
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
    bar: Progress,
) -> Decoded:  # fmt: skip
    """All waves of a shard, written as FLAC by threads while the device goes on."""
    import numpy as np
    import torch

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


def members_of(group: Group, decoded: Decoded, budget: FailureBudget) -> dict[str, bytes]:
    """The members of a row. What failed here is counted; a row without a wave says why, so that it is one."""
    if group.failed:
        budget.spend(f"{group.where}: {group.error}")
    waves = {number: decoded.waves[group.key, number] for number in range(len(group.codes))}
    for number, wave in waves.items():
        if wave is None:
            budget.spend(f"{group.where}: hypothesis {number}: the decoder gave NaN or infinite samples")
    members = {f"{number:02d}.flac": wave.result() for number, wave in waves.items() if wave is not None}
    return members or {NO_WAVE: dumps({"error": group.error or "no finite samples"})}
