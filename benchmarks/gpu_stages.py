"""The stages of benchmarks/gpu.py, each on the whole batch by the stage's own functions; each returns {"seconds", …}.

Left out: the report, and what happens when a stage cannot run (gpu.py).
"""

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.models import QWEN2_7B, Shape, make_model, make_policy

GROUP = 12
BUDGET = {"7B": 4096}  # positions of a micro-batch; else 16384
PER_ROW = {"0.5B": 32, "7B": 4}  # utterances of the per-row computation that the update is compared with


def wall(work: Callable[[], Any], device: str) -> float:
    """Seconds of `work` with everything on the device finished."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize()
    start = time.monotonic()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.monotonic() - start


def encode(lengths_s: Sequence[float], hidden: int, device: str, tiny: bool) -> dict[str, Any]:
    """The tower and projector over the whole shard in length buckets, after one batch to warm up."""
    import numpy as np
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from arl.audio.clips import length_batches
    from arl.models.whisper_qwen2.frontend import Frontend, Projector

    width, layers = (32, 1) if tiny else (1280, 32)
    config = WhisperConfig(
        d_model=width, encoder_layers=layers, encoder_attention_heads=max(1, width // 64), encoder_ffn_dim=4 * width,
        num_mel_bins=80 if tiny else 128, max_source_positions=1520, decoder_layers=1, decoder_attention_heads=1,
        decoder_ffn_dim=8,
    )  # fmt: skip
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    frontend = Frontend(WhisperEncoder(config), Projector(width, hidden, 8)).to(device, dtype)
    waves = [np.zeros(int(16_000 * seconds), np.float32) for seconds in lengths_s]
    buckets = list(length_batches({str(i): len(wave) / 16_000 for i, wave in enumerate(waves)}, 240.0))

    def run(keys: Sequence[Sequence[str]]) -> None:
        for bucket in keys:
            frontend.project(frontend.features([waves[int(key)] for key in bucket]))

    run(buckets[:1])
    return {"seconds": wall(lambda: run(buckets), device), "parameters": sum(p.numel() for p in frontend.parameters())}


def rollout(shape: Shape, groups: Sequence[Any], folder: Path, device: str) -> dict[str, Any]:
    """The engine over the whole shard, twice: the first time compiles and captures. Then new weights into it."""
    import asyncio

    from arl.engine import server
    from arl.engine.client import Engine
    from arl.engine.generate import hypothesis_seeds
    from arl.engine.served_model import ServedModel
    from arl.policy import Policy
    from arl.shards import columns
    from arl.shards.reader import read_shard
    from arl.shards.writer import write_shard

    policy = make_policy(folder / "policy", shape, dtype="float32" if device == "cpu" else "bfloat16", device=device)
    free_memory(device)
    rows = [(group.key, {columns.EMB: columns.save_tensor(columns.EMB_TENSOR, group.clips[0])}) for group in groups]
    write_shard(folder / "emb.tar", rows)
    clips = [columns.tensor_reference(s, columns.EMB, columns.EMB_TENSOR) for s in read_shard(folder / "emb.tar")]
    start = time.monotonic()
    engine = Engine(server.start(policy, folder / "engine", device=device, timeout_s=240))
    started_s = time.monotonic() - start

    async def everything() -> int:
        async with engine:
            answers = await asyncio.gather(*(
                engine.generate_group(
                    group.prompt.tolist(), [clip], seeds=hypothesis_seeds(0, group.key, GROUP),
                    max_new_tokens=len(group.responses[0]),
                )
                for group, clip in zip(groups, clips, strict=True)
            ))  # fmt: skip
        return sum(len(hypothesis.tokens) for answer in answers for hypothesis in answer.hypotheses)

    try:
        asyncio.run(everything())
        engine.flush_cache()
        start = time.monotonic()
        generated = asyncio.run(everything())
        seconds = time.monotonic() - start
        opened = Policy.open(policy)
        sync_s = wall(lambda: engine.update_weights(ServedModel.of(opened)), device)
    finally:
        server.stop(folder / "engine")
    return {"seconds": seconds, "tokens_per_s": generated / seconds, "start_s": started_s, "sync_s": sync_s}


def reward(groups: Sequence[Any]) -> dict[str, Any]:
    """WER of every hypothesis against a reference of the same length, of random words."""
    from arl.text.wer import word_errors_batch

    rng = random.Random(0)
    words = [f"word{index}" for index in range(500)]

    def text(n: int) -> str:
        return " ".join(rng.choice(words) for _ in range(max(1, n)))

    lengths = [len(response) for group in groups for response in group.responses]
    pairs = [(text(n), text(n)) for n in lengths]
    return {"seconds": wall(lambda: word_errors_batch([a for a, _ in pairs], [b for _, b in pairs], "en"), "cpu")}


def update(shape: Shape, groups: Sequence[Any], folder: Path, device: str) -> dict[str, Any]:
    """Wake, two steps of which the second counts, sleep, the weights to disk; and the per-row computation beside it."""
    import torch

    from arl.losses.grpo import Grpo
    from arl.runtime.model_cache import MODEL_CACHE
    from arl.train.data import Batch as TrainingBatch

    learner = make_learner(shape, device)
    learner.sleep()
    wake_s = wall(lambda: wake(learner, device), device)
    batch, loss = TrainingBatch(list(groups)), Grpo(beta=0.1)
    first_s = wall(lambda: learner.policy_step(batch, loss), device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    seconds = wall(lambda: learner.policy_step(batch, loss), device)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device != "cpu" else 0.0
    compared = against_rows(learner, groups[: PER_ROW.get(shape.name, len(groups))], device)
    sleep_s = wall(learner.sleep, device)
    left = torch.cuda.memory_allocated() / 1e9 if device != "cpu" else 0.0
    write_s = wall(lambda: learner.model.save_pretrained(folder / "next"), device)
    shutil.rmtree(folder / "next")
    MODEL_CACHE.clear()
    return {
        "seconds": seconds, "first_s": first_s, "wake_s": wake_s, "sleep_s": sleep_s, "write_s": write_s,
        "peak_gb": peak, "left_after_sleep_gb": left, "tokens": sum(group.n_tokens for group in groups), **compared,
    }  # fmt: skip


def make_learner(shape: Shape, device: str, offload: bool = False, dtype: str = "") -> Any:
    """A learner of random weights, float32 on a CPU and bfloat16 on a GPU unless told. The 7B gets every memory lever
    that the learner has."""
    from arl.policy import Policy
    from arl.train.learner import Learner
    from arl.train.schedule import Schedule
    from arl.train.step import Compute

    dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
    levers = {"checkpointing": True, "offload": True} if shape is QWEN2_7B else {"offload": offload}

    def known(kind: Any) -> dict[str, Any]:
        names = {one.name for one in fields(kind)}
        return {name: value for name, value in levers.items() if name in names}

    model = make_model(shape, 0, dtype=dtype, device=device).requires_grad_(True)
    compute = Compute(shape.audio_token_id, BUDGET.get(shape.name, 16384), **known(Compute))
    return Learner(
        policy=Policy(Path("policy"), {"family": "benchmark", "step": 0}), model=model, compute=compute,
        schedule=Schedule(1e-6), max_norm=1.0, weight_decay=0.0, seed=0,
        reference=make_model(shape, 1, dtype=dtype, device=device).requires_grad_(False), **known(Learner),
    )  # fmt: skip


def wake(learner: Any, device: str) -> None:
    for module in (learner.model, learner.reference):
        module.to(device)


def against_rows(learner: Any, groups: Sequence[Any], device: str) -> dict[str, Any]:
    """The forward and backward of some groups, shared and per row: seconds and gradients' norms, no optimizer."""
    import torch

    from arl.losses.grpo import Grpo
    from arl.train.optimizer import gradient_of
    from arl.train.step import policy_backward
    from benchmarks.per_row import row_backward

    loss, model, compute = Grpo(beta=0.1), learner.model, learner.compute

    def shared() -> None:
        policy_backward(model, groups, loss, learner.reference, compute)

    def rows() -> None:
        row_backward(model, groups, loss, learner.reference, compute.audio_token_id, compute.token_budget)

    seconds, norms = {}, {}
    for name, work in (("shared", shared), ("rows", rows)):
        learner.optimizer.zero_grad()
        seconds[name] = wall(work, device)
        found = (gradient_of(p) for p in model.parameters())  # of bfloat16 weights: the float32 sums
        norms[name] = float(torch.stack([one.float().norm() for one in found if one is not None]).norm())
    learner.optimizer.zero_grad()
    prompts, responses = sum(g.prompt_length for g in groups), sum(g.n_tokens for g in groups)
    return {
        "rows_over_shared": seconds["rows"] / seconds["shared"],
        "limit": (GROUP * prompts + responses) / (prompts + responses),
        "norm_difference": abs(norms["rows"] - norms["shared"]) / norms["rows"],
    }


def free_memory(device: str) -> None:
    import gc

    import torch

    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
