"""`arl plan`: what a policy's run needs on given GPUs, which flags make it fit, and where its operations go.

plan = make_plan(Policy.open("policy"), Request(gpus=8, gpu_memory_gb=80)); print(page(plan))
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from arl.errors import ArlError
from arl.planning.memory import GB, HALF, SINGLE, Setup, adapter_parameters, bus_gb, parts_gb, rollout_gb, total_gb
from arl.planning.shape import Shape
from arl.policy import Policy

USABLE = 0.9  # of a GPU: the rest is the CUDA context, fragmentation and communication buffers
ENGINE = 0.85  # of a GPU: SGLang's graphs and activations take the rest
WORDS_PER_S = 3.0  # tokens of a transcript per second of speech
TOKENS = (16384, 8192, 4096, 2048)
UNKNOWN = (
    "speed: of the GPUs, of the links between them and of the disk, so no seconds",
    "the lengths of your prompts and responses: see --audio-s and --response",
    "fragmentation, the CUDA context and communication buffers: a tenth of a GPU is kept for them",
    "activations of the audio tower, of flow matching and of the vocoder: --batch-s bounds them",
    "decoders with experts, with recurrent layers or without Qwen2's MLP",
)


@dataclass(frozen=True)
class Lever:
    """A way to make an update fit. changes: of its `Setup`. cost: what is paid for it; {adapter}: millions of
    parameters, {host}: GB of host memory, {bus}: GB between the host and each GPU in a step."""

    flags: str
    changes: Mapping[str, Any]
    cost: str


MORE_TIME = "layers computed twice: a third more time"
ADAPTER = "an adapter of {adapter:.0f} M parameters is trained, the base stays"
OFFLOAD = "{host:.0f} GB of host memory, {bus:.0f} GB between it and each GPU a step"
LEVERS = (  # in the order in which they are recommended
    Lever("", {}, "nothing"),
    Lever("--checkpointing", {"checkpointing": True}, MORE_TIME),
    Lever("--lora-rank 16", {"lora_rank": 16}, ADAPTER),
    Lever("--checkpointing --lora-rank 16", {"checkpointing": True, "lora_rank": 16}, f"{ADAPTER}; {MORE_TIME}"),
    Lever("--offload", {"offload": True}, OFFLOAD),
    Lever("--checkpointing --offload", {"checkpointing": True, "offload": True}, f"{OFFLOAD}; {MORE_TIME}"),
)


@dataclass(frozen=True)
class Request:
    """The machine and a step. gpu_memory_gb: of one GPU, 1e9 bytes. batch: utterances of a step, B. group: G. audio_s:
    of an utterance. response: tokens of a hypothesis; 0: 3 a second of audio."""

    gpus: int = 1
    gpu_memory_gb: float = 80.0
    batch: int = 32
    group: int = 12
    audio_s: float = 10.0
    response: int = 0


def make_plan(policy: Policy, request: Request) -> dict[str, Any]:
    """{"model", "positions", "update", "rollout", "encode", "operations", "unknown"}. ArlError for a decoder whose
    sizes are not in its config.json."""
    path = policy.llm_dir / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArlError(f"{path}: {error}; a policy's llm/ folder has one") from error
    shape = Shape.of(str(policy.llm_dir), config)
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16").removeprefix("torch.")
    size = SINGLE if dtype == "float32" else HALF
    prompt = int(request.audio_s * (policy.fields.get("embedding_rate_hz") or 0)) + len(policy.prompt)
    response = request.response or max(1, round(request.audio_s * WORDS_PER_S))
    update = plan_update(shape, request, size)
    return {
        "model": f"{config.get('model_type', 'decoder')}, {shape.words()}, {dtype}",
        "positions": {"prompt": prompt, "response": response},
        "update": update,
        "rollout": plan_rollout(shape, request, size, prompt, response),
        "encode": {"weights": folder_gb(policy)},
        "operations": operations(shape, request, prompt, response, update["flags"]),
        "unknown": list(UNKNOWN),
    }


def plan_update(shape: Shape, request: Request, size: int) -> dict[str, Any]:
    """The first lever with which it fits, and the others as "alternatives"; else that which needs least."""
    ways = [way_of(shape, request, size, lever) for lever in LEVERS]
    fitting = [way for way in ways if way["fits"]]
    best = fitting[0] if fitting else min(ways, key=lambda way: way["total_gb"])
    command = f"torchrun --nproc-per-node {request.gpus} -m arl update" if request.gpus > 1 else "arl update"
    return {**best, "command": command, "alternatives": [way for way in fitting if way is not best]}


def way_of(shape: Shape, request: Request, size: int, lever: Lever) -> dict[str, Any]:
    """{"fits", "flags", "gb", "total_gb", "cost"} with the most positions of a micro-batch that fit, or fewest."""
    usable = USABLE * request.gpu_memory_gb
    for tokens in TOKENS:
        setup = replace(Setup(request.gpus, tokens=tokens, bytes=size), **lever.changes)
        parts = parts_gb(shape, setup)
        if total_gb(parts) <= usable:
            break
    adapter = adapter_parameters(shape, setup.lora_rank) / 1e6
    return {
        "fits": total_gb(parts) <= usable, "flags": f"{lever.flags} --tokens {tokens}".strip(), "gb": parts,
        "total_gb": total_gb(parts),
        "cost": lever.cost.format(adapter=adapter, host=parts["host"], bus=bus_gb(shape, setup)),
    }  # fmt: skip


def plan_rollout(shape: Shape, request: Request, size: int, prompt: int, response: int) -> dict[str, Any]:
    """As many replicas as there is room for, each on as few GPUs as hold the weights and its share of the batch."""
    tp, usable = 1, ENGINE * request.gpu_memory_gb
    while True:
        dp = max(1, request.gpus // tp)
        parts = rollout_gb(shape, -(-request.batch // dp), prompt, request.group, response, size)
        parts = {name: value / tp for name, value in parts.items()}
        if sum(parts.values()) <= usable or 2 * tp > request.gpus or shape.heads % (2 * tp):
            break
        tp *= 2
    flags = " ".join(f"--{name} {count}" for name, count in (("tp", tp), ("dp", dp)) if count > 1)
    total = sum(parts.values())
    return {"fits": total <= usable, "flags": flags, "gb": parts, "total_gb": total}


def folder_gb(policy: Policy) -> float:
    """GB of the weights of the frontend (tower, or flow and vocoder), as the files have them."""
    return sum(path.stat().st_size for path in policy.frontend_dir.rglob("*.safetensors")) / GB


def operations(shape: Shape, request: Request, prompt: int, response: int, flags: str) -> dict[str, float]:
    """The share of each part of a step in its multiplications and additions, which sum to 1. Two for each weight of the
    blocks and position forward, four backward, two of a frozen one, and two more with checkpointing; the prompt once a
    group."""
    own = shape.layers * shape.parameters_of_a_layer
    prompts, responses = request.batch * prompt, request.batch * request.group * response
    head = shape.vocab * shape.hidden * responses
    once = own * (prompts + responses) + head
    passes = 2 if "--lora-rank" in flags else 3
    again = own * (prompts + responses) if "--checkpointing" in flags else 0
    counted = {"rollout": once, "reference": once, "update": passes * once + again}
    total = sum(counted.values())
    return {name: value / total for name, value in counted.items()}


def page(plan: dict[str, Any]) -> str:
    """For a terminal."""
    lines = [plan["model"], f"a prompt of {plan['positions']['prompt']} positions, hypotheses of "
             f"{plan['positions']['response']} tokens", ""]  # fmt: skip
    for stage in ("update", "rollout"):
        found = plan[stage]
        parts = ", ".join(f"{name} {value:.2f}" for name, value in found["gb"].items() if value >= 0.005)
        verdict = "fits" if found["fits"] else "DOES NOT FIT"
        lines.append(f"{stage:<8} {found['total_gb']:.1f} GB a GPU, {verdict}: {parts}")
    engine = f"arl engine start {plan['rollout']['flags']}".rstrip()
    update = plan["update"]
    lines += [f"encode   {plan['encode']['weights']:.2f} GB of weights", "", f"{update['command']} {update['flags']}",
              engine, "", f"the update's flags cost: {update['cost']}"]  # fmt: skip
    lines += [f"  or {way['flags']}: {way['total_gb']:.1f} GB a GPU; {way['cost']}" for way in update["alternatives"]]
    lines.append("")
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in plan["operations"].items())
    lines += [f"operations of a step: {shares}. Decoding is bound by memory, so its share of the time is larger.", ""]
    return "\n".join([*lines, "not known:", *(f"  {line}" for line in plan["unknown"])])
