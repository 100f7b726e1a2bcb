"""DiffRO in pieces of one or two hypotheses: the values and gradients of all [M, C] at once, without holding them."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from arl.losses import acoustic
from arl.losses.acoustic import AcousticBatch, AcousticHypothesis, Codebook, CodeLogits
from arl.losses.diffro import Diffro
from arl.losses.gumbel import conditioned, draw, straight_through
from arl.losses.heads import WeightedHead
from arl.models.token_asr.model import TokenAsr

H = 8


class Flat:
    """A head that wants one-hots."""

    def rewards(self, onehots: Tensor, lengths: Tensor, texts: list[str]) -> Tensor:
        return (onehots * torch.linspace(-1, 1, onehots.shape[2]).to(onehots)).sum((1, 2)) / lengths


def logits_of(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return (hidden @ weight.T + bias) / 0.8


def make_logits(seed: int, n: int, codes: int, dtype: torch.dtype) -> CodeLogits:
    generator = torch.Generator().manual_seed(seed)
    shapes = (n, H), (codes, H), (codes,)
    tensors = [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]
    return CodeLogits(*tensors, logits_of)


def make_batch(counts: list[int], codes: int, dtype: torch.dtype) -> AcousticBatch:
    """The second hypothesis is left out."""
    n = sum(counts)
    policy, reference = (make_logits(seed, n, codes, dtype) for seed in (0, 1))
    for tensor in policy[:3]:
        tensor.requires_grad_()
    sampled = torch.randint(0, codes, (n,), generator=torch.Generator().manual_seed(2))
    hypotheses = [AcousticHypothesis(count, "ab", 1.0, 7 + place) for place, count in enumerate(counts)]
    weights = [0.0 if place == 1 else 1.0 for place in range(len(counts))]
    return AcousticBatch(policy, reference, sampled, torch.zeros(n, dtype=dtype), hypotheses, weights)


def make_head(codes: int, dtype: torch.dtype, width: int = 16) -> TokenAsr:
    torch.manual_seed(1)
    return TokenAsr(codes, width=width, heads=2, layers=1).to(dtype).requires_grad_(False).eval()


def at_once(batch: AcousticBatch, heads: list[WeightedHead], gumbel: str) -> tuple[Tensor, Tensor]:
    """(rewards, KL) from [M, C] tensors."""
    log_probs, reference = (logits.log_probs() for logits in (batch.policy, batch.reference))
    kl = (log_probs.exp() * (log_probs - reference)).sum(-1)
    chosen = [batch.hypotheses[place] for place in batch.chosen]
    own, codes = log_probs[batch.chosen_tokens], batch.codes[batch.chosen_tokens]
    drawn = draw([one.codes for one in chosen], [one.seed for one in chosen], own)
    noise = conditioned(own, codes, drawn) if gumbel == "sampled" else drawn[:, 1:]
    hard = codes if gumbel == "sampled" else (own + noise).argmax(-1)
    onehots = straight_through(own, noise, hard, 0.9)
    padded = torch.nn.utils.rnn.pad_sequence(list(onehots.split([one.codes for one in chosen])), True)
    lengths, texts = torch.tensor([one.codes for one in chosen]), [one.text for one in chosen]
    values: list[Any] = [head.weight * head.head.rewards(padded, lengths, texts) for head in heads]
    return sum(values), kl


def in_pieces(batch: AcousticBatch, loss: Diffro) -> tuple[Tensor, Tensor]:
    assert batch.reference is not None
    return loss.rewards(batch)[0], batch.kl(batch.reference)


@pytest.mark.parametrize("gumbel", ["sampled", "fresh"])
def test_pieces_are_all_of_them_at_once(gumbel, monkeypatch):
    counts, codes = [4, 3, 7, 0, 2, 9], 11
    monkeypatch.setattr(acoustic, "PIECE", 7 * codes)
    assert acoustic.pieces(counts, codes) == [slice(0, 2), slice(2, 4), slice(4, 5), slice(5, 6)]
    heads = [WeightedHead("asr", make_head(codes, torch.float64)), WeightedHead("flat", Flat(), 0.5)]
    loss = Diffro(heads, Codebook(3, codes, (2,)), tau=0.9, gumbel=gumbel)
    found = []
    for way in ("whole", "pieces"):
        batch = make_batch(counts, codes, torch.float64)
        batch.weights[3] = 0.0  # type: ignore[index]
        rewards, kl = at_once(batch, heads, gumbel) if way == "whole" else in_pieces(batch, loss)
        slope = torch.linspace(1, 2, len(kl), dtype=torch.float64)
        (rewards.square().sum() + (slope * kl).sum()).backward()
        found.append([rewards.detach(), kl.detach(), *(tensor.grad for tensor in batch.policy[:3])])
    for whole, pieces in zip(*found, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-12)
        assert bool(whole.any())


class LiveBytes(TorchDispatchMode):
    """Bytes of the tensors made in it that are alive at once, at most, and of the largest one."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.most = self.largest = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self.known:
                self.known.add(storage)
                self.alive += storage.nbytes()
                self.largest = max(self.largest, storage.nbytes())
                weakref.finalize(storage, self.freed, storage.nbytes())
        self.most = max(self.most, self.alive)
        return result

    def freed(self, n: int) -> None:
        self.alive -= n


def test_memory_is_that_of_a_piece_for_6561_codes(monkeypatch):
    counts, codes = [8] * 40, 6561
    monkeypatch.setattr(acoustic, "PIECE", 8 * codes)
    heads = [WeightedHead("asr", make_head(codes, torch.float32, width=8))]
    loss, one, whole = Diffro(heads, Codebook(3, codes, (2,))), 8 * codes * 4, 39 * 8 * codes * 4  # bytes
    peaks = []
    for way in ("whole", "pieces"):
        batch = make_batch(counts, codes, torch.float32)
        with LiveBytes() as memory:
            rewards, kl = at_once(batch, heads, "sampled") if way == "whole" else in_pieces(batch, loss)
            kept = memory.alive
            (rewards.sum() + kl.sum()).backward()
        peaks.append((kept, memory.most, memory.largest))
    (kept, most, largest), pieces = peaks
    assert kept > 2 * whole and most > 5 * whole and largest >= whole  # so the test can fail
    assert pieces[0] < 4 * one and pieces[1] < 16 * one  # kept: what the head computes
    assert pieces[2] == 2 * one  # int64 one-hots
