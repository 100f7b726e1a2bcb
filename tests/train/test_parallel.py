"""Several processes make the update of one: gradients of every loss, in float64 to the last digits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from arl.errors import UsageError
from arl.losses.importance import Correction
from arl.losses.registry import make_loss
from arl.runtime import device
from arl.runtime.ranks import rank
from arl.train.groups import PromptGroup
from arl.train.load import load_llm
from arl.train.optimizer import gradient_of, make_adamw
from arl.train.settings import UpdateSettings
from arl.train.step import Compute, policy_backward, sft_backward
from arl.train.update import joined
from arl.train.world import ALONE, World, local
from tests.tiny import make_tiny_policy
from tests.train import test_acoustic
from tests.train.exact import AUDIO, float64_layers, largest_difference, make_decoder, make_group
from tests.train.ranks import run_ranks

Result = tuple[dict[str, float], dict[str, Tensor]]  # metrics, gradients
ON_ROLLOUTS = ("grpo", "dr_grpo", "dapo", "gspo", "mwer")


def make_groups(n: int = 6) -> list[PromptGroup]:
    """Ragged: 5, 1, 12, 3, 3, 4 hypotheses; with errors, for mwer."""
    groups = [make_group(seed, n_hyps=size) for seed, size in enumerate((5, 1, 12, 3, 3, 4)[:n])]
    for group in groups:
        group.errors = [float(int(response.sum()) % 4) for response in group.responses]
    return groups


def with_sampled(groups: list[PromptGroup]) -> list[PromptGroup]:
    for group in groups[::2]:
        group.sampled = [torch.full((len(r),), -3.0, dtype=torch.float64) for r in group.responses]
    return groups


def backward(
    world: World, groups: list[PromptGroup], loss: Any, dtype: torch.dtype = torch.float64, **flags: Any
) -> Result:
    """Of a step on rollouts, with a reference where the loss has one, in three or more micro-batches."""
    model = world.spread(make_decoder(seed=0).to(dtype))
    make_adamw(dict(model.named_parameters()), 0.0)  # sums the gradients of low precision
    reference = world.spread(make_decoder(seed=1).to(dtype).requires_grad_(False)) if getattr(loss, "beta", 1) else None
    compute = Compute(AUDIO, token_budget=60, temperature=0.8, world=world, **flags)
    metrics = policy_backward(model, groups, loss, reference, compute, None, Correction(), "5/7")
    return metrics, taken(world, model)


def taken(world: World, model: Any) -> dict[str, Tensor]:
    return {name: whole(world, parameter) for name, parameter in model.named_parameters()}


def whole(world: World, parameter: Any) -> Tensor:
    """The gradient that the optimizer takes, of all processes."""
    shard = gradient_of(parameter)
    assert shard is not None
    if world is ALONE:
        return shard
    grad = torch.zeros_like(parameter, dtype=shard.dtype)
    local(grad).copy_(shard)
    return world.whole(grad)


def off_policy(world: World) -> Result:
    """The log-probabilities of before another update, and importance weights."""
    groups, compute = with_sampled(make_groups()), Compute(AUDIO, token_budget=60, world=world)
    model, before = (world.spread(make_decoder(seed=seed)) for seed in (0, 2))
    own = world.share(groups)
    passes, n_own = world.evened([[group] for group in own], lambda: groups[:1])
    scores = [compute.frozen_scores(before, each) for each in passes][:n_own]
    old = {group.key: score for group, score in zip(own, scores, strict=True)}
    loss = make_loss(UpdateSettings(loss="grpo"))
    return policy_backward(model, groups, loss, None, compute, old, Correction()), taken(world, model)


def supervised(world: World) -> Result:
    """With a part of the loss that is a mean over the groups at hand."""
    model = world.spread(make_decoder())
    groups = [make_group(seed, n_hyps=1, longest=12) for seed in range(5)]
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))

    def prepare(here: list[PromptGroup]) -> tuple[list[PromptGroup], Tensor]:
        return here, torch.stack([(weight * len(group.responses[0])).square().sum() for group in here]).mean()

    metrics = sft_backward(model, groups, Compute(AUDIO, token_budget=60, world=world), prepare)
    world.sum_gradients([weight])
    assert weight.grad is not None
    return metrics, {**taken(world, model), "extra": weight.grad}


def results(world: World) -> dict[str, Result]:
    """Every case, one after the other."""
    found: dict[str, Result] = {}
    with float64_layers():
        for name in ON_ROLLOUTS:
            found[name] = backward(world, make_groups(), make_loss(UpdateSettings(loss=name)))
        grpo = make_loss(UpdateSettings(loss="grpo"))
        found["two groups"] = backward(world, make_groups(2), grpo)
        found["one group"] = backward(world, make_groups(1), grpo)
        found["checkpointing"] = backward(world, make_groups(), grpo, checkpointing=True)
        found["offload"] = backward(world, make_groups(), grpo, offload=True)
        found["importance"] = backward(world, with_sampled(make_groups()), grpo)
        found["off policy"] = off_policy(world)
        for name in ("diffro", "combined"):
            found[name] = backward(world, test_acoustic.make_groups(), test_acoustic.make(name))
        found["sft"] = supervised(world)
        found["float32"] = backward(world, make_groups(), grpo, torch.float32)
        free = make_loss(UpdateSettings(loss="grpo", beta=0.0))
        found["no reference"] = backward(world, make_groups(), free)
        found["bfloat16"] = backward(world, make_groups(), free, torch.bfloat16)
    return found


def error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Of all gradients together, relative."""
    squares = [((found[name].double() - exact[name]).square().sum(), exact[name].square().sum()) for name in exact]
    return float((sum(a for a, _ in squares) / sum(b for _, b in squares)) ** 0.5)


def save_results(path: Path) -> None:
    with joined("cpu", 1) as world:
        found = results(world)
        if world.is_first:
            torch.save(found, path)


@pytest.fixture(scope="module")
def alone() -> dict[str, Result]:
    return results(ALONE)


@pytest.fixture(scope="module", params=[2, 3])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    path = tmp_path_factory.mktemp("ranks") / "results.pt"
    assert run_ranks(request.param, lambda: save_results(path)) == [0] * request.param
    return torch.load(path)


def tolerance(name: str) -> float:
    return 1e-6 if name == "float32" else 1e-12


def test_gradients_of_every_loss_are_those_of_one_process(alone, together):
    assert {*ON_ROLLOUTS, "diffro", "combined", "sft"} <= set(alone)
    for name in set(alone) - {"bfloat16"}:
        (metrics, gradients), (expected_metrics, expected) = together[name], alone[name]
        assert largest_difference(gradients, expected) < tolerance(name), name
        assert metrics == pytest.approx(expected_metrics, rel=10 * tolerance(name), abs=tolerance(name)), name


def test_gradients_of_low_precision_are_summed_in_float32(alone, together):
    exact, found = alone["no reference"][1], together["bfloat16"][1]
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    print(error(found, exact), error(alone["bfloat16"][1], exact))
    assert error(found, exact) < 1.3 * error(alone["bfloat16"][1], exact)


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    """--device auto is cuda:1 for the second one already: that counted as a GPU asked for, and was refused."""
    monkeypatch.setattr(device, "cuda_devices", lambda: 2)
    for name, value in {"is_available": True, "device_count": 2, "set_device": None}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)

    def work() -> None:
        from arl.train.parallel import own_device

        own = torch.device("cuda", rank())
        assert [own_device(name, 1) for name in ("auto", "cuda")] == [own, own]
        with pytest.raises(UsageError, match="takes a GPU of its own"):
            own_device("cuda:1", 1)

    assert run_ranks(2, work) == [0, 0]


def test_no_process_holds_the_whole_model(tmp_path, capfd):
    """Weights stay in the file's pages, which all processes of a node share, until each has its rows."""
    folder = make_tiny_policy(tmp_path / "policy", hidden=512, layers=4, vocab_size=10_000) / "llm"

    def own_bytes() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024

    def work() -> None:
        with joined("cpu", 1) as world:
            before = own_bytes()
            model = load_llm(folder, torch.device("cpu"))
            size, loaded = sum(p.nbytes for p in model.parameters()), own_bytes()
            world.spread(model)
            assert size > 40e6 and loaded - before < 0.2 * size and own_bytes() - before < 0.7 * size

    assert run_ranks(2, work) == [0, 0], capfd.readouterr().err
