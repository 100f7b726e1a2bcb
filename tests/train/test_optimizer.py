"""The learning rate by step, which parameters decay, and weights of lower precision with their float32 copies."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from arl.errors import ArlError
from arl.train.checkpoint import load_state, save_state
from arl.train.optimizer import gradient_of, make_adamw
from arl.train.schedule import Schedule
from arl.train.step import apply_gradient

Named = dict[str, torch.nn.Parameter]


def test_warm_up_then_constant():
    rates = [Schedule(1.0, warmup=4).at(step) for step in range(6)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    assert Schedule(0.3).at(0) == 0.3


def test_cosine_ends_at_its_total_and_stays_there():
    schedule = Schedule(2.0, kind="cosine", total=4)
    assert [schedule.at(step) for step in (0, 2, 4, 9)] == pytest.approx([2.0, 1.0, 0.0, 0.0])


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("offload", [False, True])
def test_saved_and_resumed_steps_give_the_same_bits(tmp_path, dtype, offload):
    named = parameters(dtype)
    optimizer = make_adamw(named, 0.1)
    steps(named, optimizer, 0, 6, parts=3)
    again = parameters(dtype)
    first = make_adamw(again, 0.1, offload=offload)
    steps(again, first, 0, 3, parts=3)
    save_state(tmp_path, first, again, 3)
    resumed = {name: torch.nn.Parameter(p.detach().clone()) for name, p in again.items()}
    second = make_adamw(resumed, 0.1, offload=offload)
    assert load_state(tmp_path, second, resumed) == 3
    steps(resumed, second, 3, 6, parts=3)
    for name in named:
        assert torch.equal(resumed[name], named[name])
        kept, expected = second.state[resumed[name]], optimizer.state[named[name]]
        assert kept.keys() == expected.keys() and all(torch.equal(kept[kind], expected[kind]) for kind in kept)


def edited(named: Named, by: float) -> Named:
    return {name: torch.nn.Parameter(p.detach() + by) for name, p in named.items()}


def test_state_of_other_weights_is_refused(tmp_path: Path):
    named = parameters(torch.bfloat16)
    optimizer = make_adamw(named, 0.0)
    steps(named, optimizer, 0, 1)
    save_state(tmp_path, optimizer, named, 1)
    other = edited(named, 1.0)
    with pytest.raises(ArlError, match=r"optimizer state of other weights \(first: a\); --fresh-optimizer"):
        load_state(tmp_path, make_adamw(other, 0.0), other)


def test_state_of_full_precision_serves_lower_precision_and_back(tmp_path: Path):
    full = parameters(torch.float32)
    optimizer = make_adamw(full, 0.0)
    steps(full, optimizer, 0, 1)
    save_state(tmp_path, optimizer, full, 1)
    low = {name: torch.nn.Parameter(p.detach().bfloat16()) for name, p in full.items()}
    taken = make_adamw(low, 0.0)
    load_state(tmp_path, taken, low)

    def of(parameter: Tensor, kind: str) -> Tensor:
        return taken.state[parameter][kind]

    assert torch.equal(of(low["a"], "master"), low["a"].float())
    assert torch.equal(of(low["a"], "exp_avg"), optimizer.state[full["a"]]["exp_avg"])
    save_state(tmp_path, taken, low, 1)
    back = {name: torch.nn.Parameter(p.detach().float()) for name, p in low.items()}
    load_state(tmp_path, make_adamw(back, 0.0), back)
