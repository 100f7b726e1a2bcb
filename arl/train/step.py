"""One optimizer step over the groups of one batch: micro-batches, loss, clipping.

Each token's weight in the loss is fixed before the batch is cut into micro-batches, and gradients add up,
so the cut never changes the result. Dropout is off: log-probabilities must be those of the engine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from arl.errors import ArlError
from arl.losses.grpo import Grpo
from arl.losses.sft import sft
from arl.train.groups import Group, micro_batches
from arl.train.shared_prefix import shared_log_probs

TRUNCATION = 2.0  # of the importance weights of stale rollouts (Ionides 2008)


@dataclass
class Compute:
    """How a pass is computed, which never changes what it means.

    token_budget: padded positions per micro-batch. chunk: positions per LM-head chunk. autocast: dtype of the
    matrix products (the weights stay in their own dtype), None for none. temperature: that of the rollout.
    """

    audio_token_id: int
    token_budget: int = 8192
    chunk: int = 512
    autocast: torch.dtype | None = None
    temperature: float = 1.0

    def scores(self, model: nn.Module, groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
        """(log-probabilities [N], entropies [N]) of the groups' response tokens."""
        device = next(model.parameters()).device
        with torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            scores = shared_log_probs(model, groups, self.audio_token_id, self.temperature, self.chunk)
        return scores.log_probs, scores.entropies

    def frozen_scores(self, model: nn.Module, groups: Sequence[Group]) -> Tensor:
        with torch.no_grad():
            return self.scores(model, groups)[0]


@dataclass
class Sums:
    """Weighted sums over a batch; `mean` of what was added with weights that sum to one."""

    values: dict[str, float] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + value


def sequence_mean_weights(groups: Sequence[Group], n_groups: int) -> Tensor:
    """Eq. 2's means as one weight per token, flat [N]: 1 / (groups · the group's hypotheses · their tokens)."""
    weights = [
        torch.full((len(response),), 1.0 / (n_groups * len(group.responses) * len(response)), dtype=torch.float64)
        for group in groups
        for response in group.responses
    ]
    return torch.cat(weights)


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
    is_stale = any(group.sampled for group in groups)
    for micro in micro_batches(groups, compute.token_budget):
        log_probs, entropies = compute.scores(model, micro)
        anchor = compute.frozen_scores(reference, micro) if reference is not None else None
        before = torch.cat([old[group.key] for group in micro]) if old is not None else None
        weights = sequence_mean_weights(micro, len(groups)).to(log_probs)
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
    for micro in micro_batches(groups, compute.token_budget):
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
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = float(nn.utils.clip_grad_norm_(parameters, max_norm or math.inf))
    if not math.isfinite(norm):
        raise ArlError(f"the gradient's norm is {norm}: lower --lr, or look for a sample with extreme values")
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
