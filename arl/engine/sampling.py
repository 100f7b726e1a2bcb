"""Seeded sampling in torch: the same numbers as SGLang's Triton hash, on any device.

A token is drawn as argmax(log p + Gumbel noise), where the noise is a hash of (seed, position, token id).
A draw therefore depends on its own row and seed only, never on the rest of the batch. Only imported
inside the engine (it imports torch).
"""

import torch

_MASK = 0xFFFFFFFF


def _multiply(a: torch.Tensor, c: int) -> torch.Tensor:
    """32-bit product inside int64, in two halves so that it cannot overflow."""
    return ((a & 0xFFFF) * c + ((((a >> 16) * c) & 0xFFFF) << 16)) & _MASK


def _rotate(a: torch.Tensor, bits: int) -> torch.Tensor:
    return ((a << bits) | (a >> (32 - bits))) & _MASK


def _mix(state: torch.Tensor, word: torch.Tensor) -> torch.Tensor:
    word = _multiply(_rotate(_multiply(word & _MASK, 0xCC9E2D51), 15), 0x1B873593)
    return (_multiply(_rotate(state ^ word, 13), 5) + 0xE6546B64) & _MASK


def murmur_hash32(seed: torch.Tensor, positions: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """MurmurHash3 of (seed, position, column): int64 [n, m] in [0, 2^32), from seed [n], positions [n],
    columns [m]. Equals sglang.kernels.ops.sampling.murmur_hash32."""
    seed = seed.to(torch.int64)
    state = torch.zeros_like(seed)
    for word in (seed, seed >> 32, positions.to(torch.int64)):
        state = _mix(state, word)
    state = _mix(state[:, None], columns.to(torch.int64)[None, :]) ^ 16  # 16 bytes were hashed
    state = _multiply(state ^ (state >> 16), 0x85EBCA6B)
    state = _multiply(state ^ (state >> 13), 0xC2B2AE35)
    return state ^ (state >> 16)


def multinomial_with_seed(logprobs: torch.Tensor, seed: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Draw one column per row of logprobs [n, m]; returns int64 [n, 1]. Rows need not be normalised.

    Stands in for SGLang's function of the same name, which is Triton and torch.compile.
    """
    columns = torch.arange(logprobs.shape[1], device=logprobs.device)
    noise = murmur_hash32(seed, positions, columns).to(torch.float64) / _MASK
    # Clamp both ends as SGLang does: x = 0 and x = 1 would give infinite noise.
    noise.log_().clamp_(min=torch.finfo(noise.dtype).min, max=-(2.0**-32)).neg_()
    noise.log_().neg_()
    return torch.argmax(noise.add_(logprobs.to(torch.float64)), dim=1, keepdim=True)


def keep_likely(
    probs: torch.Tensor, top_ks: torch.Tensor, top_ps: torch.Tensor, min_ps: torch.Tensor | None
) -> torch.Tensor:
    """Zero what top-k, top-p and min-p exclude, in vocabulary order: [n, m] -> [n, m], not renormalised.

    A row that asks for none of them (k >= m, p = 1, min p = 0) comes back unchanged, so its draw does not
    depend on whether a neighbour in the batch is filtered. SGLang's own version draws in sorted order.
    """
    ordered, columns = probs.sort(dim=-1, descending=True, stable=True)
    before = torch.cumsum(ordered, dim=-1) - ordered
    ranks = torch.arange(probs.shape[1], device=probs.device)[None, :]
    drop = (ranks >= top_ks[:, None]) | ((before > top_ps[:, None]) & (top_ps[:, None] < 1))
    if min_ps is not None:
        drop |= ordered < ordered[:, :1] * min_ps[:, None]
    return probs.masked_fill(torch.zeros_like(drop).scatter(1, columns, drop), 0.0)
