"""What an update holds while it runs: the policy's LLM (and projector), optimizer, reference, and their saving.

A learner makes optimizer steps from batches and writes the next policy folder. Random numbers (dropout and
feature masking in supervised training) are drawn afresh from (seed, update), so a resumed run needs no saved
generator and gives the same bits.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arl.errors import ArlError
from arl.losses.importance import Correction
from arl.losses.micro_batch import Loss
from arl.policy import ADAPTER, Policy, link_tree, write_policy
from arl.runtime.model_cache import MODEL_CACHE
from arl.runtime.offload import sleep
from arl.shards.record import StageRecord, append_record
from arl.train.checkpoint import FRESH, has_state, load_state, restore, save_state, state_tensors
from arl.train.data import Batch
from arl.train.finite import refuse_not_finite
from arl.train.groups import PromptGroup, check_tokens
from arl.train.lora import LoraSpec, save_adapter
from arl.train.optimizer import is_low, make_adamw
from arl.train.probe import make_probe
from arl.train.projector import Frontend, augment, ctc_loss
from arl.train.schedule import Schedule
from arl.train.shared_prefix import self_check
from arl.train.step import Compute, apply_gradient, policy_backward, reference_backward, sft_backward
from arl.train.token_dropout import with_dropout
from arl.train.weights import save_llm
from arl.train.world import World, local

COPIED = "*.json", "*.txt", "*.model", "*.jinja"  # tokenizer and configuration files of an LLM folder
OF_ONE_UPDATE = "made", "steps_done"  # fields of arl.json that the next policy does not inherit


@dataclass
class Learner:
    """The trained weights and how they are trained. frontend: given in supervised training of the projector. updates:
    steps since the optimizer state was fresh; run_steps: those of the run, which the schedule counts; trains_on: what
    the run trains on. lora: of the adapter in the model, which alone is trained; the reference is then the model
    itself, whose adapter is off while it is one."""

    policy: Policy
    model: Any
    compute: Compute
    schedule: Schedule
    max_norm: float
    weight_decay: float
    seed: int
    reference: Any = None
    frontend: Frontend | None = None
    ctc: float = 0.0
    token_dropout: float = 0.0
    updates: int = 0
    run_steps: int = 0
    trains_on: str = ""
    lora: LoraSpec | None = None
    named: dict[str, nn.Parameter] = field(default_factory=dict)
    probe: dict[str, list] | None = None  # of the present weights, once it has been computed

    def __post_init__(self) -> None:
        self.named = {f"llm.{name}": p for name, p in self.model.named_parameters() if p.requires_grad}
        if self.frontend is not None:
            self.frontend.projector.requires_grad_(True)
            self.named |= {f"projector.{name}": p for name, p in self.frontend.projector.named_parameters()}
        self.optimizer = make_adamw(self.named, self.weight_decay, offload=self.compute.offload)

    @property
    def world(self) -> World:
        """The processes that make the update."""
        return self.compute.world

    def resume(self) -> None:
        """Takes over the optimizer state that the policy folder carries. ArlError where a trained one has none."""
        folder = self.policy.state_dir
        if self.policy.step and not has_state(folder):
            raise ArlError(f"{folder}: missing, though {self.policy.path} is at step {self.policy.step}, so Adam and "
                           f"warm-up would begin anew; {FRESH}, on purpose")  # fmt: skip
        kept = MODEL_CACHE.pop(folder)
        if kept is None:
            self.updates = load_state(folder, self.optimizer, self.named, self.world)
        else:
            self.updates, tensors = kept
            restore(self.optimizer, self.named, tensors, self.updates)
        if self.updates > self.policy.step:
            raise ArlError(f"{folder}: {self.updates} updates, and the policy is at step {self.policy.step}; {FRESH}")
        if kept is None and self.world.is_first:
            self.policy.verify_part("state", FRESH)

    def sleep(self) -> None:
        """Leaves the device: weights, reference and optimizer state go to host memory. The probe is computed before."""
        self.probe = self._make_probe()
        sleep([m for m in (self.model, self.reference, self.frontend) if m is not None], self.optimizer)

    def keep(self, policy: Policy, reference: Policy | None) -> None:
        """Leaves what this job has loaded to the next one, if this process is resident. policy: what was saved last."""
        MODEL_CACHE.put(self.model, policy.adapter_dir or policy.llm_dir)
        MODEL_CACHE.put((self.updates, state_tensors(self.optimizer, self.named)), policy.state_dir)
        if reference is not None and self.reference is not self.model:
            MODEL_CACHE.put(self.reference, reference.llm_dir)

    def known(self, batch: Batch) -> Batch:
        """The batch. ArlError where it has a token that the policy does not know."""
        check_tokens(batch.groups, self.compute.audio_token_id, len(self.model.get_input_embeddings().weight))
        return batch

    def check(self, batch: Batch) -> float:
        """The first-batch self-check of the shared-prefix computation; max |Δ log-prob|, of half precision the mean."""
        tolerance = 0.1 if is_low(next(self.model.parameters())) else 1e-3
        return self.world.call(self.model, self_check, batch.groups, self.compute.audio_token_id, tolerance)

    def old_log_probs(self, batch: Batch, model: Any = None) -> dict[str, Tensor]:
        """Log-probabilities under the weights of `model` (default: the present ones), by key, of this process's groups:
        needed when a rollout gets several updates."""
        self.compute.temperature = batch.temperature
        model = self.model if model is None else model
        own = self.world.share(batch.groups)
        passes, n_own = self.world.evened([[group] for group in own], lambda: batch.groups[:1])
        scores = [self.compute.frozen_scores(model, groups) for groups in passes][:n_own]
        return {group.key: score for group, score in zip(own, scores, strict=True)}

    def policy_step(
        self, batch: Batch, loss: Loss, old: Mapping[str, Tensor] | None = None, correction: Correction | None = None,
        ce: float = 0.0,
    ) -> dict[str, float]:  # fmt: skip
        """One step on rollouts. old: as `old_log_probs` gave it, None for the first step on-policy. ce: weight of the
        cross-entropy of the groups' references."""
        self.compute.temperature = batch.temperature
        metrics = policy_backward(
            self.model, batch.groups, loss, self.reference, self.compute, dict(old) if old else None, correction,
            f"{self.seed}/{self.updates}",
        )  # fmt: skip
        if ce:
            metrics |= reference_backward(self.model, batch.groups, self.compute, ce)
            metrics["loss"] += ce * metrics["cross_entropy"]
        return metrics | self._apply()

    def sft_step(self, batch: Batch, loss: Loss) -> dict[str, float]:
        """Teacher forcing on the transcripts; trains the projector as well when the learner has a frontend."""
        if self.frontend is not None:
            self.frontend.projector.train()
        # dropout draws from the global generator; of several processes each leaves out its own
        torch.manual_seed((self.world.rank << 48) + self.seed * 1_000_003 + self.updates)
        groups = batch.groups
        if self.token_dropout:
            generator = torch.Generator().manual_seed((1 << 40) + self.seed * 1_000_003 + self.updates)
            groups = with_dropout(groups, self.token_dropout, generator)
        masked = self._masked(groups)
        metrics = sft_backward(self.model, groups, self.compute, lambda groups: self._prepare(groups, masked), loss)
        return metrics | self._apply()

    def _masked(self, groups: Sequence[PromptGroup]) -> Iterator[Tensor]:
        """The masked features of this process's groups, in the order of its micro-batches. Every process draws for all
        groups, so that a group's are the same wherever it is."""
        if self.frontend is None:
            return
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.updates)
        own = {id(group) for group in self.world.share(groups)}
        for group in sorted(groups, key=lambda group: group.row_length):
            features = augment(group.clips[0], self.frontend.projector.stack, generator)
            if id(group) in own:
                yield features

    def _prepare(self, groups: list[PromptGroup], masked: Iterator[Tensor]) -> tuple[list[PromptGroup], Tensor | None]:
        """Features → clips through the projector in training, with masked features; the CTC loss if it is on."""
        if self.frontend is None:
            return groups, None
        features = [next(masked) for _ in groups]
        clips = self.frontend.project(features)
        ready = [replace(group, clips=[clip]) for group, clip in zip(groups, clips, strict=True)]
        return ready, self.ctc * ctc_loss(self.frontend.projector, clips, groups) if self.ctc else None

    def _apply(self) -> dict[str, float]:
        lr = self.schedule.at(self.run_steps)
        self.world.sum_gradients(self.named.values())
        norm = apply_gradient(self.optimizer, lr, self.max_norm, self.world)
        self.updates += 1
        self.run_steps += 1
        self.probe = None
        return {"grad_norm": norm, "lr": lr}

    def _make_probe(self) -> dict[str, list]:
        """Of the present weights, where they are. ArlError where they are not finite."""
        refuse_not_finite(
            ((name, local(p)) for name, p in self.named.items()), "the update",
            "nothing is written; lower --lr, or look for a sample with extreme values",
        )  # fmt: skip
        return self.world.call(self.model, make_probe, self.compute.audio_token_id)

    def counted(self) -> dict[str, Any]:
        """The run's part of the saved counts."""
        return {"run_steps": self.run_steps, "trains_on": self.trains_on}

    def save(
        self, out: Path, step: int, fields: dict[str, Any], record: Callable[[], StageRecord] | None = None
    ) -> Policy:
        """Writes the next policy folder whole: weights, tokenizer, frontend (linked unless trained), state, record.

        record: makes the line of `stage.jsonl`, last of all, so that it can say how long the writing took. Every
        process calls it and writes its part; the first one writes the rest and renames the folder.
        """
        if self.frontend is not None:
            self.frontend.projector.eval()
        probe, self.probe = self.probe or self._make_probe(), None
        if not self.world.is_first:
            self._write_part(Path(self.world.told("")))
            self.world.wait()  # until the folder has its name
            return Policy.open(out)
        kept = {name: value for name, value in self.policy.fields.items() if name not in OF_ONE_UPDATE}
        merged = {**kept, **fields, "step": step, "probe": probe}
        if self.frontend is not None:
            merged["frontend"] = self.frontend.digest()
        if self.lora is not None:
            merged.setdefault("base", self.policy.version)

        def fill(folder: Path) -> None:
            self._write_part(Path(self.world.told(str(folder))))
            for pattern in COPIED:
                for file in self.policy.llm_dir.glob(pattern):
                    if not (folder / "llm" / file.name).exists() and not file.name.endswith(".index.json"):
                        shutil.copy2(file, folder / "llm" / file.name)
            if self.frontend is not None:
                self.frontend.save(folder / "frontend")
            elif self.policy.frontend_dir.is_dir():
                link_tree(self.policy.frontend_dir, folder / "frontend")
            if record is not None:
                append_record(folder, record())

        policy = write_policy(out, merged, fill)
        self.world.wait()
        return policy

    def _write_part(self, folder: Path) -> None:
        """The LLM, with an adapter the base as it is and the adapter, and the optimizer's state. Returns when every
        process has written its part."""
        if self.lora is None:
            save_llm(self.model, folder / "llm", self.world)
        else:
            save_adapter(folder / ADAPTER, self.model, self.lora, self.world)
            if self.world.is_first:
                link_tree(self.policy.llm_dir, folder / "llm")
        save_state(folder / "state", self.optimizer, self.named, self.updates, self.counted(), self.world)
        self.world.wait()
