"""`arl encode`: a text, its speaker and language → the talker's prompt as input embeddings, which are never trained.

Left out: codes of recordings; a shard that has some is said so on stderr, once.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from arl.errors import ArlError, UsageError
from arl.models.qwen3_tts.build import CHECKPOINT
from arl.models.qwen3_tts.layout import Sizes
from arl.models.qwen3_tts.prompt import LANGUAGES, PromptMaker, read_vectors
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.runtime.console import warn
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Meta, Prompt

VOICE = "none"  # the name of no voice: the model makes one of the instruction


def voices_of(policy: Policy) -> list[str]:
    """The names that `--voice` takes: the speakers that the checkpoint or `arl init --voice` names, else VOICE."""
    speakers = Sizes.read(policy.frontend_dir / CHECKPOINT).speakers
    return [*speakers, *read_vectors(policy.frontend_dir)] or [VOICE]


class TextEncoding:
    """An `Encoder` (arl/models/). Nothing is computed on a device: embeddings are rows, and a small product."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.maker = PromptMaker(policy.frontend_dir, policy.frontend_dir / CHECKPOINT)
        request = policy.fields.get("request") or {}
        self.instruction, self.language = request.get("instruction") or "", request.get("language") or ""
        self.voices = voices_of(policy)
        chosen = policy.fields.get("voice")
        if chosen is not None and chosen not in self.voices:
            raise UsageError(f"--voice {chosen}: the policy's voices are {', '.join(self.voices)}")
        self.chosen, self.has_warned = chosen, False

    def read(self, samples: Iterable[Sample]) -> list[Sample]:
        found = list(samples)
        if not self.has_warned and any(kind in sample.members for sample in found for kind in columns.AUDIO):
            warn("qwen3-tts makes no codes of recordings: the texts alone are encoded")
            self.has_warned = True
        return found

    def encode(
        self, shard: list[Sample], batch_s: float, budget: FailureBudget
    ) -> Iterator[tuple[str, dict[str, bytes], float]]:
        for sample in shard:
            try:
                members = self.members(sample)
            except ArlError as error:
                budget.spend(f"{sample.where}: {error}")
                members = Prompt.failed(str(error)).members()
            yield sample.key, members, 0.0

    def members(self, sample: Sample) -> dict[str, bytes]:
        """`.emb.safetensors` and `.prompt.json`. ArlError where the text cannot be spoken."""
        fields: Any = sample.json(columns.META)
        for problem in Meta.problems(fields):
            raise ArlError(f"{columns.META}: {problem}")
        meta = Meta.read(fields)
        if not meta.text.strip():
            raise ArlError("the text is empty")
        own = meta.speaker if meta.speaker in self.voices else self.voices[0]
        voice, asked = self.chosen or own, meta.lang if self.language == "sample" else self.language
        prompt = self.maker.prompt(meta.text.strip(), voice, LANGUAGES.get(asked, asked), self.instruction)
        embeddings = columns.save_tensor(columns.EMB_TENSOR, prompt)
        return {columns.EMB: embeddings} | Prompt([self.policy.audio_token_id], None, voice).members()

    def sleep(self) -> None:
        """Nothing is on the device."""
