"""`arl encode`: a text and a voice → the LM's prompt, as upstream's: `sos, voice's text + text, task, voice's codes`.

The text and its frame are input embeddings (`.emb.safetensors`) and never trained; rows of the speech vocabulary are
token ids, so that they are the LM's own. Three prompts:

    zero-shot       the voice has a text: both texts, and the voice's codes, which the speech continues
    cross-lingual   it has none: the text alone; the decoder alone hears the voice
    instruct        `arl init --instruction`: the instruction and <|endofprompt|> in place of the voice's text, no codes

A sample with a recording gets `.codes.json` too, by the checkpoint's speech tokenizer, for training on it.

A response may be as long as upstream's, 20 tokens per token of the text. Upstream's least length, 2 per token, is not
applied: a response that ends too soon is the policy's own, for the rewards to judge.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from arl.audio.clips import LoadedClip, load_shard
from arl.errors import ArlError
from arl.models.cosyvoice.build import KEPT
from arl.models.cosyvoice.layout import END_OF_PROMPT, MARKS, TEXT, Layout
from arl.models.cosyvoice.recording import RATE, Listener
from arl.models.cosyvoice.tokenizer import FILE, text_ids
from arl.models.cosyvoice.voices import Voice, load_voices, only
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Codes, Meta, Prompt

LONGEST = 20  # tokens of a response per token of the text

Row = tuple[str, dict[str, bytes], float]


@dataclass(frozen=True)
class TextPrompt:
    """ids: of the LM's prompt, one placeholder for the embeddings [T, H]; longest: tokens that a response may have."""

    ids: list[int]
    embeddings: Tensor
    longest: int


class PromptMaker:
    """Text ids and a voice → `TextPrompt`."""

    def __init__(self, policy: Policy, layout: Layout) -> None:
        self.policy, self.layout = policy, layout
        self.tokenizer = Tokenizer.from_file(str(policy.frontend_dir / FILE))
        self.mark = self.tokenizer.token_to_id(END_OF_PROMPT)
        with safe_open(policy.frontend_dir / KEPT, "pt") as kept:
            self.table = kept.get_tensor(TEXT)
            self.marks = kept.get_tensor(MARKS) if layout.sos is None else None
        instruction = (policy.fields.get("instruction") or "").strip()
        said = instruction if END_OF_PROMPT in instruction else instruction + END_OF_PROMPT
        self.instruction = text_ids(self.tokenizer, said) if instruction else []

    def prompt(self, text: str, voice: Voice) -> TextPrompt:
        """ArlError for a text without a word, and for a prompt without <|endofprompt|> where the version needs it."""
        ids = text_ids(self.tokenizer, text.strip())
        if not ids:
            raise ArlError("the text is empty")
        before = self.instruction or list(voice.text)
        codes = [] if self.instruction or not voice.text else list(voice.codes)
        if self.layout.needs_end_of_prompt and self.mark not in [*before, *ids]:
            raise ArlError(f"{self.layout.title} wants {END_OF_PROMPT} in front of the text: give the voice a "
                           f"transcript that has it ('You are a helpful assistant.{END_OF_PROMPT}…'), or init with "
                           "--instruction")  # fmt: skip
        embedded, longest = self.table[torch.tensor([*before, *ids])], LONGEST * len(ids)
        place, n_codes = self.policy.audio_token_id, self.policy.acoustic[1]
        if self.marks is not None:
            framed = torch.cat([self.marks[:1], embedded, self.marks[1:]])
            return TextPrompt([place, *codes], framed, longest)
        sos, task = n_codes + (self.layout.sos or 0), n_codes + (self.layout.task or 0)
        return TextPrompt([sos, place, task, *codes], embedded, longest)


@dataclass(frozen=True)
class Texts:
    """A shard: its samples, and the clips of those that have a recording, by key."""

    samples: list[Sample]
    clips: dict[str, LoadedClip]


class TextEncoding:
    """An `Encoder` (arl/models/). For texts nothing is computed: embeddings are rows of a table."""

    def __init__(self, policy: Policy, layout: Layout) -> None:
        self.voices = only(load_voices(policy.frontend_dir), policy.fields.get("voice"))
        self.maker = PromptMaker(policy, layout)
        self.listener = Listener(policy.frontend_dir, layout.tokenizer_onnx)
        self.token_rate_hz: float = policy.given("token_rate_hz")

    def read(self, samples: Iterable[Sample]) -> Texts:
        found = list(samples)
        spoken = [sample for sample in found if any(kind in sample.members for kind in columns.AUDIO)]
        return Texts(found, {clip.key: clip for clip in load_shard(spoken, RATE)})

    def encode(self, shard: Texts, batch_s: float, budget: FailureBudget) -> Iterator[Row]:
        """batch_s means nothing here: each recording goes alone."""
        for sample in shard.samples:
            clip = shard.clips.get(sample.key)
            try:
                members = self.members(sample) | (self.heard(clip) if clip else {})
            except ArlError as error:
                budget.spend(f"{sample.where}: {error}")
                members = Prompt.failed(str(error)).members()
            yield sample.key, members, len(clip.wave) / RATE if clip else 0.0

    def heard(self, clip: LoadedClip) -> dict[str, bytes]:
        """`.codes.json` of a recording. ArlError where it cannot be read, or is too long."""
        if clip.error:
            raise ArlError(clip.error)
        return Codes(self.listener.codes(clip.wave), self.token_rate_hz).members()

    def members(self, sample: Sample) -> dict[str, bytes]:
        """`.emb.safetensors` and `.prompt.json`. ArlError where the text cannot be spoken."""
        fields: Any = sample.json(columns.META)
        for problem in Meta.problems(fields):
            raise ArlError(f"{columns.META}: {problem}")
        meta = Meta.read(fields)
        voice = self.voices.get(meta.speaker, next(iter(self.voices.values())))
        made = self.maker.prompt(meta.text, voice)
        embeddings = columns.save_tensor(columns.EMB_TENSOR, made.embeddings)
        return {columns.EMB: embeddings} | Prompt(made.ids, made.longest, voice.name).members()

    def sleep(self) -> None:
        """Nothing is on the device."""
