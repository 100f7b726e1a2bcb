"""`arl encode` with a synthesis policy: texts → prompts, and recordings → the codes of its speech tokenizer.

A shard's samples have a text, and for training the LM or the token recogniser a recording of it as well. Every
sample gets `.prompt.json`: the LM's token ids, the longest response in tokens, and the voice (the sample's "speaker"
where the policy has a voice of that name, else the policy's first). Those with a recording get `.codes.json`, too.
Called by arl/cli/encode.py. Left out: a prompt recording per sample; voices belong to the policy.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arl.audio.clips import Clip, length_buckets, load_shard
from arl.errors import ArlError
from arl.models.qwen2_flow import codec
from arl.models.qwen2_flow.mel import log_mel
from arl.models.qwen2_flow.prompts import load_voices, longest_response, prompt_of
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.runtime.console import Progress
from arl.runtime.stage import StageRun
from arl.shards import columns
from arl.shards.columns import META
from arl.shards.reader import Sample, read_joined


def encode_texts(
    run: StageRun, todo: Sequence[tuple[str, Sequence[Path]]], policy: Policy, batch_s: float,
    budget: FailureBudget, bar: Progress, device: Any,
) -> None:  # fmt: skip
    """Writes the shards; the speech tokenizer is loaded at the first recording."""
    voices = load_voices(policy.frontend_dir)
    tokenizer: SpeechTokenizer | None = None
    for name, inputs in todo:
        samples = list(read_joined(inputs))
        spoken = [sample for sample in samples if any(kind in sample.members for kind in columns.AUDIO)]
        codes: dict[str, list[int]] = {}
        errors: dict[str, str] = {}
        with run.shard(name, inputs) as shard:
            if spoken:
                tokenizer = tokenizer or SpeechTokenizer(policy, device)
                with run.phase("run"):
                    clips = load_shard(spoken, tokenizer.sample_rate)
                    codes = tokenizer.codes(clips, batch_s)
                shard.audio_s = sum(len(clip.wave) / tokenizer.sample_rate for clip in clips if not clip.error)
                errors = {clip.key: f"{clip.where}: {clip.error}" for clip in clips if clip.error}
            for sample in samples:
                members = {columns.PROMPT: columns.dumps(prompt_fields(sample, voices, policy, budget))}
                if sample.key in codes:
                    fields = {"codes": codes[sample.key], "rate_hz": policy.fields["token_rate_hz"]}
                    members[columns.CODES] = columns.dumps(fields)
                elif sample.key in errors:
                    budget.spend(errors[sample.key])
                shard.write(sample.key, members)
            shard.figures["policy_path"] = os.path.relpath(policy.path, run.out)
        bar.advance()


def prompt_fields(sample: Sample, voices: dict[str, Any], policy: Policy, budget: FailureBudget) -> dict[str, Any]:
    """The content of `.prompt.json`; without ids and with an error where the text cannot be spoken."""
    meta = sample.json(META)
    voice = voices.get(meta.get("speaker", ""), next(iter(voices.values())))
    try:
        if not isinstance(meta.get("text"), str):
            raise ArlError(f"{META} has no text")
        ids = prompt_of(meta["text"], voice)
        longest = longest_response(meta["text"], policy.fields["longest_per_character"])
    except ArlError as error:
        budget.spend(f"{sample.where}: {error}")
        return {"input_ids": [], "error": str(error)}
    return {"input_ids": ids, "max_new_tokens": longest, "voice": voice.name}


class SpeechTokenizer:
    """The policy's speech tokenizer on a device."""

    def __init__(self, policy: Policy, device: Any) -> None:
        self.codec = codec.load(policy.frontend_dir).to(device)
        self.sample_rate: int = policy.fields["sample_rate"]

    def codes(self, clips: Sequence[Clip], batch_s: float) -> dict[str, list[int]]:
        """By key the codes of each clip that could be read, in batches of similar lengths."""
        import torch

        waves = {clip.key: clip.wave for clip in clips if not clip.error}
        found: dict[str, list[int]] = {}
        for batch in length_buckets({key: len(wave) / self.sample_rate for key, wave in waves.items()}, batch_s):
            mels = [log_mel(torch.from_numpy(waves[key])) for key in batch]
            found |= {key: codes.tolist() for key, codes in zip(batch, self.codec.encode(mels), strict=True)}
        return found
