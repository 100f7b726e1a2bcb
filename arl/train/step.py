"""One optimizer step over the groups of one batch: micro-batches, loss, clipping.

Each token's weight in the loss is fixed before the batch is cut into micro-batches, and gradients add up,
so the cut never changes the result. Dropout is off: log-probabilities must be those of the engine.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

import torch
from torch import Tensor, nn

from arl.errors import ArlError
from arl.losses.acoustic import AcousticBatch, Codebook
from arl.losses.batch import Totals
from arl.losses.importance import Correction
from arl.losses.micro_batch import AcousticLoss, Loss, MicroBatch
from arl.losses.mwer import duplicate_of
from arl.losses.sft import Sft
from arl.train.acoustic import make_acoustic_batch, plan_loss
from arl.train.decoder import set_checkpointing, set_compiled
from arl.train.groups import PromptGroup, micro_batches, stand_in
from arl.train.logprobs import TokenScores
from arl.train.lora import adapter_layers, without_adapter
from arl.train.offload import visiting
from arl.train.optimizer import gradient_of
from arl.train.shared_prefix import is_packed, shared_log_probs
from arl.train.world import ALONE, World

TOKENS = {"cpu": 1024, "cuda": 8192}  # positions that keep the device busy and, on a CPU, stay in its cache
CROSS_ENTROPY = Sft()


@dataclass
class Compute:
    """How a pass is computed, which never changes what it means.

    token_budget: positions per micro-batch, padding included; 0 for the device's own (TOKENS). chunk: positions per
    LM-head chunk. autocast: dtype of the matrix products (the weights stay in their own dtype), None for none.
    temperature: that of the rollout. checkpointing: layers are computed again in the backward pass. compiled: layers
    run through torch.compile. offload: the reference is on the device only while it is used. world: the processes that
    share the batch.
    """

    audio_token_id: int
    token_budget: int = 0
    chunk: int = 512
    autocast: torch.dtype | None = None
    temperature: float = 1.0
    checkpointing: bool = False
    compiled: bool = False
    offload: bool = False
    world: World = ALONE

    def micro_batches(self, model: nn.Module, groups: Sequence[PromptGroup]) -> list[list[PromptGroup]]:
        """The cut of a batch for one model, which is made ready for it."""
        device = next(model.parameters()).device
        set_checkpointing(model, self.checkpointing)
        set_compiled(model, self.compiled)
        budget = self.token_budget or TOKENS.get(device.type, TOKENS["cuda"])
        return list(micro_batches(groups, budget, is_packed(model)))

    def own_micro_batches(self, model: nn.Module, groups: Sequence[PromptGroup]) -> tuple[list[list[PromptGroup]], int]:
        """This process's cut of a batch, and how many of it count: behind those come passes that only keep the other
        processes company."""
        cut = self.micro_batches(model, self.world.share(groups))
        return self.world.evened(cut, lambda: [stand_in(groups, model.get_input_embeddings().weight.shape[1])])

    def scores(self, model: nn.Module, groups: Sequence[PromptGroup], codebook: Codebook | None = None) -> TokenScores:
        """Of the groups' response tokens, and over the codebook if one is given."""
        device = next(model.parameters()).device
        with torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            return self.world.call(
                model, shared_log_probs, groups, self.audio_token_id, self.temperature, self.chunk, codebook
            )

    def frozen_scores(self, model: nn.Module, groups: Sequence[PromptGroup]) -> Tensor:
        """Log-probabilities [N] without gradients."""
        return self._frozen(model, groups).log_probs

    def reference_scores(
        self,
        reference: nn.Module,
        cut: Sequence[list[PromptGroup]],
        device: torch.device,
        codebook: Codebook | None = None,
    ) -> Iterator[TokenScores]:
        """The reference's scores of each micro-batch; if it has to leave the device, all at once before the first. That
        of a policy with an adapter is the policy's own base, which stays."""
        set_compiled(reference, self.compiled)
        scores: Iterable[TokenScores] = with_one_head(self._reference(reference, here, codebook) for here in cut)
        if self.offload and self.world is ALONE and not adapter_layers(reference):  # spread ones come by themselves
            with visiting(reference, device):
                scores = list(scores)
        yield from scores

    def _reference(
        self, model: nn.Module, groups: Sequence[PromptGroup], codebook: Codebook | None = None
    ) -> TokenScores:
        with without_adapter(model):
            return self._frozen(model, groups, codebook)

    @torch.no_grad()
    def _frozen(self, model: nn.Module, groups: Sequence[PromptGroup], codebook: Codebook | None = None) -> TokenScores:
        return self.scores(model, groups, codebook)


def with_one_head(scores: Iterable[TokenScores]) -> Iterator[TokenScores]:
    """The same scores of a frozen model, all with the first one's copy of the head's rows of the codebook."""
    first = None
    for each in scores:
        if each.codes is not None:
            first = first or each.codes
            each.codes = each.codes._replace(weight=first.weight, bias=first.bias)
        yield each


@dataclass
class MetricSums:
    """Metrics over the micro-batches of a batch: sums of their terms; of those named `…_max` the largest."""

    values: dict[str, float] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            before = self.values.get(name)
            both = max if name.endswith("_max") else float.__add__
            self.values[name] = float(value) if before is None else both(before, float(value))


def totals_of(groups: Sequence[PromptGroup]) -> Totals:
    """What the means over a batch divide by."""
    return Totals(len(groups), sum(group.n_tokens for group in groups), sum(len(group.responses) for group in groups))


def token_advantages(groups: Sequence[PromptGroup]) -> Tensor:
    """Each hypothesis' advantage on each of its tokens, flat [N]."""
    return torch.cat([
        torch.full((len(response),), advantage, dtype=torch.float64)
        for group in groups
        for response, advantage in zip(group.responses, group.advantages, strict=True)
    ])  # fmt: skip


def importance_weights(groups: Sequence[PromptGroup], before: Tensor, correction: Correction) -> tuple[Tensor, Tensor]:
    """(importance weight, whether its bound changed it) of each token, [N]; 1 for groups that need no correction.

    before: log-probabilities [N] under the weights that the update starts from.
    """
    pieces = []
    for group, own in zip(groups, before.split([group.n_tokens for group in groups]), strict=True):
        sampled = torch.cat(group.sampled).to(own) if group.sampled else own
        pieces.append(correction(own, sampled, group.lengths))
    return torch.cat([weights for weights, _ in pieces]), torch.cat([is_cut for _, is_cut in pieces])


def policy_backward(
    model: nn.Module,
    groups: Sequence[PromptGroup],
    loss: Loss,
    reference: nn.Module | None,
    compute: Compute,
    old: dict[str, Tensor] | None = None,
    correction: Correction | None = None,
    noise: str = "",
) -> dict[str, float]:
    """Adds the gradient of a loss on rollouts to the parameters; returns the loss and its metrics.

    old: log-probabilities [N of the group] by key, from before the first of several updates; None on-policy.
    correction: of groups that carry the log-probabilities they were sampled with (default: truncation at 2).
    noise: names the step, for the losses that draw some.
    """
    sums = MetricSums()
    totals = totals_of(groups)
    is_corrected = any(group.sampled for group in groups)
    cut, n_own = compute.own_micro_batches(model, groups)
    device = next(model.parameters()).device
    codebook = loss.codebook if isinstance(loss, AcousticLoss) else None
    plans = plan_loss(loss, groups, noise) if isinstance(loss, AcousticLoss) else {}
    references: Iterable[TokenScores | None] = repeat(None, len(cut))
    if reference is not None:
        references = compute.reference_scores(reference, cut, device, codebook)
    for index, (here, reference_here) in enumerate(zip(cut, references, strict=True)):
        scores = compute.scores(model, here, codebook)
        log_probs = scores.log_probs
        if index >= n_own:
            (0.0 * log_probs.sum()).backward()
            continue
        acoustic = make_acoustic_batch(plans, here, scores, reference_here, codebook) if codebook else None
        before = torch.cat([old[group.key] for group in here]) if old is not None else None
        start = log_probs.detach() if before is None else before
        importance = importance_weights(here, start, correction or Correction()) if is_corrected else None
        reference_log_probs = reference_here.log_probs if reference_here is not None else None
        micro = make_micro_batch(
            loss, here, totals, log_probs, before, reference_log_probs, importance[0] if importance else None, acoustic
        )
        value, metrics = loss(micro)
        value.backward()
        sums.add(loss=float(value.detach()), **metrics, **micro.means(entropy=scores.entropies))
        if importance:
            sums.add(**micro.means(importance_cut=importance[1]), importance_max=float(importance[0].max()))
    return compute.world.merged(sums.values)


def make_micro_batch(
    loss: Loss, groups: Sequence[PromptGroup], totals: Totals, log_probs: Tensor, old: Tensor | None,
    reference: Tensor | None, importance: Tensor | None, acoustic: AcousticBatch | None = None,
) -> MicroBatch:  # fmt: skip
    """A micro-batch as its loss sees it."""
    lengths = [group.lengths for group in groups]
    return MicroBatch(
        log_probs, old, reference,
        advantages=token_advantages(groups).to(log_probs),
        weights=loss.token_weights(lengths, totals).to(log_probs),
        importance=importance,
        metric_weights=loss.metric_weights(lengths, totals).to(log_probs),
        lengths=lengths,
        totals=totals,
        errors=[group.errors for group in groups],
        duplicate_of=[duplicate_of(group.responses) for group in groups],
        acoustic=acoustic,
    )  # fmt: skip


def sft_backward(
    model: nn.Module,
    groups: Sequence[PromptGroup],
    compute: Compute,
    prepare: Callable[[list[PromptGroup]], tuple[list[PromptGroup], Tensor | None]],
    loss: Loss = CROSS_ENTROPY,
) -> dict[str, float]:
    """Adds the gradient of a supervised loss; `prepare` may project features to clips and add a loss.

    prepare(groups) → (groups with clips, an extra loss that is a mean over these groups, or None).
    """
    totals = totals_of(groups)
    sums = MetricSums()
    cut, n_own = compute.own_micro_batches(model, groups)
    for here in cut[n_own:]:
        (0.0 * compute.scores(model, here).log_probs.sum()).backward()
    for here in cut[:n_own]:
        share = len(here) / len(groups)  # of the batch's groups: `extra` is a mean over groups
        ready, extra = prepare(here)
        scores = compute.scores(model, ready)
        micro = make_micro_batch(loss, ready, totals, scores.log_probs, None, None, None)
        value, metrics = loss(micro)
        sums.add(loss=float(value.detach()), **metrics, **micro.means(entropy=scores.entropies))
        if extra is not None:
            sums.add(auxiliary=float(extra.detach()) * share)
            value = value + share * extra
        value.backward()
    return compute.world.merged(sums.values)


def reference_backward(
    model: nn.Module, groups: Sequence[PromptGroup], compute: Compute, weight: float
) -> dict[str, float]:
    """Adds the gradient of `weight` times the cross-entropy of the groups' references, at temperature 1, the mean over
    their tokens. Returns {"cross_entropy"}, in nats per token, unweighted."""
    told = [
        replace(group, responses=[group.reference], advantages=[0.0], sampled=[], errors=[])
        for group in groups
        if group.reference is not None
    ]
    plain = replace(compute, temperature=1.0)
    metrics = sft_backward(model, told, plain, lambda here: (here, None), Sft(weight))
    return {"cross_entropy": metrics["loss"] / weight}


def apply_gradient(
    optimizer: torch.optim.Optimizer, lr: float, max_norm: float, world: World = ALONE
) -> float:  # fmt: skip
    """Clips to `max_norm` (0: no clipping), steps, clears. Returns the norm before clipping; ArlError if not finite."""
    found = {p: gradient_of(p) for group in optimizer.param_groups for p in group["params"]}
    gradients = {parameter: gradient for parameter, gradient in found.items() if gradient is not None}
    total = world.total_norm(gradients)
    norm = float(total)
    if not math.isfinite(norm):
        raise ArlError(f"the gradient's norm is {norm}: lower --lr, or look for a sample with extreme values")
    if max_norm and norm > max_norm:
        torch._foreach_mul_(list(gradients.values()), max_norm / (total + 1e-6))
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
