"""`arl plan`: what a policy's run needs on given GPUs, which flags make it fit, and where its operations go.

plan = make_plan(Policy.open("policy"), Request(gpus=8, gpu_memory_gb=80)); print(page(plan))
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from arl.errors import ArlError
from arl.planning.memory import GB, HALF, SINGLE, Setup, parts_gb, rollout_gb, total_gb
from arl.planning.shape import Shape
from arl.policy import Policy

USABLE = 0.9  # of a GPU: the rest is the CUDA context, fragmentation and communication buffers
ENGINE = 0.85  # of a GPU: SGLang's graphs and activations take the rest
WORDS_PER_S = 3.0  # tokens of a transcript per second of speech
TOKENS = (16384, 8192, 4096, 2048)
LEVERS: tuple[tuple[dict[str, Any], str], ...] = (  # in the order of what they cost
    ({}, ""),
    ({"checkpointing": True}, "--checkpointing"),
    ({"checkpointing": True, "offload": True}, "--checkpointing --offload"),
    ({"checkpointing": True, "lora_rank": 16}, "--checkpointing --lora-rank 16"),
)
UNKNOWN = (
    "speed: of the GPUs, of the links between them and of the disk, so no seconds",
    "the lengths of your prompts and responses: see --audio-s and --response",
    "fragmentation, the CUDA context and communication buffers: a tenth of a GPU is kept for them",
    "activations of the audio tower, of flow matching and of the vocoder: --batch-s bounds them",
    "decoders with experts, with recurrent layers or without Qwen2's MLP",
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
    size = SINGLE if str(config.get("dtype") or config.get("torch_dtype")) == "float32" else HALF
    prompt = int(request.audio_s * (policy.fields.get("embedding_rate_hz") or 0)) + len(policy.prompt)
    response = request.response or max(1, round(request.audio_s * WORDS_PER_S))
    update, dtype = plan_update(shape, request, size), "float32" if size == SINGLE else "bfloat16"
    return {
        "model": f"{config.get('model_type', 'decoder')}, {shape.words()}, {dtype}",
        "positions": {"prompt": prompt, "response": response},
        "update": update,
        "rollout": plan_rollout(shape, request, size, prompt, response),
        "encode": {"weights": folder_gb(policy)},
        "operations": operations(shape, request, prompt, response, "--checkpointing" in update["flags"]),
        "unknown": list(UNKNOWN),
    }


def plan_update(shape: Shape, request: Request, size: int) -> dict[str, Any]:
    """The first levers, and the most positions of a micro-batch, with which it fits; else those that need least."""
    usable = USABLE * request.gpu_memory_gb
    tried = [
        (flags, replace(Setup(request.gpus, tokens=tokens, bytes=size), **levers))
        for levers, flags in LEVERS
        for tokens in TOKENS
    ]
    needs = [total_gb(parts_gb(shape, setup)) for _, setup in tried]
    best = next((index for index, need in enumerate(needs) if need <= usable), needs.index(min(needs)))
    flags, setup = tried[best]
    command = f"torchrun --nproc-per-node {request.gpus} -m arl update" if request.gpus > 1 else "arl update"
    return {
        "fits": needs[best] <= usable, "flags": f"{flags} --tokens {setup.tokens}".strip(), "command": command,
        "gb": parts_gb(shape, setup), "total_gb": needs[best],
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


def operations(shape: Shape, request: Request, prompt: int, response: int, checkpointing: bool) -> dict[str, float]:
    """The share of each part of a step in its multiplications and additions, which sum to 1. Two for each weight of the
    blocks and position forward, four backward; the prompt once a group."""
    own = shape.layers * shape.parameters_of_a_layer
    prompts, responses = request.batch * prompt, request.batch * request.group * response
    head = shape.vocab * shape.hidden * responses
    once = own * (prompts + responses) + head
    counted = {
        "rollout": once,
        "reference": once,
        "update": 3 * once + (own * (prompts + responses) if checkpointing else 0),
    }
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
    lines += [f"encode   {plan['encode']['weights']:.2f} GB of weights", "", plan["update"]["command"] + " "
              + plan["update"]["flags"], engine, ""]  # fmt: skip
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in plan["operations"].items())
    lines += [f"operations of a step: {shares}. Decoding is bound by memory, so its share of the time is larger.", ""]
    return "\n".join([*lines, "not known:", *(f"  {line}" for line in plan["unknown"])])
