"""The checks of check_gpu.py that need SGLang: one engine through its life, the loop, and warm stages.

Each returns figures, or raises. On a CPU they are the same but for memory, which is not looked at there. Left out: the
report, and what the update alone needs (check_gpu.py).
"""

import asyncio
import json
import math
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import steps
from benchmarks.models import Shape, make_groups, make_policy

Figures = dict[str, Any]
FREED_MB = 500  # that a released engine gives back at least
SETTLE_S = 2.0  # until the driver has unmapped what was released
PARITY = {"float32": 1e-3, "bfloat16": 0.1}  # |Δ log-prob| of engine and trainer on sampled tokens, on average
CAPTURED = "decode CUDA graph end"  # what SGLang logs then
GROUP, TOKENS, STEPS = 4, 12, 3
KEPT_MB = 3000  # that a warm worker may keep of a GPU between two jobs: its CUDA context


@dataclass
class Served:
    """An engine, with two policies of one shape, and embeddings in a shard. client: of one that runs already."""

    device: str
    policies: Sequence[Any]
    clips: Sequence[dict[str, Any]]
    folder: Path
    client: Any = None

    @classmethod
    def made(cls, shape: Shape, device: str, folder: Path) -> "Served":
        """Policies of random weights, float32 on a CPU and bfloat16 on a GPU."""
        from arl.policy import Policy
        from arl.shards import columns
        from arl.shards.reader import read_shard
        from arl.shards.writer import write_shard

        dtype = "float32" if device == "cpu" else "bfloat16"
        paths = [make_policy(folder / f"policy-{seed}", shape, seed, dtype, device) for seed in (0, 1)]
        groups = make_groups(shape, 4, 60, TOKENS, GROUP)
        rows = [(g.key, {columns.EMB: columns.save_tensor(columns.EMB_TENSOR, g.clips[0])}) for g in groups]
        write_shard(folder / "emb.tar", rows)
        clips = [columns.tensor_reference(s, columns.EMB, columns.EMB_TENSOR) for s in read_shard(folder / "emb.tar")]
        return cls(device, [Policy.open(path) for path in paths], clips, folder / "engine")

    def start(self) -> Figures:
        """Up, with CUDA graphs captured on a GPU, and the probe of its policy."""
        from arl.engine import server, session

        began = time.monotonic()
        self.client = server.Engine(server.start(self.policies[0].path, self.folder, device=self.device))
        figures = {"start_s": time.monotonic() - began, **session.prove(self.client, self.policies[0], 0.0)}
        graphs = sum(self.client.info()["internal_states"][0]["memory_usage"]["graph"].values())
        said = Path(self.client.served.log).read_text(errors="replace")
        if self.device != "cpu" and CAPTURED not in said:
            raise RuntimeError(f"no CUDA graph was captured for decoding: {' '.join(said.split())[-200:]}")
        return figures | {"graphs_gb": graphs}

    def parity(self) -> Figures:
        """Log-probabilities of sampled tokens behind audio: the engine's own, and the trainer's of the same policy."""
        import torch

        from arl.train.groups import PromptGroup
        from arl.train.load import load_llm
        from arl.train.shared_prefix import shared_log_probs

        policy, engine = self.policies[0], self.running()

        async def everything() -> list[Any]:
            async with engine:
                return await asyncio.gather(*(
                    engine.generate_group(policy.prompt, [clip], seeds=range(GROUP), max_new_tokens=TOKENS)
                    for clip in self.clips
                ))  # fmt: skip

        answers = [answer.hypotheses for answer in asyncio.run(everything())]
        groups = [
            PromptGroup(str(i), torch.tensor(policy.prompt), [read_clip(clip)], [torch.tensor(h.tokens) for h in hyps])
            for i, (clip, hyps) in enumerate(zip(self.clips, answers, strict=True))
        ]
        model = load_llm(policy.llm_dir, torch.device(self.device))
        with torch.no_grad():
            trained = shared_log_probs(model, groups, policy.audio_token_id).log_probs.cpu().double()
        sampled = torch.tensor([p for hyps in answers for h in hyps for p in h.logprobs], dtype=torch.float64)
        difference = (trained - sampled).abs()
        mean, most = float(difference.mean()), float(difference.max())
        if not mean <= PARITY[engine.served.dtype]:
            raise RuntimeError(f"log-probs of sampled tokens differ by {mean:.2e} on average, {most:.2e} at most")
        return {"tokens": len(sampled), "difference_mean": mean, "difference_max": most}

    def release(self) -> Figures:
        """Weights, cache and graphs leave the device."""
        engine, before = self.running(), free_mb(self.device)
        engine.release()
        if self.device == "cpu":
            return {}
        time.sleep(SETTLE_S)
        freed = free_mb(self.device) - before
        if freed < FREED_MB:
            raise RuntimeError(f"release freed {freed:.0f} MB")
        return {"freed_mb": freed, "free_mb": before + freed}

    def resume(self) -> Figures:
        """The memory is back, with the policy's weights."""
        from arl.engine import session
        from arl.engine.served_model import ServedModel

        before = free_mb(self.device)
        self.running().wake(ServedModel.of(self.policies[0]))
        return {"taken_mb": before - free_mb(self.device), **session.prove(self.running(), self.policies[0], 0.0)}

    def sync(self) -> Figures:
        """Other weights of the same shape, proved, and what the old ones' probe would say of them."""
        from arl.engine import session
        from arl.engine.served_model import ServedModel
        from arl.errors import ArlError

        old, new = self.policies
        self.running().update_weights(ServedModel.of(new))
        figures = session.prove(self.running(), new, 0.0)
        try:
            session.prove(self.running(), old, 0.0)
        except ArlError:
            return figures
        raise RuntimeError("the engine proves the old policy after it has taken the new one")

    def running(self) -> Any:
        if self.client is None:
            raise RuntimeError("no engine: it did not start")
        return self.client

    def stop(self) -> None:
        from arl.engine import server

        server.stop(self.folder)


def read_clip(reference: dict[str, Any]) -> Any:
    """The embeddings [T, H] that a reference points at."""
    import torch

    kind = getattr(torch, reference["dtype"])
    n_rows, width = reference["shape"]
    with open(reference["path"], "rb") as shard:
        shard.seek(reference["offset"])
        raw = bytearray(shard.read(n_rows * width * kind.itemsize))
    return torch.frombuffer(raw, dtype=kind).reshape(n_rows, width)


def free_mb(device: str) -> float:
    """Of a GPU, as the driver says; 0 of a CPU."""
    import torch

    return torch.cuda.mem_get_info(torch.device(device))[0] / 1e6 if device != "cpu" else 0.0


def loop(folder: Path) -> Figures:
    """`make loop` of three steps of a tiny recogniser, with warm stages: each has trained, and on finite numbers."""
    from arl.shards.record import read_record

    run = steps.make_start(folder, 4, tiny=True)
    steps.loop(run, STEPS, 8, [])
    records = [read_record(run / f"step-{step:06d}" / "update")[-1] for step in range(1, STEPS + 1)]
    losses = [record["loss"] for record in records]
    if not all(math.isfinite(value) for value in losses):
        raise RuntimeError(f"losses {losses}")
    return {"losses": losses, "step_s": steps.read_run(run, STEPS)["step_s"]["median"]}


def warm(run: Path, device: str) -> Figures:
    """An update on the loop's last step, twice by one resident worker, which lets go of the device after each; on a CPU
    first by a process of its own, with the same result bit for bit. (A GPU adds up in any order.)"""
    folder, out, before = run / "warm-check", run / "warm-out", free_mb(device)
    made = {"cold_s": made_by(None, run, out / "cold", device)} if device == "cpu" else {}
    arl(folder, "warm", "start", "update")
    try:
        made |= {name: made_by(folder, run, out / name, device) for name in ("first_s", "second_s")}
        kept = before - free_mb(device)
    finally:
        arl(folder, "warm", "stop", "update")
    versions = {version for _, version in made.values()}
    if device == "cpu" and len(versions) > 1:
        raise RuntimeError(f"a warm update is another than a cold one: {sorted(versions)}")
    if kept > KEPT_MB:
        raise RuntimeError(f"a warm worker keeps {kept:.0f} MB of the device between its jobs")
    return {"kept_mb": kept, **{name: seconds for name, (seconds, _) in made.items()}}


def made_by(warm_folder: Path | None, run: Path, out: Path, device: str) -> tuple[float, str]:
    """(seconds, version of the result) of an update by a worker, or by a process of its own."""
    began = time.monotonic()
    arl(warm_folder, *update_words(run, out, device))
    return time.monotonic() - began, json.loads((out / "arl.json").read_text())["version"]


def update_words(run: Path, out: Path, device: str) -> list[str]:
    """An update on the last step's shards, from the run's first policy."""
    step = run / f"step-{STEPS:06d}"
    shard = (step / "shards").read_text().split()[0]
    paths = run / "emb" / "train" / f"{shard}.tar", step / "rollout", step / "reward"
    shards = [word for path in paths for word in ("--shards", str(path))]
    flags = ["--loss", "dapo", "--lr", "1e-4", "--allow-stale", "--device", device]
    return ["update", *shards, "--policy", str(run / "policy"), *flags, "-o", str(out)]


def arl(warm_folder: Path | None, *words: str) -> None:
    """`arl` with these words; RuntimeError with the end of what it says when it fails."""
    environment = os.environ | {"ARL_WARM": str(warm_folder or "")}
    done = subprocess.run(["arl", *words], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"arl {words[0]}: {' '.join(done.stderr.split())[-300:]}")
