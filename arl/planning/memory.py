"""How much memory an update and the engine need on each GPU, by formula.

Counted for AdamW with weights of two or four bytes, gradients that are added up in float32, float32 state, and a
reference; all of these divided over the GPUs (FSDP), and one micro-batch of activations on each. With an adapter the
base is frozen and its own reference. Left out: fragmentation, the CUDA context (about 0.5 GB), and the engine, which
has given its memory back while an update runs.

    parts_gb(Shape.of("llm", config), Setup(gpus=8, checkpointing=True))
"""

from dataclasses import dataclass

from arl.planning.shape import Shape

GB = 1e9
HALF, SINGLE = 2, 4  # bytes of bfloat16 and float32


@dataclass(frozen=True)
class Setup:
    """How an update is set up. offload: optimizer state and, outside its pass, the reference on the host; tokens:
    positions of a micro-batch on one GPU; chunk: positions of a chunk of the LM head; lora_rank: of an adapter on all
    linear layers of the blocks, 0 for none; bytes: of a weight."""

    gpus: int = 1
    offload: bool = False
    checkpointing: bool = False
    reference: bool = True
    tokens: int = 8192
    chunk: int = 512
    lora_rank: int = 0
    bytes: int = HALF


def parts_gb(shape: Shape, setup: Setup) -> dict[str, float]:
    """GB on each GPU by part; "host" is what lies in host memory, of all GPUs together."""
    n = shape.parameters
    trained = adapter_parameters(shape, setup.lora_rank) if setup.lora_rank else n
    masters = SINGLE if setup.bytes == HALF and not setup.lora_rank else 0
    state = trained * (masters + 2 * SINGLE)  # float32 master weights and AdamW's two moments
    reference = n * setup.bytes if setup.reference and not setup.lora_rank else 0
    on_device = 0.0 if setup.offload else 1.0
    layer = shape.parameters_of_a_layer * setup.bytes if setup.gpus > 1 else 0  # FSDP gathers one, and prefetches one
    return {
        "weights": (n * setup.bytes + (trained * SINGLE if setup.lora_rank else 0)) / setup.gpus / GB,
        "gradients": trained * SINGLE / setup.gpus / GB,
        "optimizer": on_device * state / setup.gpus / GB,
        "reference": reference / setup.gpus / GB,  # offloaded, it still comes to the device for its pass
        "gathered": 2 * layer / GB,
        "activations": activations(shape, setup) / GB,
        # a chunk's logits three times over, and the head's gradient, which is added up in float32
        "LM head": (3 * setup.chunk + (0 if setup.lora_rank else shape.hidden)) * shape.vocab * SINGLE / GB,
        "host": (1 - on_device) * (state + reference) / GB,
    }


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Of A and B on the seven linear layers of each block."""
    kv = shape.hidden * shape.kv_heads // shape.heads
    sides = 2 * (2 * shape.hidden) + 2 * (shape.hidden + kv) + 3 * (shape.hidden + shape.intermediate)
    return shape.layers * rank * sides


def activations(shape: Shape, setup: Setup) -> float:
    """Bytes that the backward pass needs: per position and layer the residual (2 norms and their inputs), query, key,
    value and the attention's output, and the three products of the MLP; of one layer the gradients of these as well.
    With checkpointing one residual per layer, and one layer's worth while it is computed again."""
    kv = shape.hidden * shape.kv_heads // shape.heads
    per_layer = setup.bytes * (6 * shape.hidden + 2 * kv + 4 * shape.intermediate)
    if setup.checkpointing:
        return setup.tokens * (shape.layers * setup.bytes * shape.hidden + 2 * per_layer)
    return setup.tokens * (shape.layers + 1) * per_layer


def total_gb(parts: dict[str, float]) -> float:
    """On one GPU."""
    return sum(value for name, value in parts.items() if name != "host")


def rollout_gb(
    shape: Shape, prompts: int, prompt: int, group: int, response: int, size: int = HALF
) -> dict[str, float]:  # fmt: skip
    """What the engine needs for a whole shard at once: weights, and keys and values with each prompt held once. size:
    bytes of a number."""
    kv = 2 * shape.layers * shape.hidden * shape.kv_heads // shape.heads * size
    return {"weights": shape.parameters * size / GB, "cache": prompts * (prompt + group * response) * kv / GB}
