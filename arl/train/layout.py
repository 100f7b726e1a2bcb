"""Groups as rows of embeddings: where each position lies, which segment it belongs to, and what predicts each token.

    rows = lay_out(model, groups, audio_token_id)
    hidden = decoder(inputs_embeds=rows.embeds, position_ids=rows.position, …)

Left out: what a position may attend to (shared_prefix.py by a mask, packing.py without one).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arl.train.groups import PromptGroup, check_clips
from arl.train.packing import Packing


@dataclass
class RowBatch:
    """Several groups as padded rows, or packed in one.

    embeds: [B, L, H]. segment: int64 [B, L], 0 the prompt, i the i-th response, -1 padding. position: int64 [B, L].
    predictor: int64 [N], for each response token, in order, the index in [B·L] of the position whose hidden state
    predicts it. target: int64 [N], those tokens. packing: of a packed row.
    """

    embeds: Tensor
    segment: Tensor
    position: Tensor
    predictor: Tensor
    target: Tensor
    packing: Packing | None = None


@dataclass(frozen=True)
class GroupLayout:
    """One group in a row that begins with it.

    segment, position: int64 [L], as in `RowBatch`. is_clip: bool [L], where embeddings of audio lie. predictor: int64
    [N], for each response token, in order, the index in [L] of the position that predicts it.
    """

    segment: Tensor
    position: Tensor
    is_clip: Tensor
    predictor: Tensor

    @classmethod
    def of(cls, group: PromptGroup, is_audio: Tensor) -> "GroupLayout":
        """is_audio: which tokens of the prompt are placeholders, bool [p]."""
        p = group.prompt_length
        clip_lengths = torch.tensor([len(clip) for clip in group.clips], dtype=torch.long)
        n_positions = torch.ones_like(group.prompt).masked_scatter_(is_audio, clip_lengths)  # [p] of each prompt token
        inputs = torch.tensor([len(response) - 1 for response in group.responses])  # [G]: the last token is no input
        offsets = inputs.cumsum(0) - inputs  # [G]: where each response begins behind the prompt
        number = torch.arange(1, len(inputs) + 1).repeat_interleave(inputs)  # [L − P]: which response
        within = torch.arange(len(number)) - offsets.repeat_interleave(inputs)  # [L − P]: 0, 1, … in each response
        firsts = offsets + torch.arange(len(inputs))  # [G]: each response's first token among the N response tokens
        # the t-th token of a response is predicted by its (t − 1)-th, the first one by the end of the prompt
        predictor = p - 1 + torch.arange(group.n_tokens) + (offsets - firsts).repeat_interleave(inputs + 1)
        predictor[firsts] = p - 1
        return cls(
            segment=torch.cat([torch.zeros(p, dtype=torch.long), number]),
            position=torch.cat([torch.arange(p), p + within]),  # each response continues the prompt
            is_clip=torch.cat([is_audio.repeat_interleave(n_positions), torch.zeros(len(number), dtype=torch.bool)]),
            predictor=predictor,
        )


def with_frames(rows: Tensor, groups: Sequence[PromptGroup], audio_token_id: int) -> Tensor:
    """Adds to the embeddings of each group's text [text positions, H] what its frames have beside their tokens."""
    if all(group.history is None for group in groups):
        return rows
    added = []
    for group in groups:
        added.append(rows.new_zeros(int((group.prompt != audio_token_id).sum()), rows.shape[1]))
        for index, response in enumerate(group.responses):
            frames = group.frames(index)
            added.append(rows.new_zeros(len(response) - 1, rows.shape[1]) if frames is None else frames.to(rows))
    return rows + torch.cat(added)


def lay_out(model: nn.Module, groups: Sequence[PromptGroup], audio_token_id: int, packed: bool = False) -> RowBatch:
    """Lays each group out as a row padded on the right, or all in one row. ArlError for clips that do not fit.

    The text of all groups is looked up at once: a look-up's gradient is as large as the table.
    """
    embedding = model.get_input_embeddings()
    device = embedding.weight.device
    sizes = [group.row_length for group in groups]
    width = sum(sizes) if packed else max(sizes)  # L
    n_rows = 1 if packed else len(groups)  # B
    starts = [0, *torch.tensor(sizes).cumsum(0).tolist()] if packed else [width * row for row in range(n_rows)]
    segment = torch.full((n_rows * width,), -1)  # like every index below: of the rows one after the other, [B·L]
    position = torch.zeros(n_rows * width, dtype=torch.long)
    texts, text_index, clip_index, predictors = [], [], [], []
    for group, start in zip(groups, starts, strict=False):
        layout = GroupLayout.of(group, is_audio := check_clips(group, audio_token_id, embedding.weight.shape[1]))
        index = start + torch.arange(group.row_length)
        segment[index], position[index] = layout.segment, layout.position
        texts += [group.prompt[~is_audio], *group.inputs]
        text_index.append(index[~layout.is_clip])
        clip_index.append(index[layout.is_clip])
        predictors.append(start + layout.predictor)
    rows = with_frames(embedding(torch.cat(texts).to(device)), groups, audio_token_id)  # [text positions, H]
    embeds = rows.new_zeros(n_rows * width, rows.shape[1]).index_copy(0, torch.cat(text_index).to(device), rows)
    clips = [clip.to(rows) for group in groups for clip in group.clips]  # each [T, H]
    if clips:
        embeds = embeds.index_copy(0, torch.cat(clip_index).to(device), torch.cat(clips))
    lengths = [(group.prompt_length, [len(response) - 1 for response in group.responses]) for group in groups]
    return RowBatch(
        embeds=embeds.view(n_rows, width, -1),
        segment=segment.view(n_rows, width).to(device),
        position=position.view(n_rows, width).to(device),
        predictor=torch.cat(predictors).to(device),
        target=torch.cat([response for group in groups for response in group.responses]).to(device),
        packing=Packing(lengths, device) if packed else None,
    )
