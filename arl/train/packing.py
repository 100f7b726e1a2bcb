"""Where the groups of a micro-batch lie when they are packed in one row, and what each position may see.

The row is `[prompt, resp_1 … resp_G, prompt, resp_1 …]`: without padding, and without a mask as large as the row
squared. arl/train/attention.py computes attention from this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

BLOCK = 128  # positions of a FlexAttention block
BUCKET = 1.5  # longest over shortest response of one padded call


@dataclass(frozen=True)
class Bucket:
    """n responses of similar length as one padded batch [n, S]; S positions are the longest one's.

    read_index, write_index: int64 [n·S], the index in the row [L] that each position is read from and written to.
    is_real: bool [n, 1, S, 1], False where padding; None where nothing is padded.

    A shorter response is padded behind its end with its last position, so that no causal query of its own sees the
    padding. What is computed there is written to index L, behind the row's end.
    """

    shape: tuple[int, int]
    read_index: Tensor
    write_index: Tensor
    is_real: Tensor | None

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int]], length: int, device: torch.device) -> "Bucket":
        """Of (start, positions) of each response, in a row of `length`."""
        starts, lengths = torch.tensor(spans).unbind(1)  # each [n]
        step = torch.arange(int(lengths.max()))  # [S]
        is_real = step < lengths[:, None]  # [n, S]
        read = starts[:, None] + torch.minimum(step, lengths[:, None] - 1)  # [n, S], repeats the last position
        write = read.masked_fill(~is_real, length)  # [n, S], padding behind the row's end
        mask = None if bool(is_real.all()) else is_real[:, None, :, None].to(device)  # broadcasts over [n, heads, S, D]
        return cls((len(starts), len(step)), read.flatten().to(device), write.flatten().to(device), mask)

    def gather(self, rows: Tensor) -> Tensor:
        """[L, heads, …] → [n, heads, S, …]."""
        return rows.index_select(0, self.read_index).unflatten(0, self.shape).transpose(1, 2)

    def scatter(self, rows: Tensor, values: Tensor) -> None:
        """values [n, heads, S, …] → written into rows [L + 1, heads, …]."""
        rows.index_copy_(0, self.write_index, values.transpose(1, 2).flatten(0, 1))


@dataclass(frozen=True)
class Packing:
    """Where the groups lie in a packed row. lengths: per group (prompt positions, positions of each response)."""

    lengths: Sequence[tuple[int, Sequence[int]]]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @cached_property
    def groups(self) -> list[tuple[int, int, int]]:
        """(start, end of the prompt, end) of each group."""
        spans, start = [], 0
        for prompt, responses in self.lengths:
            end = start + prompt + sum(responses)
            spans.append((start, start + prompt, end))
            start = end
        return spans

    @cached_property
    def responses(self) -> list[tuple[int, int]]:
        """(start, positions) of each response that has any."""
        spans = []
        for (_, start, _), (_, lengths) in zip(self.groups, self.lengths, strict=True):
            for length in lengths:
                if length:
                    spans.append((start, length))
                start += length
        return spans

    @cached_property
    def read(self) -> Tensor:
        """Where the last hidden states are read, int64: the last position of each prompt and all of the responses."""
        return torch.cat([torch.arange(end - 1, stop) for _, end, stop in self.groups]).to(self.device)

    @cached_property
    def buckets(self) -> list["Bucket"]:
        """The responses, by similar length."""
        cut: list[list[tuple[int, int]]] = []
        for span in sorted(self.responses, key=lambda span: span[1]):
            if not cut or span[1] > BUCKET * cut[-1][0][1]:
                cut.append([])
            cut[-1].append(span)
        return [Bucket.of(spans, self.groups[-1][2], self.device) for spans in cut]

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per position int64 [L]: start of its group, end of its prompt, start of its own segment."""
        rows, own = torch.tensor(self.groups), []  # rows [B, 3]: start, end of the prompt, end
        for (start, _, _), (prompt, lengths) in zip(self.groups, self.lengths, strict=True):
            sizes = torch.tensor([prompt, *lengths])  # [1 + G] positions of each segment
            own.append(start + (sizes.cumsum(0) - sizes).repeat_interleave(sizes))  # where each one's segment starts
        sizes = rows[:, 2] - rows[:, 0]  # [B] positions of each group
        starts, ends = (rows[:, column].repeat_interleave(sizes) for column in (0, 1))  # each [L]
        return starts.to(self.device), ends.to(self.device), torch.cat(own).to(self.device)

    @cached_property
    def block_mask(self) -> Any:
        """The FlexAttention mask, made from the bounds: positions by blocks are held, never positions by positions."""
        from torch.nn.attention.flex_attention import BlockMask

        starts, ends, own = self.bounds
        length = len(own)
        n_blocks = -(-length // BLOCK)
        query = torch.arange(length, device=self.device)[:, None]  # [L, 1]
        first = BLOCK * torch.arange(n_blocks, device=self.device)  # [blocks]: the first key of each
        last = (first + BLOCK - 1).clamp(max=length - 1)  # [blocks]: its last key
        start, end, mine = starts[:, None], ends[:, None], own[:, None]  # each [L, 1]
        # whether a query sees some key of a block, or every one: `sees` for a range of keys, [L, blocks]
        some = (first <= query) & ((last >= mine) | ((last >= start) & (first < end)))
        every = (last <= query) & ((first >= mine) | ((first >= start) & (last < end)))
        every &= first + BLOCK <= length  # a block beyond the row's end is never taken as whole
        # the same for a block of queries, [blocks, blocks]
        pad = n_blocks * BLOCK - length
        some = torch.nn.functional.pad(some, (0, 0, 0, pad)).view(n_blocks, BLOCK, n_blocks).any(1)
        every = torch.nn.functional.pad(every, (0, 0, 0, pad)).view(n_blocks, BLOCK, n_blocks).all(1)
        # FlexAttention's form: per block of queries which key blocks, and how many; those that are seen in part need
        # the mask function, full ones do not. int32 [1, 1, blocks, blocks] and [1, 1, blocks]
        partial, full = (ordered(blocks)[None, None] for blocks in (some & ~every, every))
        counts = [blocks.sum(-1, dtype=torch.int32)[None, None] for blocks in (some & ~every, every)]
        return BlockMask.from_kv_blocks(
            counts[0], partial, counts[1], full, BLOCK_SIZE=BLOCK, mask_mod=self.sees, seq_lengths=(length, length)
        )

    @cached_property
    def sees(self) -> Callable[[Any, Any, Tensor, Tensor], Tensor]:
        """Whether a position attends to another: what is before it in its own segment and in its group's prompt.

        A plain function of (batch, head, query, key) over tensors, as FlexAttention compiles it.
        """
        starts, ends, own = self.bounds

        def sees(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
            return (key <= query) & ((key >= own[query]) | ((key >= starts[query]) & (key < ends[query])))

        return sees


def ordered(blocks: Tensor) -> Tensor:
    """Per row of a bool [n, n], the columns that are set, first; int32 [n, n]."""
    return blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True).to(torch.int32)
