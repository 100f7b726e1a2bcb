"""Our side of benchmarks/trl_step.py: one on-policy step per line on standard input, answered by a JSON line.

The stages' own functions in one warm process: the engine's groups, rewards, `Learner.policy_step`, `Learner.save`, the
engine's weight update with its proof. The line `check` instead computes the gradient of the step that TRL has dumped.

    python -m benchmarks.our_side settings.json < steps
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from arl.engine import server
from arl.engine.client import CompletionGroup as Rolled
from arl.engine.client import Engine
from arl.engine.generate import hypothesis_seeds
from arl.engine.served_model import ServedModel
from arl.engine.session import prove
from arl.losses.grpo import Grpo
from arl.policy import Policy
from arl.rewards.advantages import advantages
from arl.train.data import Batch
from arl.train.groups import PromptGroup
from arl.train.learner import Learner
from arl.train.load import load_llm
from arl.train.schedule import Schedule
from arl.train.step import Compute, policy_backward
from benchmarks.measure import Figures, Stopwatch

TRL_EPS = 1e-4  # TRL's in the advantages
CPU = torch.device("cpu")


class OurSide:
    """The learner and the engine of one policy, and where the next policies go."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.folder = Path(settings["folder"])
        self.policy = Policy.open(Path(settings["policy"]).parent)
        self.engine = Engine(server.start(self.policy.path, self.folder / "engine", device="cpu"))
        self.learner = Learner(
            policy=self.policy, model=load_llm(self.policy.llm_dir, CPU), compute=Compute(self.policy.audio_token_id),
            schedule=Schedule(settings["lr"]), max_norm=settings["max_norm"], weight_decay=0.0, seed=0,
            reference=load_llm(Path(settings["reference"]), CPU).requires_grad_(False),
        )  # fmt: skip
        self.loss = Grpo(beta=0.1)
        self.steps = 0

    def step(self) -> Figures:
        """One whole step; its CPU and wall seconds, the engine's included, and by part."""
        engine = self.engine.served.pgid
        with Stopwatch(engine) as whole:
            with Stopwatch(engine) as generation:
                rolled = asyncio.run(self.generate())
                groups = [self.group(index, result) for index, result in enumerate(rolled)]
            with Stopwatch() as update:
                self.learner.policy_step(Batch(groups), self.loss)
            self.steps += 1
            with Stopwatch() as save:
                out = self.folder / f"next-{self.steps % 2}"
                policy = self.learner.save(out, self.steps, {})
            with Stopwatch(engine) as sync:
                policy.verify()
                self.engine.update_weights(ServedModel.of(policy))
                prove(self.engine, policy, 0.0)
        parts = {"generation": generation, "update": update, "save": save, "sync": sync}
        return whole.figures | {f"{name}_{k}": v for name, part in parts.items() for k, v in part.figures.items()}

    async def generate(self) -> list[Rolled]:
        settings = self.settings
        async with self.engine:
            return await asyncio.gather(*(
                self.engine.generate_group(
                    prompt, seeds=hypothesis_seeds(self.steps, str(index), settings["group"]),
                    max_new_tokens=settings["response"],
                )
                for index, prompt in enumerate(settings["prompt_ids"])
            ))  # fmt: skip

    def group(self, index: int, rolled: Rolled) -> PromptGroup:
        tokens = [hypothesis.tokens for hypothesis in rolled.hypotheses]
        assert all(len(row) == self.settings["response"] for row in tokens)
        values = advantages([float(sum(row) % 17) for row in tokens])
        return self.made(str(index), self.settings["prompt_ids"][index], tokens, values)

    def made(self, key: str, prompt: list[int], tokens: list[list[int]], values: list[Any]) -> PromptGroup:
        return PromptGroup(key, torch.tensor(prompt), [], [torch.tensor(row) for row in tokens], values)

    def check(self) -> Figures:
        """The gradient of TRL's first step by our computation: the largest difference relative to each parameter's
        largest entry."""
        dumped = load_file(self.settings["dump"])
        size = self.settings["group"]
        groups = []
        for start in range(0, len(dumped["prompt_ids"]), size):
            rows, kept = dumped["completion_ids"][start : start + size], dumped["completion_mask"][start : start + size]
            tokens = [row[mask.bool()].tolist() for row, mask in zip(rows, kept, strict=True)]
            values = dumped["advantages"][start : start + size].tolist()
            groups.append(self.made(str(start), dumped["prompt_ids"][start].tolist(), tokens, values))
        model = self.learner.model
        policy_backward(model, groups, self.loss, self.learner.reference, self.learner.compute)
        worst = 0.0
        for name, parameter in model.named_parameters():
            theirs = dumped[f"gradient/{name}"]
            assert parameter.grad is not None
            worst = max(worst, float((parameter.grad - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)))
        model.zero_grad(set_to_none=True)
        if not worst < 1e-2:
            raise RuntimeError(f"the gradient of TRL's first step differs by {worst:.1e}")
        return {"difference": worst}


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(settings["threads"])
    try:
        side = OurSide(settings)
        while True:
            print(json.dumps({"ready": True}), file=answers, flush=True)
            word = sys.stdin.readline().strip()
            if not word:
                break
            print(json.dumps(side.check() if word == "check" else side.step()), file=answers, flush=True)
    finally:
        server.stop(Path(settings["folder"]) / "engine")


if __name__ == "__main__":
    main()
