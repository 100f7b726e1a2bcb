"""A recognition policy as a recogniser of clips, in process, by transformers: for rewards of synthesised speech.

    Recogniser.load(Path("policy"), "cpu").transcribe([clip], "en")       # ["please leave a message"]

Its own frontend and prompt, greedy decoding, its own rule for the transcript, as of `arl rollout --temperature 0`.
Left out: a running engine, which serves the policy that is being trained.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from arl.adapter import load_adapter
from arl.engine.generate import text_of
from arl.errors import ArlError, UsageError
from arl.models import family_of
from arl.policy import Policy, load_tokenizer
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Prompt
from arl.train.groups import PromptGroup, embed_prompt
from arl.train.load import causal_lm

LONGEST = 256  # tokens of a transcript
BATCH_S = 120.0  # seconds of audio at a time


class Recogniser:
    """A policy on a device: its frontend's encoder, its LLM with the adapter in its weights, its tokenizer."""

    def __init__(self, policy: Policy, device: str) -> None:
        if policy.is_tts:
            raise UsageError(f"{policy.path}: speaks; a recogniser is a policy that recognises")
        policy.verify()
        self.policy, self.tokenizer = policy, load_tokenizer(policy.llm_dir)
        self.encoder = family_of(policy).encoder(policy, torch.device(device), False)
        self.llm = greedy_llm(policy).to(device)

    @classmethod
    @functools.cache
    def load(cls, folder: Path, device: str = "cpu") -> "Recogniser":
        """ArlError where the folder is no policy, UsageError where it does not recognise."""
        return cls(Policy.open(folder), device)

    def transcribe(self, clips: Sequence[bytes], lang: str = "") -> list[str | None]:
        """The text of each audio file (.wav, .flac or .mp3); None, with a line on stderr, for one that the policy
        cannot encode. lang: for policies whose prompt names it."""
        meta = columns.dumps({"text": "", "lang": lang})
        samples = [
            Sample(f"{place}", {columns.META: meta, columns.AUDIO[0]: clip}, {}) for place, clip in enumerate(clips)
        ]
        rows = self.encoder.encode(self.encoder.read(samples), BATCH_S, FailureBudget(len(clips)))
        prompts = {int(key): self.embedded(key, members) for key, members, _ in rows if columns.EMB in members}
        texts: list[str | None] = [None] * len(clips)
        if prompts:
            for place, text in zip(prompts, self.decode(list(prompts.values())), strict=True):
                texts[place] = text
        return texts

    def embedded(self, key: str, members: Mapping[str, bytes]) -> Tensor:
        """An encoded utterance as input embeddings [P, H]."""
        sample = Sample(key, dict(members), {})
        clip = torch.from_numpy(columns.read_tensor(sample, columns.EMB, columns.EMB_TENSOR).copy())
        prompt = torch.tensor(Prompt.of(sample).input_ids)
        group = PromptGroup(key, prompt, [clip], [prompt[:1]])
        return embed_prompt(self.llm.get_input_embeddings(), group, self.policy.audio_token_id)

    @torch.no_grad()
    def decode(self, prompts: Sequence[Tensor]) -> list[str]:
        """Input embeddings [P, H] each → texts, all at once, padded on the left."""
        embeds, mask = (
            nn.utils.rnn.pad_sequence([row.flip(0) for row in rows], True).flip(1)
            for rows in (prompts, [prompt.new_ones(len(prompt), dtype=torch.long) for prompt in prompts])
        )
        rows = self.llm.generate(inputs_embeds=embeds, attention_mask=mask)
        return [text_of(self.until_end(row), self.tokenizer, self.policy) for row in rows.tolist()]

    def until_end(self, tokens: list[int]) -> list[int]:
        """A response up to the first end id."""
        place = next((place for place, token in enumerate(tokens) if token in self.policy.end_ids), len(tokens))
        return tokens[: place + 1]


def greedy_llm(policy: Policy) -> Any:
    """The policy's LLM, its adapter merged, which generates greedily and by no rule of its checkpoint's."""
    model = causal_lm(policy.llm_dir, "auto", attn_implementation="sdpa").eval().requires_grad_(False)
    if policy.adapter_dir is not None:
        adapter = load_adapter(policy.adapter_dir)
        if adapter is None:
            raise ArlError(f"{policy.path}: no adapter in {policy.adapter_dir}")
        for name in adapter.factors:
            parameter = model.get_parameter(name)
            parameter.copy_(adapter.merged(name, parameter))
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=LONGEST, eos_token_id=policy.end_ids, pad_token_id=policy.end_ids[0]
    )
    return model
