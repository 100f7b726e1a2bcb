"""ChunkedLogProb against log_softmax, values and gradients, in float64."""

import pytest
import torch
from torch import Tensor

from arl.train.logprobs import ChunkedLogProb, LogitRule, response_scores

N, H, V = 7, 5, 11


def tensors(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden, weight = (torch.randn(n, H, generator=generator, dtype=torch.float64) for n in (N, V))
    bias = torch.randn(V, generator=generator, dtype=torch.float64)
    return hidden, weight, bias, torch.randint(V, (N,), generator=generator)


def plain(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logits = hidden @ weight.T + (bias if bias is not None else 0)
    log_probs = (logits / temperature).log_softmax(-1)
    return log_probs.gather(-1, target[:, None]).squeeze(-1), -(log_probs.exp() * log_probs).sum(-1)


@pytest.mark.parametrize("chunk", [1, 3, N, 512])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_equals_log_softmax(chunk, with_bias, temperature):
    hidden, weight, bias, target = tensors()
    leaves = [hidden.requires_grad_(), weight.requires_grad_(), *([bias.requires_grad_()] if with_bias else [])]
    given = (hidden, weight, bias if with_bias else None, target, temperature)
    slope = torch.linspace(-1, 1, N, dtype=torch.float64)

    log_probs, entropies = ChunkedLogProb.apply(*given, chunk)
    found = torch.autograd.grad((slope * log_probs).sum(), leaves)
    expected_log_probs, expected_entropies = plain(*given)
    expected = torch.autograd.grad((slope * expected_log_probs).sum(), leaves)

    torch.testing.assert_close(log_probs, expected_log_probs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropies, expected_entropies, rtol=1e-12, atol=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert not entropies.requires_grad


@pytest.mark.parametrize("chunk", [1, 3, N])
@pytest.mark.parametrize("with_bias", [True, False])
def test_gradcheck(chunk, with_bias):
    hidden, weight, bias, target = (t.requires_grad_() if t.is_floating_point() else t for t in tensors())

    def log_probs(*leaves: Tensor) -> Tensor:
        return ChunkedLogProb.apply(leaves[0], leaves[1], leaves[2] if with_bias else None, target, 1.3, chunk)[0]

    assert torch.autograd.gradcheck(log_probs, (hidden, weight, *([bias] if with_bias else [])))


@pytest.mark.parametrize("rule", [LogitRule(0.3), LogitRule(1.0, 1.5), LogitRule(2.5, 0.7)])
@pytest.mark.parametrize("temperature", [1.0, 1.3])
def test_scaled_and_capped_logits(rule, temperature):
    hidden, weight, bias, target = (t.requires_grad_() if t.is_floating_point() else t for t in tensors())
    slope = torch.linspace(-1, 1, N, dtype=torch.float64)
    log_probs, entropies = ChunkedLogProb.apply(hidden, weight, bias, target, temperature, 3, rule)
    found = torch.autograd.grad((slope * log_probs).sum(), (hidden, weight, bias))
    logits = rule.scale * (hidden @ weight.T + bias)
    logits = rule.softcap * (logits / rule.softcap).tanh() if rule.softcap else logits
    every = (logits / temperature).log_softmax(-1)
    expected = every.gather(-1, target[:, None]).squeeze(-1)
    torch.testing.assert_close(log_probs, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropies, -(every.exp() * every).sum(-1), rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad((slope * expected).sum(), (hidden, weight, bias))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, bias, target = tensors()
    hidden.requires_grad_()
    ChunkedLogProb.apply(hidden, weight, bias, target, 1.0, 3)[0].sum().backward()
    assert hidden.grad is not None and weight.grad is None and bias.grad is None


class Tied(torch.nn.Module):
    """Embedding and head share one matrix, as in small LLMs."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(V, H, dtype=torch.float64)
        self.table.weight = torch.nn.Parameter(weight.clone())
        self.head = torch.nn.Linear(H, V, bias=False, dtype=torch.float64)
        self.head.weight = self.table.weight

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head


def test_tied_weights_collect_both_gradients():
    _, weight, _, target = tensors()
    ids = torch.arange(N) % V

    def gradient(chunked: bool) -> Tensor:
        model = Tied(weight)
        hidden = model.table(ids).tanh()
        if chunked:
            log_probs = response_scores(model, hidden, target, 1.0, chunk=2).log_probs
        else:
            log_probs = plain(hidden, model.head.weight, None, target, 1.0)[0]
        log_probs.sum().backward()
        assert model.table.weight.grad is not None
        return model.table.weight.grad

    torch.testing.assert_close(gradient(chunked=True), gradient(chunked=False), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_computed_in_float32(dtype):
    hidden, weight, bias, target = (t.to(dtype) if t.is_floating_point() else t for t in tensors())
    log_probs, entropies = ChunkedLogProb.apply(hidden.requires_grad_(), weight, bias, target, 1.0, 3)
    assert log_probs.dtype == entropies.dtype == torch.float32
    log_probs.sum().backward()
    assert hidden.grad.dtype == dtype
    expected = plain(hidden.double(), weight.double(), bias.double(), target, 1.0)[0]
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(log_probs.double(), expected, rtol=0, atol=tolerance)
