"""Exact attention of a decoding batch in a few products, with each shared prompt read once (torch only).

Hypotheses of one group hold the same cache slots for their prompt. Scores against the shared part (per group)
and against each request's own part are computed apart and go through one softmax, so the result is that of
plain attention up to rounding. Left out: sliding windows, and storing keys (cpu_attention.py).

    attend(query, keys, values, make_plan(table, lengths, prompt_lengths), scale)
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Plan:
    """Where the keys of B queries lie: n groups of up to M members, shared parts of up to S tokens, own parts of
    up to O. `place` [B] is a query's row in the padded [n * M]; `*_slots` index the cache ([n, S], [B, O]);
    `bias` [B, 1, S + O] is 0 where a query sees a key and -inf where it does not."""

    place: torch.Tensor
    members: int
    shared_slots: torch.Tensor
    own_slots: torch.Tensor
    bias: torch.Tensor


def make_plan(table: torch.Tensor, lengths: torch.Tensor, prompt_lengths: torch.Tensor) -> Plan:
    """Group requests by the prompt they share.

    table [B, >= max length] holds each request's cache slots by position, lengths [B] how many count,
    prompt_lengths [B] how many of them are the prompt. The prompt's last token is computed per request.
    """
    rows = torch.arange(len(table))
    shared = torch.minimum(prompt_lengths, lengths).sub(1).clamp(min=0)
    last = table.gather(1, shared.sub(1).clamp(min=0)[:, None]).squeeze(1)
    group, leader = _group(torch.where(shared > 0, last, -1 - rows))
    width = int(shared.max())
    inside = torch.arange(width) < shared[:, None]
    same = ((table[:, :width] == table[leader[group], :width]) | ~inside).all(1) & (shared == shared[leader[group]])
    if not bool(same.all()):  # never seen: a slot of the prefix cache belongs to one prefix
        group, leader = rows, rows
    counts = torch.bincount(group)
    members = int(counts.max())
    order = torch.argsort(group, stable=True)
    rank = torch.empty_like(order)
    rank[order] = rows - (counts.cumsum(0) - counts)[group[order]]
    own = torch.arange(int((lengths - shared).max()))
    positions = shared[:, None] + own
    own_slots = table.gather(1, positions.clamp(max=table.shape[1] - 1))
    seen = torch.cat([inside, positions < lengths[:, None]], dim=1)
    bias = torch.zeros(seen.shape).masked_fill_(~seen, float("-inf"))
    return Plan(group * members + rank, members, table[leader, :width], own_slots, bias[:, None])


def _group(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """keys [B] -> group number of each row [B], and one row of each group [n]."""
    _, group = torch.unique(keys, return_inverse=True)
    leader = torch.empty(int(group.max()) + 1, dtype=torch.int64)
    leader[group] = torch.arange(len(keys))
    return group, leader


def attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, plan: Plan, scale: float) -> torch.Tensor:
    """query [B, H, D], caches [slots, K, D] with K key heads -> [B, H, D]."""
    n_rows, heads, _ = query.shape
    key_heads, shared = keys.shape[1], plan.shared_slots.shape[1]
    apart = (n_rows * key_heads, heads // key_heads)
    shared_index, own_index = _by_head(plan.shared_slots, key_heads), _by_head(plan.own_slots, key_heads)
    shared_scores = torch.bmm(_gather(query, plan, key_heads), _take(keys, shared_index).transpose(1, 2))
    own_scores = torch.bmm(query.reshape(*apart, -1), _take(keys, own_index).transpose(1, 2))
    scores = torch.cat([_scatter(shared_scores, plan, heads), own_scores.view(n_rows, heads, -1)], dim=-1)
    weights = scores.float().mul_(scale).add_(plan.bias).softmax(-1).to(query.dtype)
    from_shared = torch.bmm(_gather(weights[..., :shared], plan, key_heads), _take(values, shared_index))
    from_own = torch.bmm(weights[..., shared:].reshape(*apart, -1), _take(values, own_index))
    return _scatter(from_shared, plan, heads) + from_own.view(n_rows, heads, -1)


def _gather(rows: torch.Tensor, plan: Plan, key_heads: int) -> torch.Tensor:
    """[B, H, X] -> [n * K, M * H / K, X]: the queries of a group that share a key head are rows of one product."""
    n_groups, (_, heads, width) = len(plan.shared_slots), rows.shape
    repeat = heads // key_heads
    padded = rows.new_zeros(n_groups * plan.members, heads, width)
    padded[plan.place] = rows
    padded = padded.view(n_groups, plan.members, key_heads, repeat, width).transpose(1, 2)
    return padded.reshape(n_groups * key_heads, plan.members * repeat, width)


def _scatter(products: torch.Tensor, plan: Plan, heads: int) -> torch.Tensor:
    """[n * K, M * H / K, X] -> [B, H, X], the other way."""
    n_groups, width = len(plan.shared_slots), products.shape[2]
    key_heads = len(products) // n_groups
    padded = products.view(n_groups, key_heads, plan.members, heads // key_heads, width).transpose(1, 2)
    return padded.reshape(n_groups * plan.members, heads, width)[plan.place]


def _by_head(slots: torch.Tensor, key_heads: int) -> torch.Tensor:
    """Slots [X, L] -> rows of the cache seen as [slots * K, D]: [X * K, L]."""
    index = slots.to(torch.int64)[:, None, :] * key_heads + torch.arange(key_heads)[None, :, None]
    return index.reshape(len(slots) * key_heads, slots.shape[1])


def _take(cache: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows of the cache [slots, K, D] by head-wise index [X, L] -> [X, L, D]; index_select copies whole rows."""
    width = cache.shape[2]
    return cache.view(-1, width).index_select(0, index.view(-1)).view(*index.shape, width)


def prefill(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """One request's new tokens [R, H, D] against its first L tokens [L, K, D], causal: [R, H, D]."""
    new, length = len(query), len(keys)
    mask = None if new == length else torch.ones(new, length, dtype=torch.bool).tril(length - new)
    attended = scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        keys.transpose(0, 1)[None],
        values.transpose(0, 1)[None],
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=query.shape[1] != keys.shape[1],
    )
    return attended[0].transpose(0, 1)
