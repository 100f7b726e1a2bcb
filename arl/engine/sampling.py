"""Seeded sampling in torch for a CPU: one number per row, and the inverse of its cumulative distribution.

The number is SGLang's hash of (seed, position), so a draw depends on its own row and seed only, never on the rest of
the batch. SGLang's own sampler, which serves on a GPU, hashes (seed, position, token id) for Gumbel noise: the same
distribution, but other tokens for a seed. For every token of a real vocabulary that is seconds a step on a CPU. Only
imported inside the engine (it imports torch).
"""

import torch

_MASK = 0xFFFFFFFF
ROWS = 64  # drawn at once: their sums are float64, 8 bytes a token of the vocabulary


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


def uniforms(seed: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """One number in [0, 1) per row, float64 [n], from 53 bits of the hash of its seed [n] and position [n]."""
    high, low = murmur_hash32(seed, positions, torch.arange(2, device=seed.device)).unbind(1)  # each [n], 32 bits
    return ((high << 21) | (low >> 11)).to(torch.float64) * 2.0**-53


def multinomial_with_seed(logprobs: torch.Tensor, seed: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Draw one column per row of logprobs [n, m]; returns int64 [n, 1]. Rows need not be normalised.

    Stands in for SGLang's function of the same name, which is Triton and torch.compile. It is the inverse of the
    cumulative distribution at the row's number; a column of probability 0 is never drawn.
    """
    drawn = [_draw(*part) for part in zip(logprobs.split(ROWS), uniforms(seed, positions).split(ROWS), strict=True)]
    return torch.cat(drawn)


def _draw(logprobs: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """[n, m] and numbers [n] -> columns [n, 1]."""
    sums = logprobs.exp().cumsum(dim=1, dtype=torch.float64)  # [n, m]: in float32 the likeliest columns would lose bits
    total = sums[:, -1]
    # The first column whose sum is above: below the total, so that there is one, and it adds something.
    at = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    drawn = torch.searchsorted(sums, at[:, None], right=True)
    return drawn.clamp_(max=logprobs.shape[1] - 1)  # of a row that is not finite: an id, as SGLang's argmax gives


def keep_likely(
    probs: torch.Tensor, top_ks: torch.Tensor, top_ps: torch.Tensor, min_ps: torch.Tensor | None
) -> torch.Tensor:
    """Zero what top-k, top-p and min-p exclude, in vocabulary order: [n, m] -> [n, m], not renormalised.

    A row that asks for none of them (k >= m, p = 1, min p = 0) comes back unchanged, so its draw does not
    depend on whether a neighbour in the batch is filtered. SGLang's own version draws in sorted order.
    """
    filtered = (top_ks < probs.shape[1]) | (top_ps < 1)
    if min_ps is not None:
        filtered |= min_ps > 0
    rows = filtered.nonzero()[:, 0]  # the others are not sorted, which is what costs
    if not len(rows):
        return probs
    least = None if min_ps is None else min_ps[rows]
    return probs.index_copy(0, rows, _kept(probs[rows], top_ks[rows], top_ps[rows], least))


def _kept(probs: torch.Tensor, top_ks: torch.Tensor, top_ps: torch.Tensor, min_ps: torch.Tensor | None) -> torch.Tensor:
    ordered, columns = probs.sort(dim=-1, descending=True, stable=True)
    before = torch.cumsum(ordered, dim=-1) - ordered
    ranks = torch.arange(probs.shape[1], device=probs.device)[None, :]
    drop = (ranks >= top_ks[:, None]) | ((before > top_ps[:, None]) & (top_ps[:, None] < 1))
    if min_ps is not None:
        drop |= ordered < ordered[:, :1] * min_ps[:, None]
    return probs.masked_fill(torch.zeros_like(drop).scatter(1, columns, drop), 0.0)
