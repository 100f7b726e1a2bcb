"""How much device memory an update needs, by formula: what benchmarks/PERFORMANCE.md tabulates.

    python -m benchmarks.memory            # the tables for 0.5B and 7B on 1, 2 and 8 GPUs

Everything is counted for full fine-tuning by AdamW with parameters, gradients, optimizer state and reference divided
over the GPUs (FSDP), and one micro-batch of activations on each. Left out: fragmentation, the CUDA context (about
0.5 GB) and the engine, which has given its memory back while an update runs.
"""

from dataclasses import dataclass

from benchmarks.command import table
from benchmarks.models import QWEN2_05B, QWEN2_7B, Shape

GB = 1e9
HALF, SINGLE = 2, 4  # bytes of bfloat16 and float32


@dataclass(frozen=True)
class Plan:
    """How an update is set up. offload: optimizer state and, outside its pass, the reference on the host; tokens:
    positions of a micro-batch on one GPU; chunk: positions of a chunk of the LM head."""

    gpus: int = 1
    offload: bool = False
    checkpointing: bool = False
    reference: bool = True
    tokens: int = 8192
    chunk: int = 512


def parts_gb(shape: Shape, plan: Plan) -> dict[str, float]:
    """GB on each GPU by part; "host" is what lies in host memory, of all GPUs together."""
    n = shape.parameters
    state = n * 3 * SINGLE  # float32 master weights and AdamW's two moments
    reference = n * HALF if plan.reference else 0
    on_device = 0.0 if plan.offload else 1.0
    layer = shape.parameters_of_a_layer * HALF if plan.gpus > 1 else 0  # FSDP gathers one layer, and prefetches one
    return {
        "weights": n * HALF / plan.gpus / GB,
        "gradients": n * HALF / plan.gpus / GB,
        "optimizer": on_device * state / plan.gpus / GB,
        "reference": reference / plan.gpus / GB,  # offloaded, it still comes to the device for its pass
        "gathered": 2 * layer / GB,
        "activations": activations(shape, plan) / GB,
        # a chunk's logits three times over, and the head's gradient, which is added up in float32
        "LM head": (3 * plan.chunk + shape.hidden) * shape.vocab * SINGLE / GB,
        "host": (1 - on_device) * (state + reference) / GB,
    }


def activations(shape: Shape, plan: Plan) -> float:
    """Bytes that the backward pass needs, in bfloat16: per position and layer the residual (2 norms and their inputs),
    query, key, value and the attention's output, and the three products of the MLP; with checkpointing one residual
    per layer, and one layer's worth while it is computed again."""
    kv = shape.hidden * shape.kv_heads // shape.heads
    per_layer = HALF * (6 * shape.hidden + 2 * kv + 4 * shape.intermediate)
    if plan.checkpointing:
        return plan.tokens * (shape.layers * HALF * shape.hidden + per_layer)
    return plan.tokens * shape.layers * per_layer


def total_gb(parts: dict[str, float]) -> float:
    """On one GPU."""
    return sum(value for name, value in parts.items() if name != "host")


def rollout_gb(shape: Shape, prompts: int, prompt: int, group: int, response: int) -> dict[str, float]:
    """What the engine needs for a whole shard at once: weights, and keys and values with each prompt held once."""
    kv = 2 * shape.layers * shape.hidden * shape.kv_heads // shape.heads * HALF
    return {"weights": shape.parameters * HALF / GB, "cache": prompts * (prompt + group * response) * kv / GB}


def page() -> str:
    """The tables of the performance page."""
    tables = []
    for shape in (QWEN2_05B, QWEN2_7B):
        rows = []
        for gpus in (1, 2, 8):
            for offload in (False, True):
                plan = Plan(gpus=gpus, offload=offload, checkpointing=True)
                parts = parts_gb(shape, plan)
                more = activations(shape, Plan(gpus=gpus)) / GB - parts["activations"]
                shown = [f"{value:.1f}" for value in parts.values()]
                rows.append([f"{gpus}{', --offload' if offload else ''}", *shown[:-1],
                             f"**{total_gb(parts):.0f}**", f"+{more:.0f}", f"{parts['host']:.0f}"])  # fmt: skip
        names = list(parts_gb(shape, Plan()))[:-1]
        head = ["GPUs", *names, "each GPU", "without --checkpointing", "host, all"]
        tables.append(f"{shape.name}: {shape.words()}. GB.\n\n{table(head, rows)}")
    return "\n\n".join(tables)


if __name__ == "__main__":
    print(page())
