"""The planner's formulas beside what a process takes, and beside what FSDP2 gives each GPU of a 7B: on the meta device
and in a fake process group, so that neither weights nor other processes are needed."""

from collections.abc import Iterator

import pytest

from arl.planning.memory import GB, Setup, gathered, parts_gb
from benchmarks import memory
from benchmarks.models import QWEN2_7B, Shape, make_model


@pytest.fixture
def rank_of_eight() -> Iterator[object]:
    """The first of eight processes, which torch takes at its word."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from arl.train.parallel import Ranks

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
    yield Ranks(torch.device("cpu"), init_device_mesh("cpu", (8,)))
    dist.destroy_process_group()


def test_a_7b_on_eight_gpus_has_the_planned_bytes_on_each(rank_of_eight) -> None:
    """Exactly: weights, the reference's, the gradients that are added up, and AdamW's state."""
    import torch
    from torch.distributed.fsdp import FSDPModule

    from arl.train.decoder import layers_of
    from arl.train.optimizer import add_up, gradient_of, make_adamw
    from arl.train.world import local

    model = rank_of_eight.spread(make_model(QWEN2_7B, dtype="bfloat16", device="meta"))
    parameters = list(model.parameters())
    optimizer = make_adamw(dict(model.named_parameters()), 0.0)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
        add_up(parameter)
    gradients = [gradient_of(parameter) for parameter in parameters]
    states = [tensor for p in parameters for name, tensor in optimizer.fresh(p).items() if name != "step"]
    parts = parts_gb(QWEN2_7B, Setup(gpus=8))
    assert sum(local(p).nbytes for p in parameters) == pytest.approx(parts["weights"] * GB, rel=1e-12)
    assert sum(g.nbytes for g in gradients if g is not None) == pytest.approx(parts["gradients"] * GB, rel=1e-12)
    assert sum(tensor.nbytes for tensor in states) == pytest.approx(parts["optimizer"] * GB, rel=1e-12)
    assert parts["reference"] == parts["weights"]
    layers = layers_of(model)
    assert all(isinstance(layer, FSDPModule) for layer in layers)
    inside = [sum(p.numel() for p in layer.parameters()) for layer in layers]
    outside = sum(p.numel() for p in parameters) - sum(inside)
    assert outside + 2 * max(inside) == gathered(QWEN2_7B)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "checkpointing"), [(memory.MEASURED[0], False), (memory.MEASURED[1], True)])
def test_an_update_takes_what_the_formula_says(shape: Shape, checkpointing: bool) -> None:
    """Within 15 %; `python -m benchmarks.memory --measure` has all four."""
    found = memory.measured(shape, checkpointing)
    assert found["formula_mb"] == pytest.approx(found["measured_mb"], rel=0.15)
