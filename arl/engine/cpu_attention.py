"""SGLang's attention backend on CPU, over the whole batch at once (imported by SGLang, as `torch_native`).

SGLang's own torch backend loops over requests, copies the keys and values of each, and computes a whole prompt
for one new token. Here decoding and one-token extension are batched (shared_attention.py); longer prefills stay
one call per request. Left out: sliding windows, cross-attention and encoders, which go to SGLang's backend.
"""

from typing import Any

import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
from sglang.srt.layers.radix_attention import AttentionType
from sglang.srt.mem_cache.memory_pool import KVWriteLoc

from arl.engine.shared_attention import Plan, attend, make_plan, prefill


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
            output[end - count : end] = prefill(query[end - count : end], keys[slots], values[slots], layer.scaling)
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
