"""A causal LM of SGLang whose input at each step has the other codes of its frame in it (imported by SGLang).

At a decode step the id that SGLang hands back is the frame's first code. The predictor (arl/engine/predictor.py) makes
the other codes of it and of the hidden state that it was sampled from, which is kept for each request's slot; their
embeddings are added to the first code's, and the codes go to the client with the step's token (`residual`).

Left out: ids in a prompt have no other codes (the probe of `arl sync`), so a request that has begun cannot be computed
again from its ids: it is aborted where SGLang would retract it (hooks.py). Scoring of a response with its frames.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from arl.engine.predictor import CodePredictor
from arl.engine.sglang_models import PREDICTOR, RESIDUAL


class ResidualCodes:
    """Mix-in in front of `AudioPrompt`."""

    model: torch.nn.Module  # the LM's
    get_input_embeddings: Any

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]  # the LM's
        self._predictor, self._predictor_weights = CodePredictor.open(Path(getattr(config, PREDICTOR)))
        self._predictor.requires_grad_(False).eval()
        self._hidden = torch.zeros(0, config.hidden_size)  # [slots, H]: the state that each request's next id is of
        self._states: list[torch.Tensor] = []
        self.model.register_forward_hook(lambda module, inputs, output: self._states.append(output))

    @torch.no_grad()
    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        forward_batch: Any,
        input_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `AudioPrompt.forward`; the output has the codes [B][L] of the ids it was given, None at a prompt."""
        slots = forward_batch.req_pool_indices
        rows: list[list[int] | None] = [None] * len(slots)
        if forward_batch.forward_mode.is_decode():
            first = self.get_input_embeddings()(input_ids)
            seeds = forward_batch.sampling_info.sampling_seed
            codes = self._predictor.sample(self._hidden[slots], first, seeds, positions)
            input_embeds, rows = first + self._predictor.history(codes), codes.tolist()
        forward = super().forward  # type: ignore[misc]  # AudioPrompt's, next in the resolution order
        output = forward(input_ids, positions, forward_batch, input_embeds=input_embeds, **kwargs)
        self._keep(slots, self._states.pop(), forward_batch)
        output.customized_info = {RESIDUAL: rows}
        return output

    def _keep(self, slots: torch.Tensor, states: torch.Tensor, forward_batch: Any) -> None:
        """Keeps the last hidden state of each request; states: of all positions of the batch [tokens, H]."""
        if not forward_batch.forward_mode.is_decode():
            states = states[forward_batch.extend_seq_lens.cumsum(0) - 1]
        missing = int(slots.max()) + 1 - len(self._hidden)
        if missing > 0:
            self._hidden = torch.cat([self._hidden.to(states), states.new_zeros(missing, states.shape[1])])
        self._hidden[slots] = states

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
        """The predictor's come from the host again too: memory that was released has lost them."""
        self._predictor.load_state_dict(self._predictor_weights)
        return super().load_weights(weights)  # type: ignore[misc]
