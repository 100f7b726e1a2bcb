"""How much device memory an update needs, by the formulas of arl/planning/: what benchmarks/PERFORMANCE.md tabulates.

python -m benchmarks.memory              # the tables for 0.5B and 7B on 1, 2 and 8 GPUs
python -m benchmarks.memory --measure    # the formulas beside measured peaks of two small decoders on a CPU
"""

import ctypes
import sys

from arl.planning.memory import GB, Setup, activations, parts_gb, total_gb
from benchmarks import measure
from benchmarks.command import Result, table
from benchmarks.models import QWEN2_05B, QWEN2_7B, Shape, make_groups, make_model

MEASURED = Shape("512x8", 512, 8, 8, 4, 2048, 4096), Shape("768x6", 768, 6, 12, 4, 3072, 8192)
M_MMAP_THRESHOLD = -3  # mallopt(3)


def page() -> str:
    """The tables of the performance page."""
    tables = []
    for shape in (QWEN2_05B, QWEN2_7B):
        rows = []
        for gpus in (1, 2, 8):
            for offload in (False, True):
                setup = Setup(gpus=gpus, offload=offload, checkpointing=True)
                parts = parts_gb(shape, setup)
                more = activations(shape, Setup(gpus=gpus)) / GB - parts["activations"]
                shown = [f"{value:.1f}" for value in parts.values()]
                rows.append([f"{gpus}{', --offload' if offload else ''}", *shown[:-1],
                             f"**{total_gb(parts):.0f}**", f"+{more:.0f}", f"{parts['host']:.0f}"])  # fmt: skip
        names = list(parts_gb(shape, Setup()))[:-1]
        head = ["GPUs", *names, "each GPU", "without --checkpointing", "host, all"]
        tables.append(f"{shape.name}: {shape.words()}. GB.\n\n{table(head, rows)}")
    return "\n\n".join(tables)


def measured(shape: Shape, checkpointing: bool) -> Result:
    """{"formula_mb", "measured_mb"}: what the backward pass of a second step has beside the weights: AdamW's state,
    gradients, activations, a chunk of the LM head. float32, no reference."""
    from arl.losses.grpo import Grpo
    from arl.train.optimizer import make_adamw
    from arl.train.step import Compute, policy_backward

    model, groups = make_model(shape), make_groups(shape, 2, 200, 40, 6)
    compute = Compute(shape.audio_token_id, 10**9, checkpointing=checkpointing)

    def second_step() -> None:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)  # so that what is freed is no longer resident
        optimizer = make_adamw(dict(model.named_parameters()), 0.0)
        for parameter in model.parameters():
            optimizer.state[parameter] = optimizer.fresh(parameter)
            parameter.grad = parameter.detach().clone()  # of another micro-batch
        policy_backward(model, groups, Grpo(beta=0.0), None, compute)

    tokens = sum(group.row_length for group in groups)
    setup = Setup(tokens=tokens, reference=False, bytes=4, chunk=compute.chunk, checkpointing=checkpointing)
    parts = parts_gb(shape, setup)
    formula = 1e3 * (total_gb(parts) - parts["weights"])
    return {"formula_mb": formula, "measured_mb": measure.peak_memory_mb(second_step), "tokens": tokens}


def measured_page() -> str:
    """The table of formula and measurement."""
    rows = []
    for shape in MEASURED:
        for checkpointing in (False, True):
            found = measured(shape, checkpointing)
            share = found["formula_mb"] / found["measured_mb"] - 1
            flag = " --checkpointing" if checkpointing else ""
            rows.append([f"{shape.name}{flag}", found["tokens"], f"{found['formula_mb']:.0f}",
                         f"{found['measured_mb']:.0f}", f"{100 * share:+.0f} %"])  # fmt: skip
    return table(["decoder", "positions", "formula, MB", "measured, MB", "difference"], rows)


if __name__ == "__main__":
    print(measured_page() if "--measure" in sys.argv else page())
