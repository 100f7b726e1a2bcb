"""One optimizer step over the groups of one batch: micro-batches, loss, clipping.

Each token's weight in the loss is fixed before the batch is cut into micro-batches, and gradients add up,
so the cut never changes the result. Dropout is off: log-probabilities must be those of the engine.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from arl.errors import ArlError
from arl.losses.grpo import Grpo, Totals
from arl.losses.sft import sft
from arl.train.decoder import set_checkpointing, set_compiled
from arl.train.groups import Group, micro_batches
from arl.train.offload import visiting
from arl.train.optimizer import gradient_of
from arl.train.shared_prefix import is_packed, shared_log_probs

TOKENS = {"cpu": 1024, "cuda": 8192}  # positions that keep the device busy and, on a CPU, stay in its cache
TRUNCATION = 2.0  # of the importance weights of stale rollouts (Ionides 2008)


@dataclass
class Compute:
    """How a pass is computed, which never changes what it means.

    token_budget: positions per micro-batch, padding included; 0 for the device's own (TOKENS). chunk: positions per
    LM-head chunk. autocast: dtype of the matrix products (the weights stay in their own dtype), None for none.
    temperature: that of the rollout. checkpointing: layers are computed again in the backward pass. compiled: layers
    run through torch.compile. offload: the reference is on the device only while it is used.
    """

    audio_token_id: int
    token_budget: int = 0
    chunk: int = 512
    autocast: torch.dtype | None = None
    temperature: float = 1.0
    checkpointing: bool = False
    compiled: bool = False
    offload: bool = False

    def micro_batches(self, model: nn.Module, groups: Sequence[Group]) -> list[list[Group]]:
        """The cut of a batch for one model, which is made ready for it."""
        device = next(model.parameters()).device
        set_checkpointing(model, self.checkpointing)
        set_compiled(model, self.compiled)
        budget = self.token_budget or TOKENS.get(device.type, TOKENS["cuda"])
        return list(micro_batches(groups, budget, is_packed(model)))

    def scores(self, model: nn.Module, groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
        """(log-probabilities [N], entropies [N]) of the groups' response tokens."""
        device = next(model.parameters()).device
        with torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            scores = shared_log_probs(model, groups, self.audio_token_id, self.temperature, self.chunk)
        return scores.log_probs, scores.entropies

    def frozen_scores(self, model: nn.Module, groups: Sequence[Group]) -> Tensor:
        with torch.no_grad():
            return self.scores(model, groups)[0]

    def reference_scores(self, reference: nn.Module, cut: Sequence[list[Group]], device: torch.device) -> list[Tensor]:
        """The reference's log-probabilities of every micro-batch, all at once: then it may leave the device."""
        set_compiled(reference, self.compiled)
        with visiting(reference, device) if self.offload else nullcontext():
            return [self.frozen_scores(reference, micro) for micro in cut]


@dataclass
class Sums:
    """Weighted sums over a batch; `mean` of what was added with weights that sum to one."""

    values: dict[str, float] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + value


def response_lengths(groups: Sequence[Group]) -> list[list[int]]:
    """Per group the tokens of each hypothesis."""
    return [[len(response) for response in group.responses] for group in groups]


def token_advantages(groups: Sequence[Group]) -> Tensor:
    """Each hypothesis' advantage on each of its tokens, flat [N]."""
    return torch.cat([
        torch.full((len(response),), advantage, dtype=torch.float64)
        for group in groups
        for response, advantage in zip(group.responses, group.advantages, strict=True)
    ])  # fmt: skip


def truncated_importance(groups: Sequence[Group], before: Tensor) -> Tensor:
    """min(p_before / p_sampled, TRUNCATION) of each token [N] where another version sampled it, 1 elsewhere.

    before: log-probabilities [N] under the weights that the update starts from.
    """
    ratios, start = [], 0
    for group in groups:
        own = before[start : start + group.n_tokens]
        start += group.n_tokens
        sampled = torch.cat(group.sampled).to(own) if group.sampled else own
        ratios.append((own - sampled).exp().clamp(max=TRUNCATION))
    return torch.cat(ratios)


def grpo_backward(
    model: nn.Module,
    groups: Sequence[Group],
    loss: Grpo,
    reference: nn.Module | None,
    compute: Compute,
    old: dict[str, Tensor] | None = None,
) -> dict[str, float]:
    """Adds the gradient of the GRPO loss over `groups` to the parameters; returns the loss and its metrics.

    old: log-probabilities [N of the group] by key, from before the first of several updates; None on-policy.
    """
    sums = Sums()
    totals = Totals(len(groups), sum(group.n_tokens for group in groups))
    is_stale = any(group.sampled for group in groups)
    cut = compute.micro_batches(model, groups)
    device = next(model.parameters()).device
    anchors = compute.reference_scores(reference, cut, device) if reference is not None else [None] * len(cut)
    for micro, anchor in zip(cut, anchors, strict=True):
        log_probs, entropies = compute.scores(model, micro)
        before = torch.cat([old[group.key] for group in micro]) if old is not None else None
        weights = loss.token_weights(response_lengths(micro), totals).to(log_probs)
        start = log_probs.detach() if before is None else before
        importance = truncated_importance(micro, start) if is_stale else None
        value, metrics = loss(log_probs, before, anchor, token_advantages(micro).to(log_probs), weights, importance)
        value.backward()
        sums.add(loss=float(value.detach()), entropy=float((weights * entropies).sum()), **metrics)
    return sums.values


def sft_backward(
    model: nn.Module,
    groups: Sequence[Group],
    compute: Compute,
    prepare: Callable[[list[Group]], tuple[list[Group], Tensor | None]],
) -> dict[str, float]:
    """Adds the gradient of the token-mean cross-entropy; `prepare` may project features to clips and add a loss.

    prepare(groups) → (groups with clips, an extra loss that is a mean over these groups, or None).
    """
    n_tokens = sum(group.n_tokens for group in groups)
    sums = Sums()
    for micro in compute.micro_batches(model, groups):
        share = len(micro) / len(groups)
        ready, extra = prepare(micro)
        log_probs, entropies = compute.scores(model, ready)
        weights = torch.full_like(log_probs, 1.0 / n_tokens)
        value = sft(log_probs, weights)
        sums.add(loss=float(value.detach()), entropy=float((weights * entropies).sum()))
        if extra is not None:
            sums.add(auxiliary=float(extra.detach()) * share)
            value = value + share * extra
        value.backward()
    return sums.values


def apply_gradient(optimizer: torch.optim.Optimizer, lr: float, max_norm: float) -> float:
    """Clips to `max_norm` (0: no clipping), steps, clears. Returns the norm before clipping; ArlError if not finite."""
    found = [gradient_of(p) for group in optimizer.param_groups for p in group["params"]]
    gradients = [gradient for gradient in found if gradient is not None]
    total = nn.utils.get_total_norm(gradients)
    norm = float(total)
    if not math.isfinite(norm):
        raise ArlError(f"the gradient's norm is {norm}: lower --lr, or look for a sample with extreme values")
    if max_norm and norm > max_norm:
        torch._foreach_mul_(gradients, max_norm / (total + 1e-6))
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
