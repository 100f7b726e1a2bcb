"""Attention on CPU over the whole batch at once (imported by SGLang; takes the place of `torch_native`).

SGLang's torch backend loops over requests and copies each one's keys and values. Here a step is a few
batched products per layer, and the prompt that a group's hypotheses share in the prefix cache is copied
once per group: scores against the shared part and against each request's own part are computed apart and
go through one softmax, so the result is that of plain attention up to rounding. Left out: sliding windows,
cross-attention and encoders, which SGLang's own backend still does.
"""

from dataclasses import dataclass
from typing import Any

import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
from sglang.srt.layers.radix_attention import AttentionType
from sglang.srt.mem_cache.memory_pool import KVWriteLoc
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
    n_rows, heads, width = query.shape
    key_heads = keys.shape[1]
    n_groups, shared = plan.shared_slots.shape
    # A key head serves H / K query heads: they become rows of the same product.
    grouped = query.new_zeros(n_groups * plan.members, heads, width)
    grouped[plan.place] = query
    grouped = _rows_by_head(grouped.view(n_groups, plan.members, key_heads, -1, width))
    single = query.view(n_rows * key_heads, heads // key_heads, width)
    shared_index, own_index = _by_head(plan.shared_slots, key_heads), _by_head(plan.own_slots, key_heads)
    shared_scores = torch.bmm(grouped, _take(keys, shared_index).transpose(1, 2))
    own_scores = torch.bmm(single, _take(keys, own_index).transpose(1, 2))
    by_query = shared_scores.view(n_groups, key_heads, plan.members, -1, shared).transpose(1, 2)
    by_query = by_query.reshape(n_groups * plan.members, heads, shared)[plan.place]
    scores = torch.cat([by_query, own_scores.view(n_rows, heads, -1)], dim=-1).float()
    weights = scores.mul_(scale).add_(plan.bias).softmax(-1).to(query.dtype)
    grouped_weights = weights.new_zeros(n_groups * plan.members, heads, shared)
    grouped_weights[plan.place] = weights[..., :shared]
    grouped_weights = _rows_by_head(grouped_weights.view(n_groups, plan.members, key_heads, -1, shared))
    from_shared = torch.bmm(grouped_weights, _take(values, shared_index))
    own_weights = weights[..., shared:].reshape(n_rows * key_heads, heads // key_heads, -1)
    from_own = torch.bmm(own_weights, _take(values, own_index)).view(n_rows, heads, -1)
    from_shared = from_shared.view(n_groups, key_heads, plan.members, -1, values.shape[2]).transpose(1, 2)
    return from_shared.reshape(n_groups * plan.members, heads, -1)[plan.place] + from_own


def _rows_by_head(grouped: torch.Tensor) -> torch.Tensor:
    """[n, M, K, H / K, X] -> [n * K, M * H / K, X]."""
    n_groups, members, key_heads, repeat, width = grouped.shape
    return grouped.transpose(1, 2).reshape(n_groups * key_heads, members * repeat, width)


def _by_head(slots: torch.Tensor, key_heads: int) -> torch.Tensor:
    """Slots [X, L] -> rows of the cache seen as [slots * K, D]: [X * K, L]."""
    index = slots.to(torch.int64)[:, None, :] * key_heads + torch.arange(key_heads)[None, :, None]
    return index.reshape(-1, slots.shape[1])


def _take(cache: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows of the cache [slots, K, D] by head-wise index [X, L] -> [X, L, D]; index_select copies whole rows."""
    return cache.view(-1, cache.shape[2]).index_select(0, index.view(-1)).view(*index.shape, -1)


class BatchedAttention(TorchNativeAttnBackend):
    """SGLang's CPU attention backend with batched decoding and one-token extension."""

    def __init__(self, model_runner: Any) -> None:
        super().__init__(model_runner)
        # By request slot: the prompt's length, noted when its last part was prefilled.
        self._prompt_lengths = torch.zeros(self.req_to_token_pool.req_to_token.shape[0], dtype=torch.int64)
        self._single: torch.Tensor | None = None  # rows of the batch with one new token
        self._plan: Plan | None = None

    def init_forward_metadata(self, forward_batch: Any) -> None:
        super().init_forward_metadata(forward_batch)
        requests, lengths = forward_batch.req_pool_indices, forward_batch.seq_lens.to(torch.int64)
        decoding = forward_batch.forward_mode.is_decode()
        if not decoding:
            self._prompt_lengths[requests] = lengths
        single = torch.arange(len(requests)) if decoding else torch.nonzero(forward_batch.extend_seq_lens == 1)[:, 0]
        self._single, self._plan = single, None
        if len(single):
            requests, lengths = requests[single], lengths[single]
            table = self.req_to_token_pool.req_to_token.index_select(0, requests)[:, : int(lengths.max())]
            self._plan = make_plan(table, lengths, self._prompt_lengths[requests])

    def forward_decode(
        self, q: torch.Tensor, k: Any, v: Any, layer: Any, forward_batch: Any, save_kv_cache: bool = True
    ) -> torch.Tensor:
        if not self._handles(layer) or self._plan is None:
            return super().forward_decode(q, k, v, layer, forward_batch, save_kv_cache)
        keys, values = self._store(k, v, layer, forward_batch, save_kv_cache)
        query = q.reshape(-1, layer.tp_q_head_num, layer.qk_head_dim)
        return attend(query, keys, values, self._plan, layer.scaling).view(len(query), -1)

    def forward_extend(
        self, q: torch.Tensor, k: Any, v: Any, layer: Any, forward_batch: Any, save_kv_cache: bool = True
    ) -> torch.Tensor:
        if not self._handles(layer):
            return super().forward_extend(q, k, v, layer, forward_batch, save_kv_cache)
        keys, values = self._store(k, v, layer, forward_batch, save_kv_cache)
        query = q.reshape(-1, layer.tp_q_head_num, layer.qk_head_dim)
        output = query.new_empty(len(query), layer.tp_q_head_num, layer.v_head_dim)
        new = forward_batch.extend_seq_lens.to(torch.int64)
        ends = new.cumsum(0)
        if self._plan is not None:
            at = ends[self._single] - 1
            output[at] = attend(query[at], keys, values, self._plan, layer.scaling)
        for row in torch.nonzero(new > 1)[:, 0].tolist():
            end, count, length = int(ends[row]), int(new[row]), int(forward_batch.seq_lens[row])
            slots = self.req_to_token_pool.req_to_token[forward_batch.req_pool_indices[row], :length]
            output[end - count : end] = _prefill(query[end - count : end], keys[slots], values[slots], layer.scaling)
        return output.view(len(query), -1)

    def _handles(self, layer: Any) -> bool:
        windowed = layer.sliding_window_size is not None and layer.sliding_window_size > -1
        plain = layer.attn_type == AttentionType.DECODER and not layer.is_cross_attention
        return plain and not windowed and not self.use_sliding_window_kv_pool

    def _store(
        self, k: Any, v: Any, layer: Any, forward_batch: Any, save_kv_cache: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pool = self.token_to_kv_pool
        if save_kv_cache and k is not None:
            pool.set_kv_buffer(layer, KVWriteLoc(forward_batch.out_cache_loc, None), k, v)
        return pool.get_key_buffer(layer.layer_id), pool.get_value_buffer(layer.layer_id)


def _prefill(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
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
