"""Groups of hypotheses as the trainer sees them, and their packing into micro-batches.

A group is one utterance: its prompt once, its G responses after it. Micro-batches are filled up to a
token budget; which groups share a micro-batch never changes the result, because every token carries its
own weight in the step's loss.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from arl.engine.predictor import FrameHistory
from arl.errors import ArlError

PADDING = 1.5  # longest row over shortest row of a micro-batch


@dataclass
class PromptGroup:
    """One utterance.

    prompt: int64 [p], token ids with one placeholder per clip. clips: per clip [T, H] embeddings.
    responses: per hypothesis int64 [R_i], the stop token included when it was sampled; R_i ≥ 1.
    advantages: float per hypothesis (supervised training: 0). sampled: per hypothesis the log-probabilities [R_i] it
    was sampled with, where that is to be corrected for; else empty. errors: per hypothesis what `mwer` minimises; else
    empty. text: what is to be spoken, where a loss reads it; else empty. reference: int64 [R], the transcript's tokens
    or the recording's codes, where `--ce` adds their cross-entropy. shards: where it was read from. residual: where a
    frame has other codes than its token, those of each token but the last, per hypothesis int64 [R_i - 1, L], and
    history, what makes input embeddings of them; else empty and None. shown: per hypothesis int64 [R_i - 1], what the
    model reads in place of the response's tokens; empty: the tokens themselves.
    """

    key: str
    prompt: Tensor
    clips: list[Tensor]
    responses: list[Tensor]
    advantages: list[float] = field(default_factory=list)
    sampled: list[Tensor] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    text: str = ""
    shards: str = ""
    reference: Tensor | None = None
    residual: list[Tensor] = field(default_factory=list)
    history: FrameHistory | None = None
    shown: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.responses or any(len(response) == 0 for response in self.responses):
            raise ArlError(f"{self.where}: a group needs responses of at least one token")

    @property
    def inputs(self) -> list[Tensor]:
        """Per hypothesis int64 [R_i - 1]: the tokens that the model reads behind the prompt."""
        return self.shown or [response[:-1] for response in self.responses]

    def frames(self, index: int) -> Tensor | None:
        """What the inputs of a hypothesis have beside their tokens' embeddings [R_i - 1, H]; None: nothing."""
        return None if self.history is None else self.history(self.residual[index])

    @property
    def where(self) -> str:
        """Shards and key, for error messages."""
        return f"{self.shards}: {self.key}" if self.shards else self.key

    @property
    def prompt_length(self) -> int:
        """Positions of the prompt once each placeholder is replaced by its clip's embeddings."""
        return len(self.prompt) + sum(len(clip) - 1 for clip in self.clips)

    @property
    def row_length(self) -> int:
        """Positions of the shared row: the prompt once, each response without its last token."""
        return self.prompt_length + sum(len(response) - 1 for response in self.responses)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each response."""
        return [len(response) for response in self.responses]

    @property
    def n_tokens(self) -> int:
        return sum(self.lengths)

    @property
    def has_reward_variance(self) -> bool:
        """Whether the rewards differ, so that the group says which hypothesis is better."""
        return any(self.advantages)


def micro_batches(
    groups: Sequence[PromptGroup], token_budget: int, packed: bool = False
) -> Iterator[list[PromptGroup]]:
    """Yields groups whose rows hold at most `token_budget` positions, padding included.

    A single group beyond the budget is yielded alone. Packed rows have no padding; else no row is more than PADDING
    times the shortest beside it. Order: by row length, ties by index; deterministic.
    """
    batch: list[PromptGroup] = []
    held = 0
    for group in sorted(groups, key=lambda g: g.row_length):
        held = (held if packed else group.row_length * len(batch)) + group.row_length
        is_uneven = not packed and bool(batch) and group.row_length > PADDING * batch[0].row_length
        if batch and (held > token_budget or is_uneven):
            yield batch
            batch, held = [], group.row_length
        batch.append(group)
    if batch:
        yield batch


def stand_in(groups: Sequence[PromptGroup], width: int) -> PromptGroup:
    """A small group with something of everything that a pass reads, for one whose result is not used. width: H."""
    smallest = min(groups, key=lambda group: group.row_length)
    clips = [torch.zeros(1, width) for _ in smallest.clips]
    return replace(smallest, clips=clips, responses=smallest.responses[:1], advantages=[0.0], sampled=[], errors=[],
                   residual=smallest.residual[:1])  # fmt: skip


def check_tokens(groups: Sequence[PromptGroup], audio_token_id: int, vocabulary: int) -> None:
    """ArlError for the first group with a token that the LLM's table of `vocabulary` rows does not have."""
    for group in groups:
        texts = group.prompt[group.prompt != audio_token_id]
        for name, tokens in (("prompt", texts), *(("response", response) for response in group.responses)):
            odd = tokens[(tokens < 0) | (tokens >= vocabulary)]
            if len(odd):
                raise ArlError(f"{group.where}: its {name} has token {int(odd[0])}, and the policy knows {vocabulary} "
                               "tokens: the shards are damaged, or of another policy")  # fmt: skip


def check_clips(group: PromptGroup, audio_token_id: int, width: int) -> Tensor:
    """Which tokens of the prompt are placeholders, bool [p]. ArlError unless there is a clip [T, width] for each."""
    is_audio = group.prompt == audio_token_id
    placeholders = int(is_audio.sum())
    if placeholders != len(group.clips):
        raise ArlError(
            f"{group.where}: the prompt has {placeholders} audio placeholder(s) for {len(group.clips)} clip(s)"
        )
    for clip in group.clips:
        if clip.shape[1] != width:
            widths = f"embeddings are {clip.shape[1]} wide, the LLM's {width}"
            raise ArlError(f"{group.where}: {widths}: encode again with this policy")
    return is_audio


def embed_prompt(embedding: torch.nn.Module, group: PromptGroup, audio_token_id: int) -> Tensor:
    """The prompt as input embeddings [P, H]: text rows from the LLM's table, each placeholder replaced by its clip.

    Text embeddings come from the current weights, so they are trained; clips are constants. A placeholder id
    may lie beyond the vocabulary, so it is never looked up.
    """
    is_audio = check_clips(group, audio_token_id, embedding.weight.shape[1])
    text = embedding(group.prompt.masked_fill(is_audio, 0).to(embedding.weight.device))
    pieces, start = [], 0
    for index, clip in zip(is_audio.nonzero().flatten().tolist(), group.clips, strict=True):
        pieces += [text[start:index], clip.to(text)]
        start = index + 1
    return torch.cat([*pieces, text[start:]])
