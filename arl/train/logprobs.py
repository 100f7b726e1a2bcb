"""Log-probabilities of given tokens from hidden states, in chunks, never holding [N, V] logits.

The forward saves only the log-sum-exp of each position; the backward recomputes each chunk's logits and
accumulates the gradients of the hidden states, the head and its bias in place.

Left out: liger-kernel 0.8.5. LigerFusedLinearCrossEntropyFunction(reduction="none") weighs each token in its backward,
but gives no entropies, and in bfloat16 rounds the gradient of the logits; LigerFusedLinearScaledCrossEntropyFunction
gives them, but is fused on compute capability 9.0 in bfloat16 without bias only, and else chunked PyTorch as here.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from arl.errors import ArlError
from arl.losses.acoustic import Codebook, CodeLogits


@dataclass
class TokenScores:
    """Per response token, flat [N]: log_probs (differentiable) and entropies in nats (not).

    Where a codebook is given, codes: for the M acoustic tokens among them, the logits over the codebook alone
    (differentiable), and stop: the probability of any stop token at each response token [N] (not).
    """

    log_probs: Tensor
    entropies: Tensor
    codes: CodeLogits | None = None
    stop: Tensor | None = None


@dataclass(frozen=True)
class LogitRule:
    """What a decoder's class does to h Wᵀ + b before the softmax: times `scale`, then softcap·tanh(x/softcap) (0: no
    cap)."""

    scale: float = 1.0
    softcap: float = 0.0

    @classmethod
    def of(cls, config: Any) -> "LogitRule":
        """Granite divides by `logits_scaling`, Cohere multiplies by `logit_scale`, Gemma caps."""
        scale = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
        return cls(float(scale), float(getattr(config, "final_logit_softcapping", None) or 0.0))

    def __call__(self, logits: Tensor) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale
        return self.softcap * (logits / self.softcap).tanh() if self.softcap else logits

    def slope_(self, slope: Tensor, logits: Tensor | None) -> Tensor:
        """A gradient of the results → of the products, in place. logits: the results, needed where they are capped."""
        if logits is not None:
            slope.mul_(1 - (logits / self.softcap) ** 2)
        return slope.mul_(self.scale) if self.scale != 1.0 else slope


PLAIN = LogitRule()


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 stays, everything else is computed in float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class ChunkedLogProb(torch.autograd.Function):
    """log softmax(rule(h Wᵀ + b)/T) at the target. h [N, H], W [V, H], b [V] or None, target int64 [N] → ([N], [N]),
    the log-probabilities and the entropies."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, temperature: float, chunk: int,
        rule: LogitRule = PLAIN,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        dtype = working_dtype(weight.dtype)
        log_probs = torch.empty(len(target), dtype=dtype, device=hidden.device)
        log_sums, entropies = torch.empty_like(log_probs), torch.empty_like(log_probs)
        for start in range(0, len(target), chunk):
            part = slice(start, start + chunk)
            logits = scaled_logits(hidden[part], weight, bias, temperature, dtype, rule)  # [chunk, V]
            log_sums[part] = logits.logsumexp(-1)
            log_probs[part] = logits.gather(-1, target[part, None]).squeeze(-1) - log_sums[part]
            probs = (logits - log_sums[part, None]).exp_()  # [chunk, V]
            entropies[part] = log_sums[part] - torch.linalg.vecdot(probs, logits)  # −Σ p·log p = log Z − Σ p·logit
        ctx.save_for_backward(hidden, weight, bias, target, log_sums)
        ctx.temperature, ctx.chunk, ctx.rule = temperature, chunk, rule
        ctx.mark_non_differentiable(entropies)
        return log_probs, entropies

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _entropies: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, target, log_sums = ctx.saved_tensors
        dtype = log_sums.dtype
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_weight = torch.zeros_like(weight, dtype=dtype) if ctx.needs_input_grad[1] else None
        to_bias = torch.zeros_like(bias, dtype=dtype) if bias is not None and ctx.needs_input_grad[2] else None
        for start in range(0, len(target), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = scaled_logits(hidden[part], weight, bias, ctx.temperature, dtype, ctx.rule)
            capped = logits * ctx.temperature if ctx.rule.softcap else None
            scaled = gradient[part] / ctx.temperature  # [chunk]
            # d log p / d logits = onehot − softmax, times the incoming gradient: [chunk, V]
            slope = logits.sub_(log_sums[part, None]).exp_().mul_(-scaled[:, None])
            slope.scatter_add_(1, target[part, None], scaled[:, None])
            ctx.rule.slope_(slope, capped)
            if to_hidden is not None:
                to_hidden[part] = (slope.to(weight.dtype) @ weight).to(hidden.dtype)
            if to_weight is not None:
                to_weight.addmm_(slope.T, hidden[part].to(dtype))
            if to_bias is not None:
                to_bias += slope.sum(0)
        as_weight = to_weight.to(weight.dtype) if to_weight is not None else None
        as_bias = to_bias.to(bias.dtype) if to_bias is not None else None
        return to_hidden, as_weight, as_bias, None, None, None, None


def scaled_logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float, dtype: torch.dtype, rule: LogitRule = PLAIN
) -> Tensor:
    """rule(h Wᵀ + b) / T in the working dtype; [n, V]."""
    logits = (hidden.to(weight.dtype) @ weight.T).to(dtype)
    if bias is not None:
        logits = logits + bias
    logits = rule(logits)
    return logits / temperature if temperature != 1.0 else logits


def response_scores(
    model: nn.Module, hidden: Tensor, target: Tensor, temperature: float, chunk: int, codebook: Codebook | None = None
) -> TokenScores:
    """Scores `target` [N] under the model's own LM head applied to `hidden` [N, H]."""
    head = model.get_output_embeddings()
    weight, bias, rule = head.weight, getattr(head, "bias", None), LogitRule.of(getattr(model, "config", None))
    with torch.autocast(hidden.device.type, enabled=False):
        scores = TokenScores(*ChunkedLogProb.apply(hidden, weight, bias, target, temperature, chunk, rule))
        if codebook is not None:
            scores.codes = code_logits(hidden, weight, bias, target, temperature, codebook, rule)
            scores.stop = stop_probability(hidden, weight, bias, target, temperature, codebook, scores.log_probs, rule)
    return scores


def code_logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, temperature: float, codebook: Codebook,
    rule: LogitRule = PLAIN,
) -> CodeLogits:  # fmt: skip
    """The codebook's slice of the logits at those of the positions [N] that hold a code. Without gradients it has rows
    of its own of the head, whose weights may then leave."""
    codes = slice(codebook.first, codebook.first + codebook.size)
    rows, own_bias = weight[codes], None if bias is None else bias[codes]
    if not torch.is_grad_enabled():
        rows, own_bias = rows.clone(), None if own_bias is None else own_bias.clone()

    def logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return scaled_logits(hidden, weight, bias, temperature, working_dtype(weight.dtype), rule)

    return CodeLogits(hidden[codebook.is_code(target)], rows, own_bias, logits)


@torch.no_grad()
def stop_probability(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, temperature: float, codebook: Codebook,
    log_probs: Tensor, rule: LogitRule = PLAIN,
) -> Tensor:  # fmt: skip
    """p(any of the S stops) at each position [N]: from their logits, the target's and its log-probability."""
    if rule.softcap:
        raise ArlError("final_logit_softcapping: a loss on acoustic tokens needs logits that are linear in the head")
    # log p(stop) − log p(target) = (logit of stop − logit of the target) / T: no other logit is needed
    stops, at = torch.tensor(codebook.stops, device=weight.device), hidden.to(log_probs)
    own = torch.linalg.vecdot(weight[target].to(log_probs), at)
    difference = at @ weight[stops].to(log_probs).T - own[:, None]  # [N, S]
    if bias is not None:
        difference = difference + (bias[stops] - bias[target][:, None])
    return (log_probs[:, None] + difference * rule.scale / temperature).exp().sum(-1)
