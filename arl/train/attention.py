"""Exact attention of packed groups: each prompt once, no mask in memory, behind transformers' AttentionInterface.

A micro-batch is one row without padding, `[prompt, resp_1 … resp_G, prompt, resp_1 …]`. On a CPU, the queries of a
whole group meet the keys of its prompt in one causal flash call (prompt positions see what is before them, response
positions come later and so see all of it), and the responses, padded in buckets of similar length, meet themselves in
another; both are merged by log-sum-exp. With the merged output and log-sum-exp, the flash backward of either part is
exact (the identity behind ring attention, arXiv 2310.01889). On CUDA one FlexAttention call with a block mask does
the same; only its masks are tested without a GPU, the kernel by `make bench-gpu`.

Left out: sliding windows, and devices without either kernel; `packs` says so and arl/train/shared_prefix.py then
uses its dense masks.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from arl.train.decoder import trim_last_layer
from arl.train.packing import Packing

NAME = "arl_shared_prompt"  # in transformers' registry of attention functions
FORWARD = "_scaled_dot_product_flash_attention_for_cpu"  # private to torch, so looked for and tried before use
BACKWARD = FORWARD + "_backward"


def shared_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    packing: Packing | None = None, scaling: float | None = None, **others: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """transformers' attention function. query [B, heads, L, D], key and value [B, kv heads, L, D] → [B, L, heads, D].

    Without a packing it is transformers' own sdpa; with one, B is 1 and no mask is read.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packing is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    vars(module)["packing"] = packing  # for the layer's MLP (arl/train/decoder.py)
    dtype = torch.get_autocast_dtype(query.device.type) if torch.is_autocast_enabled(query.device.type) else query.dtype
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if query.is_cuda:
        mask = packing.block_mask
        out = compiled_flex()(query, key, value, block_mask=mask, scale=scaling, enable_gqa=True).transpose(1, 2)
    else:
        out = SharedPrompt.apply(query, key, value, packing, scaling)
    return out, None


@lru_cache(maxsize=1)
def uncompiled_attention() -> Callable[..., tuple[Tensor, None]]:
    """`shared_attention`, which torch.compile leaves alone. Not a decorator: it imports torch._dynamo, 2 s."""
    return torch.compiler.disable(shared_attention)


@lru_cache(maxsize=1)
def compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


class SharedPrompt(torch.autograd.Function):
    """The two flash calls and their merge. query [1, heads, L, D], key and value [1, kv heads, L, D] of one dtype
    (float64, float32, bfloat16) → [1, L, heads, D]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, packing: Packing, scale: float | None) -> Tensor:
        flash = getattr(torch.ops.aten, FORWARD)
        q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))  # [L, heads, D], [L, kv heads, D] twice
        length, heads, width = q.shape
        repeats = heads // k.shape[1]  # query heads that share a key head
        out = q.new_empty(length + 1, heads, width)  # the last row takes what padding computes
        sums = q.new_empty(length + 1, heads, dtype=torch.float64 if q.dtype == torch.float64 else torch.float32)
        # 1. every position of a group against its prompt: `sums` [L + 1, heads] is the log-sum-exp of its scores
        for start, end, stop in packing.groups:
            keys = (shared(t[start:end], repeats) for t in (k, v))  # [repeats, kv heads, P, D] twice
            # queries [repeats, kv heads, P + all R − 1, D]; part has their shape, log_sum is without D
            part, log_sum = flash(split(q[start:stop], repeats), *keys, 0.0, True, scale=scale)
            out[start:stop], sums[start:stop] = joined(part), joined(log_sum[..., None])[..., 0]
        # 2. every response against itself, and the merge of both softmaxes
        for bucket in packing.buckets:
            own_q, own_k, own_v = bucket.gather(q), *(repeated(bucket.gather(t), repeats) for t in (k, v))
            part, log_sum = flash(own_q, own_k, own_v, 0.0, True, scale=scale)  # [n, heads, S, D], [n, heads, S]
            before = bucket.gather(sums)  # [n, heads, S]: of the prompt
            both = torch.logaddexp(before, log_sum)  # [n, heads, S]: of prompt and response
            of_prompt, of_own = (before - both).exp_()[..., None], (log_sum - both).exp_()[..., None]  # sum to one
            bucket.scatter(out, (bucket.gather(out) * of_prompt + part * of_own).to(out.dtype))
            bucket.scatter(sums, both)
        ctx.save_for_backward(query, key, value, out, sums)
        ctx.packing, ctx.scale = packing, scale
        return out[None, :length]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flash = getattr(torch.ops.aten, BACKWARD)
        query, key, value, out, sums = ctx.saved_tensors
        packing, scale = ctx.packing, ctx.scale
        g, q, k, v = (gradient[0], *(t[0].transpose(0, 1) for t in (query, key, value)))  # [L, heads or kv heads, D]
        repeats = q.shape[1] // k.shape[1]
        to_query, to_key, to_value = (t.new_empty(len(t) + 1, *t.shape[1:]) for t in (q, k, v))  # [L + 1, …, D]
        # the merged `out` and `sums` make flash's softmax that of the whole row, so each call's gradients just add up
        for start, end, stop in packing.groups:
            keys = (shared(t[start:end], repeats) for t in (k, v))  # [repeats, kv heads, P, D] twice
            slope, own_q, o, s = (split(t[start:stop], repeats) for t in (g, q, out, sums[..., None]))
            parts = flash(slope, own_q, *keys, o, s[..., 0], 0.0, True, scale=scale)  # of query, key, value
            to_query[start:stop] = joined(parts[0])
            to_key[start:end], to_value[start:end] = (part.sum(0).transpose(0, 1) for part in parts[1:])
        for bucket in packing.buckets:
            own_q, own_k, own_v = bucket.gather(q), *(repeated(bucket.gather(t), repeats) for t in (k, v))
            slope, o, s = (bucket.gather(t) for t in (g, out, sums))  # [n, heads, S, D] twice, [n, heads, S]
            slope = slope if bucket.is_real is None else slope * bucket.is_real  # padding has no gradient
            parts = flash(slope, own_q, own_k, own_v, o, s, 0.0, True, scale=scale)  # each [n, heads, S, D]
            bucket.scatter(to_query, bucket.gather(to_query).add_(parts[0]))  # to that of the prompt's call
            for rows, part in zip((to_key, to_value), parts[1:], strict=True):
                bucket.scatter(rows, part.unflatten(1, (-1, repeats)).sum(2) if repeats > 1 else part)
        return *(t[:-1].transpose(0, 1)[None] for t in (to_query, to_key, to_value)), None, None


def split(rows: Tensor, repeats: int) -> Tensor:
    """[L, heads, D] → [repeats, kv heads, L, D]: the query heads of one key head become a batch, without a copy."""
    return rows.unflatten(1, (-1, repeats)).permute(2, 1, 0, 3)


def joined(parts: Tensor) -> Tensor:
    """The other way: [repeats, kv heads, L, D] → [L, heads, D]."""
    return parts.permute(2, 1, 0, 3).flatten(1, 2)


def shared(rows: Tensor, repeats: int) -> Tensor:
    """Keys or values [P, kv heads, D] → [repeats, kv heads, P, D], a view."""
    return rows.transpose(0, 1).expand(repeats, -1, -1, -1)


def repeated(rows: Tensor, repeats: int) -> Tensor:
    """Keys or values [n, kv heads, S, D] → [n, heads, S, D]."""
    return rows.repeat_interleave(repeats, dim=1) if repeats > 1 else rows


@lru_cache(maxsize=1)
def has_flash() -> bool:
    """Whether torch's private CPU kernels are there and compute what is needed of them: tried once, on a small case."""
    if not (hasattr(torch.ops.aten, FORWARD) and hasattr(torch.ops.aten, BACKWARD)):
        return False
    generator = torch.Generator().manual_seed(0)
    packing = Packing([(7, [3, 40, 1, 0, 2]), (33, [5])])
    length = packing.groups[-1][2]
    shapes = (1, 4, length, 8), (1, 2, length, 8), (1, 2, length, 8)  # [1, heads or kv heads, L, D]
    leaves = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    weight = torch.randn(1, length, 4, 8, generator=generator, dtype=torch.float64)
    index = torch.arange(length)
    mask = packing.sees(None, None, index[:, None], index[None])  # [L, L]
    try:
        with torch.enable_grad():
            found = SharedPrompt.apply(*leaves, packing, 0.3)
            slopes = torch.autograd.grad((weight * found).sum(), leaves)
            key, value = (leaf.repeat_interleave(2, dim=1) for leaf in leaves[1:])
            scores = (0.3 * leaves[0] @ key.transpose(-1, -2)).masked_fill(~mask, -torch.inf)  # [1, heads, L, L]
            expected = (scores.softmax(-1) @ value).transpose(1, 2)
            wanted = torch.autograd.grad((weight * expected).sum(), leaves)
    except (RuntimeError, TypeError):
        return False
    pairs = zip((found, *slopes), (expected, *wanted), strict=True)
    return all(torch.allclose(one, other, rtol=1e-9, atol=1e-9) for one, other in pairs)


def use_shared_attention(model: Any) -> Any:
    """Makes this attention that of the model, which without a packing computes as before. Decoders that do not take
    their attention from the registry keep their own. Returns the model."""
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

    if not getattr(model, "_supports_attention_backend", False):
        return model
    AttentionInterface.register(NAME, uncompiled_attention())
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)
    trim_last_layer(model)
    return model


def packs(model: Any) -> bool:
    """Whether the model attends through here, on a device and in a dtype that this can do.

    Latent attention, whose values are of another width than its keys, is not.
    """
    weight = next(model.parameters())
    if getattr(model.config, "_attn_implementation", None) != NAME or getattr(model.config, "v_head_dim", None):
        return False
    if weight.is_cuda:
        return weight.dtype != torch.float64
    return (
        weight.device.type == "cpu" and weight.dtype in (torch.float64, torch.float32, torch.bfloat16) and has_flash()
    )
