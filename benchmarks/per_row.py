"""The per-row computation of a GRPO step, done well: what the shared-prefix update is measured against.

Every response is a row behind its own copy of the prompt, as in TRL and most trainers: rows of similar length are
padded into batches by a token budget, attention is the stock causal one, and only response positions go through the
LM head, in chunks, by the same function the shared-prefix update uses. The loss and its weights are the same, so the
gradients must agree. Left out: other losses, old log-probabilities.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from arl.losses.grpo import Grpo
from arl.losses.micro_batch import MicroBatch
from arl.train.groups import PromptGroup, embed_prompt
from arl.train.logprobs import response_scores


@dataclass
class Row:
    """One response of one group and the weight of each of its tokens in the loss."""

    group: PromptGroup
    response: Tensor
    advantage: float
    weight: float

    @property
    def length(self) -> int:
        return self.group.prompt_length + len(self.response) - 1


def rows_of(groups: Sequence[PromptGroup]) -> list[Row]:
    return [
        Row(group, response, advantage, 1.0 / (len(groups) * len(group.responses) * len(response)))
        for group in groups
        for response, advantage in zip(group.responses, group.advantages, strict=True)
    ]


def row_batches(rows: Sequence[Row], token_budget: int) -> Iterator[list[Row]]:
    """Rows in the order of their length, as many as fit `token_budget` padded positions, one at least."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: row.length):
        if batch and row.length * (len(batch) + 1) > token_budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def row_log_probs(model: nn.Module, rows: Sequence[Row], audio_token_id: int, chunk: int) -> tuple[Tensor, Tensor]:
    """(log-probabilities, entropies) of the rows' response tokens, flat [N], in the rows' order."""
    embedding: Any = model.get_input_embeddings()
    device = embedding.weight.device
    prompts = {row.group.key: row.group for row in rows}
    embedded = {key: embed_prompt(embedding, group, audio_token_id) for key, group in prompts.items()}
    inputs = [torch.cat([embedded[row.group.key], embedding(row.response[:-1].to(device))]) for row in rows]
    batch = nn.utils.rnn.pad_sequence(inputs, batch_first=True)
    length = batch.shape[1]
    # padding is on the right: with causal attention no mask is needed
    hidden = model.get_decoder()(inputs_embeds=batch, use_cache=False).last_hidden_state
    predictor = torch.cat([
        index * length + row.group.prompt_length - 1 + torch.arange(len(row.response)) for index, row in enumerate(rows)
    ])  # fmt: skip
    target = torch.cat([row.response for row in rows]).to(device)
    scores = response_scores(model, hidden.flatten(0, 1)[predictor.to(device)], target, 1.0, chunk)
    return scores.log_probs, scores.entropies


def row_backward(
    model: nn.Module, groups: Sequence[PromptGroup], loss: Grpo, reference: nn.Module | None, audio_token_id: int,
    token_budget: int = 8192, chunk: int = 512, autocast: torch.dtype | None = None,
) -> float:  # fmt: skip
    """`arl.train.step.policy_backward`, per row: adds the gradient to the parameters, returns the loss."""
    total = 0.0
    device = next(model.parameters()).device
    for rows in row_batches(rows_of(groups), token_budget):
        with torch.autocast(device.type, autocast or torch.bfloat16, enabled=autocast is not None):
            log_probs, _ = row_log_probs(model, rows, audio_token_id, chunk)
            anchor = None
            if reference is not None:
                with torch.no_grad():
                    anchor, _ = row_log_probs(reference, rows, audio_token_id, chunk)
        lengths = torch.tensor([len(row.response) for row in rows])
        weights = torch.tensor([row.weight for row in rows]).repeat_interleave(lengths).to(log_probs)
        advantages = torch.tensor([row.advantage for row in rows]).repeat_interleave(lengths).to(log_probs)
        value, _ = loss(MicroBatch(log_probs, None, anchor, advantages, weights))
        value.backward()
        total += float(value.detach())
    return total
