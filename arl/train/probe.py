"""The probe of a policy: fixed text tokens and the log-probabilities its own weights give them.

Stored in `arl.json` when the policy is written, by the process that holds the weights; `arl sync` asks the
engine for the same numbers after a load and compares. Text only, so that it needs no audio at hand.
"""

from typing import Any

import torch

from arl.errors import ArlError

LENGTH = 24


def probe_tokens(vocab_size: int, audio_token_id: int) -> list[int]:
    """LENGTH token ids from all over the vocabulary, without the audio placeholder; the first is the prompt."""
    ids = [(7 + 37 * index * index + 11 * index) % vocab_size for index in range(LENGTH)]
    return [(token + 1) % vocab_size if token == audio_token_id else token for token in ids]


@torch.no_grad()
def make_probe(model: Any, audio_token_id: int) -> dict[str, list]:
    """{"tokens": [LENGTH], "logprobs": [LENGTH − 1] of each token after the first, float32 nats}."""
    tokens = probe_tokens(model.config.vocab_size, audio_token_id)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    ids = torch.tensor([tokens], device=device)
    log_probs = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    model.train(was_training)
    values = log_probs.gather(-1, ids[0, 1:, None]).squeeze(-1)
    if not torch.isfinite(values).all():
        raise ArlError("the LLM gives NaN or infinite log-probabilities, so no policy of it is written")
    return {"tokens": tokens, "logprobs": [round(float(value), 7) for value in values]}
