"""How much memory an update and the engine need on each GPU, by formula.

Counted for AdamW with weights of two or four bytes, gradients that are added up in float32, float32 state, and a
reference; all of these divided over the GPUs (FSDP, arl/train/parallel.py), and one micro-batch of activations on each.
With an adapter the base is frozen and its own reference. Left out: fragmentation, the CUDA context (about 0.5 GB), and
the engine, which has given its memory back while an update runs.

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
    n, (state, reference) = shape.parameters, kept_bytes(shape, setup)
    trained = adapter_parameters(shape, setup.lora_rank) if setup.lora_rank else n
    on_device = 0.0 if setup.offload else 1.0
    return {
        "weights": (n * setup.bytes + (trained * SINGLE if setup.lora_rank else 0)) / setup.gpus / GB,
        "gradients": trained * SINGLE / setup.gpus / GB,
        "optimizer": on_device * state / setup.gpus / GB,
        "reference": reference / setup.gpus / GB,  # offloaded, it still comes to the device for its pass
        "gathered": gathered(shape) * setup.bytes / GB if setup.gpus > 1 else 0.0,
        "activations": activations(shape, setup) / GB,
        # a chunk's logits three times over, and the head's gradient, which is added up in float32
        "LM head": (3 * setup.chunk + (0 if setup.lora_rank else shape.hidden)) * shape.vocab * SINGLE / GB,
        "host": (1 - on_device) * (state + reference) / GB,
    }


def kept_bytes(shape: Shape, setup: Setup) -> tuple[int, int]:
    """(optimizer state, reference) of all GPUs together: what `--offload` keeps on the host."""
    if setup.lora_rank:
        return 2 * SINGLE * adapter_parameters(shape, setup.lora_rank), 0
    masters = SINGLE if setup.bytes == HALF else 0
    state = shape.parameters * (masters + 2 * SINGLE)  # float32 master weights and AdamW's two moments
    return state, shape.parameters * setup.bytes if setup.reference else 0


def bus_gb(shape: Shape, setup: Setup) -> float:
    """GB that `--offload` moves between the host and each GPU in a step: the state comes and goes, the reference
    comes."""
    state, reference = kept_bytes(shape, setup)
    return (2 * state + reference) / setup.gpus / GB


def gathered(shape: Shape) -> int:
    """Parameters that FSDP has whole at once: those outside the layers for the whole of a pass, a layer, and the next
    one, which comes while this one computes."""
    outside = shape.parameters - shape.layers * shape.parameters_of_a_layer
    return outside + 2 * shape.parameters_of_a_layer


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
