"""The optimizer's state on disk: the same bits when resumed, refused for other weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from arl.errors import ArlError
from arl.train.checkpoint import load_state, save_state
from arl.train.optimizer import make_adamw
from tests.train.test_optimizer import Named, parameters, steps


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
