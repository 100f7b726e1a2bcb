"""Log-probabilities of a group's responses with the prompt computed once (shared-prefix attention).

A group is one row `[prompt, resp_1 … resp_G]` (each response without its last token, which predicts
nothing); a response attends to the prompt and to itself, and its positions start again behind the prompt.
The result, forward and backward, equals the G·(P+R) per-row computation, which `per_row_log_probs` does
literally: it is the reference in the tests and in the first-batch self-check.

Any decoder whose layers are full or sliding-window attention works. Where `arl.train.attention` packs, the groups
lie behind each other in one row, without padding or mask; else they are padded rows with a block mask through the
stock attention. Recurrent and hybrid decoders carry state along the row and are refused.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from arl.engine.longest import rope_limit, window
from arl.errors import ArlError
from arl.losses.acoustic import Codebook
from arl.train import attention
from arl.train.groups import PromptGroup, embed_prompt
from arl.train.layout import RowBatch, lay_out
from arl.train.logprobs import TokenScores, response_scores

ATTENTION_LAYERS = {"full_attention", "sliding_attention"}


def layer_kinds(config: Any) -> set[str]:
    """The kinds of layers of a decoder. Where its configuration lists none, `sliding_window` means that all slide."""
    listed = getattr(config, "layer_types", None)
    kinds = set(listed or ["sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"])
    if "sliding_attention" in kinds and window(vars(config)) is None:  # no shorter than the longest sequence
        kinds = kinds - {"sliding_attention"} | {"full_attention"}
    return kinds


def check_decoder(config: Any) -> None:
    """ArlError for decoders that a shared row would silently compute wrongly."""
    kinds = layer_kinds(config)
    if kinds - ATTENTION_LAYERS:
        raise ArlError(f"{config.model_type}: layers {sorted(kinds - ATTENTION_LAYERS)} carry state along the row; "
                       "the shared-prefix update needs attention layers only")  # fmt: skip
    if getattr(config, "attention_dropout", 0.0):
        raise ArlError(f"{config.model_type}: attention_dropout must be 0 for the update (config.json)")
    if getattr(config, "attn_logit_softcapping", None):
        raise ArlError(f"{config.model_type}: attn_logit_softcapping: neither the update nor the engine has it")


def check_lengths(config: Any, groups: Sequence[PromptGroup]) -> None:
    """ArlError for a group that is longer than the rope keeps its frequencies (arl/engine/longest.py)."""
    limit = rope_limit(vars(config))
    for group in groups:
        longest = group.prompt_length + max(len(response) for response in group.responses)
        if limit is not None and longest > limit:
            raise ArlError(f"{group.key}: {longest} positions, but the rope of this {config.model_type} turns to other "
                           f"frequencies behind {limit}: leave out what is longer")  # fmt: skip


def is_packed(model: Any) -> bool:
    """Whether the groups of a micro-batch lie in one row: full attention only, and a fast path for it."""
    return layer_kinds(model.config) == {"full_attention"} and attention.packs(model)


def attention_masks(rows: RowBatch, config: Any) -> Any:
    """What the decoder takes as `attention_mask`: bool [B, 1, L, L], a dict by kind where some layers slide, or None.

    None, plain causal attention, is exact when every row has one response: padding is on the right.
    """
    kinds = layer_kinds(config)
    if int(rows.segment.max()) <= 1 and kinds == {"full_attention"}:
        return None
    length = rows.segment.shape[1]
    order = torch.arange(length, device=rows.segment.device)  # [L]
    query, key = rows.segment[:, :, None], rows.segment[:, None, :]  # [B, L, 1], [B, 1, L]
    causal = order[None, :, None] >= order[None, None, :]  # [1, L, L]
    # what is before it, in its prompt (segment 0) or its own response: [B, L, L]
    # a padding position sees only itself: an empty softmax row would be NaN
    full = causal & ((key == 0) | (key == query)) & ((key >= 0) | (order[:, None] == order[None, :]))
    if "sliding_attention" not in kinds:
        return full[:, None]
    distance = rows.position[:, :, None] - rows.position[:, None, :]  # in positions, not along the row: [B, L, L]
    sliding = full & (distance < config.sliding_window)
    if not getattr(config, "layer_types", None):  # such decoders take one mask for all layers
        return sliding[:, None]
    return {"full_attention": full[:, None], "sliding_attention": sliding[:, None]}


def shared_log_probs(
    model: nn.Module, groups: Sequence[PromptGroup], audio_token_id: int, temperature: float = 1.0, chunk: int = 512,
    codebook: Codebook | None = None,
) -> TokenScores:  # fmt: skip
    """Log-probabilities and entropies of every response token, flat [N] in the groups' and responses' order; with a
    codebook, the distributions over it as well."""
    check_lengths(model.config, groups)
    rows = lay_out(model, groups, audio_token_id, is_packed(model))
    decoder = model.get_decoder()
    if rows.packing is not None:  # any mask of four dimensions keeps the decoder from making one of its own
        extra = {"attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool), "packing": rows.packing}
    else:
        mask = attention_masks(rows, model.config)
        extra = {} if mask is None else {"attention_mask": mask}
    hidden = decoder(inputs_embeds=rows.embeds, position_ids=rows.position, use_cache=False, **extra).last_hidden_state
    predicting = hidden.flatten(0, 1).index_select(0, rows.predictor)  # [B, L, H] → [N, H]
    return response_scores(model, predicting, rows.target, temperature, chunk, codebook)


def per_row_log_probs(
    model: nn.Module, groups: Sequence[PromptGroup], audio_token_id: int, temperature: float = 1.0
) -> Tensor:
    """The same numbers by the plain computation: every response in a row of its own behind its own prompt. [N]."""
    scores = []
    for group in groups:
        for index, response in enumerate(group.responses):
            prompt = embed_prompt(model.get_input_embeddings(), group, audio_token_id)  # [P, H]
            target = response.to(prompt.device)  # [R]
            inputs = model.get_input_embeddings()(group.inputs[index].to(prompt.device))  # [R − 1, H]
            frames = group.frames(index)
            inputs = inputs if frames is None else inputs + frames.to(inputs)
            row = torch.cat([prompt, inputs])[None]  # [1, P + R − 1, H]
            logits = model(inputs_embeds=row, use_cache=False).logits[0, len(prompt) - 1 :]  # [R, V]
            if logits.dtype != torch.float64:
                logits = logits.float()
            scores.append((logits / temperature).log_softmax(-1).gather(-1, target[:, None]).squeeze(-1))
    return torch.cat(scores)


def self_check(model: nn.Module, groups: Sequence[PromptGroup], audio_token_id: int, tolerance: float) -> float:
    """Compares both computations on two small groups of a first batch; max |Δ log-prob|, ArlError beyond `tolerance`.
    Of half precision it is the mean: the largest difference is noise (0.23 with 28 layers of random weights).

    Two, so that one row is padded; of several responses where there are such, as one alone shares nothing.
    """
    small = sorted(groups, key=lambda group: (len(group.responses) == 1, group.row_length))[:2]
    with torch.no_grad():
        shared = shared_log_probs(model, small, audio_token_id).log_probs
        rows = per_row_log_probs(model, small, audio_token_id)
    is_half = next(model.parameters()).dtype in (torch.bfloat16, torch.float16)
    differences = (shared - rows).abs()
    difference = float(differences.mean() if is_half else differences.max())
    if not difference <= tolerance:
        raise ArlError(f"{small[0].key}: shared-prefix and per-row log-probs differ by {difference:.2e} (allowed "
                       f"{tolerance:.0e}) for {model.config.model_type}: this decoder is not supported")  # fmt: skip
    return difference
