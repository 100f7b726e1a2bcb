"""Which parameters decay, and weights of lower precision with their float32 copies."""

from typing import Any

import torch

from arl.train.optimizer import add_up, gradient_of, make_adamw
from arl.train.step import apply_gradient

Named = dict[str, torch.nn.Parameter]


def test_matrices_decay_and_vectors_do_not():
    named = {"b.weight": torch.nn.Parameter(torch.ones(2, 2)), "a.norm": torch.nn.Parameter(torch.ones(2))}
    decayed, plain = make_adamw(named, 0.1).param_groups
    assert decayed["weight_decay"] == 0.1 and [p.ndim for p in decayed["params"]] == [2]
    assert plain["weight_decay"] == 0.0 and [p.ndim for p in plain["params"]] == [1]


# ---- weights of lower precision ---------------------------------------------------------------------------------


def parameters(dtype: torch.dtype) -> Named:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 4), "b": (5,)}
    return {name: torch.nn.Parameter(torch.randn(n, generator=generator).to(dtype)) for name, n in shapes.items()}


def steps(named: Named, optimizer: Any, first: int, last: int, parts: int = 1) -> None:
    """Optimizer steps with seeded gradients, each gradient the sum of several backward passes."""
    for index in range(first, last):
        generator = torch.Generator().manual_seed(index)
        for parameter in named.values():
            slope = torch.randn(parameter.shape, generator=generator)
            for _ in range(parts):
                (parameter.float() * slope / parts).sum().backward()
        apply_gradient(optimizer, 1e-3, 0.0)


def test_is_torchs_own_adamw_in_float32():
    named, other = parameters(torch.float32), parameters(torch.float32)
    optimizer = make_adamw(named, 0.1)
    theirs = torch.optim.AdamW(
        [{"params": [other["a"]], "weight_decay": 0.1}, {"params": [other["b"]]}], lr=0.0, betas=(0.9, 0.98)
    )
    theirs.param_groups[1]["weight_decay"] = 0.0
    steps(named, optimizer, 0, 5)
    steps(other, theirs, 0, 5)
    for name in named:
        torch.testing.assert_close(named[name], other[name], rtol=1e-6, atol=1e-7)


def test_bfloat16_weights_follow_their_float32_copies():
    named, exact = parameters(torch.bfloat16), {}
    exact = {name: torch.nn.Parameter(p.detach().float()) for name, p in named.items()}
    optimizer, other = make_adamw(named, 0.1), make_adamw(exact, 0.1)
    start = named["a"].detach().clone()
    for index in range(20):
        steps(named, optimizer, index, index + 1)
        for name, parameter in exact.items():  # gradients reach a bfloat16 weight rounded
            generator = torch.Generator().manual_seed(index)
            slopes = {n: torch.randn(p.shape, generator=generator) for n, p in exact.items()}
            parameter.grad = slopes[name].bfloat16().float()
        apply_gradient(other, 1e-3, 0.0)
    for name in named:
        assert torch.equal(named[name], exact[name].bfloat16())
        assert torch.equal(optimizer.state[named[name]]["master"], exact[name])
    assert not torch.equal(named["a"], start)
    assert optimizer.state[named["a"]]["exp_avg"].dtype == torch.float32


def test_gradients_of_lower_precision_add_up_in_float32():
    named = parameters(torch.bfloat16)
    make_adamw(named, 0.0)
    make_adamw(named, 0.0)  # a second optimizer of the same weights counts nothing twice
    for value in (1.0, 2**-10, 2**-10):
        (named["b"] * value).sum().backward()
    assert named["b"].grad is None
    assert torch.equal(gradient_of(named["b"]), torch.full((5,), 1 + 2**-9))


def test_an_offloaded_state_visits_the_gpu_for_its_step_only():
    """torch's fake tensors know their device and nothing else, and refuse what mixes devices; no GPU is needed."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        weight = torch.nn.Parameter(torch.empty(3, 4, dtype=torch.bfloat16, device="cuda"))
        optimizer = make_adamw({"a": weight}, 0.0, offload=True)
        for _ in range(2):
            weight.grad = torch.empty_like(weight)
            add_up(weight)
            optimizer.step()
        state = optimizer.state[weight]
        assert {name: tensor.device.type for name, tensor in state.items()} == {
            "step": "cuda", "exp_avg": "cpu", "exp_avg_sq": "cpu", "master": "cpu",
        }  # fmt: skip
        assert weight.device.type == gradient_of(weight).device.type == "cuda"
