"""The shared-prefix computation against the plain one, in float64, forward and backward."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from arl.errors import ArlError
from arl.train import attention, layout, shared_prefix
from arl.train.groups import PromptGroup
from arl.train.packing import Packing
from arl.train.shared_prefix import check_decoder, per_row_log_probs, self_check, shared_log_probs
from tests.train.exact import (
    AUDIO,
    HIDDEN,
    VOCABULARY,
    float64_layers,
    gradients,
    largest_difference,
    make_decoder,
    make_group,
)  # fmt: skip

SLIDING = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.manual_seed(0)
    with float64_layers():
        yield


@pytest.fixture(autouse=True, params=["packed", "dense"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs on both layouts: packed groups, and padded rows with a mask."""
    if request.param == "dense":
        monkeypatch.setattr(attention, "packs", lambda model: False)
    return request.param


def assert_equal(model: Any, groups: list[PromptGroup], audio_token_id: int = AUDIO, temperature: float = 1.0) -> None:
    """Log-probs and the gradient of a random weighting of them, of all parameters and clips, agree to 1e-10."""
    n_tokens = sum(group.n_tokens for group in groups)
    weights = torch.randn(n_tokens, dtype=torch.float64)
    clips = [clip.requires_grad_() for group in groups for clip in group.clips]

    def backward(log_probs: torch.Tensor) -> dict[str, torch.Tensor]:
        (weights * log_probs).sum().backward()
        of_clips = {f"clip {i}": clip.grad for i, clip in enumerate(clips)}
        for clip in clips:
            clip.grad = None
        return gradients(model) | of_clips

    shared = shared_log_probs(model, groups, audio_token_id, temperature, chunk=7).log_probs
    found = backward(shared)
    rows = per_row_log_probs(model, groups, audio_token_id, temperature)
    expected = backward(rows)
    assert shared.dtype == torch.float64 and shared.shape == (n_tokens,)
    assert float((shared - rows).detach().abs().max()) < 1e-10 * float(rows.detach().abs().max())
    assert largest_difference(found, expected) < 1e-10


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "llama"])
def test_ragged_groups_of_different_lengths_in_one_micro_batch(model_type):
    groups = [make_group(seed, n_hyps=n) for seed, n in enumerate((5, 1, 12, 3))]
    assert len({group.row_length for group in groups}) > 2  # so that there is padding
    assert_equal(make_decoder(model_type), groups)


def test_which_layout_is_taken(path):
    assert shared_prefix.is_packed(make_decoder()) == (path == "packed")


@pytest.mark.parametrize("settings", [{"num_key_value_heads": 4}, {"num_key_value_heads": 1}])
def test_key_heads_of_their_own_and_one_for_all(settings):
    assert_equal(make_decoder(**settings), [make_group(seed, n_hyps=n) for seed, n in enumerate((4, 1, 7))])


def test_a_long_response_beside_short_ones():
    groups = [make_group(0, 6), make_group(1, 3, longest=60), make_group(2, 2)]
    assert max(len(r) for group in groups for r in group.responses) > 20
    assert_equal(make_decoder(), groups)


@pytest.mark.parametrize("n_hyps", range(1, 13))
def test_every_group_size(n_hyps):
    assert_equal(make_decoder(), [make_group(100 + n_hyps, n_hyps)])


def test_single_hypotheses_with_padding_need_no_mask():
    groups = [make_group(seed, n_hyps=1, longest=9) for seed in range(4)]
    model = make_decoder()
    rows = shared_prefix.lay_out(model, groups, AUDIO)
    assert shared_prefix.attention_masks(rows, model.config) is None
    assert_equal(model, groups)


def test_responses_of_one_token_lie_behind_the_prompt_alone():
    group = make_group(0, n_hyps=4, longest=1)
    assert group.row_length == group.prompt_length
    assert_equal(make_decoder(), [group, make_group(1, n_hyps=3)])


@pytest.mark.parametrize("n_clips", [0, 1, 2])
def test_clips_in_the_prompt(n_clips):
    assert_equal(make_decoder(), [make_group(seed, 3, n_clips=n_clips) for seed in range(3)])


def test_placeholder_beyond_the_vocabulary():
    audio = VOCABULARY + 1000
    assert_equal(make_decoder(), [make_group(seed, 3, n_clips=2, audio_token_id=audio) for seed in range(3)], audio)


def test_untied_head_and_temperature():
    assert_equal(make_decoder(tie_word_embeddings=False), [make_group(0, 4), make_group(1, 2)], temperature=0.7)


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [("qwen2", SLIDING), ("qwen3", SLIDING), ("mistral", {"sliding_window": 5})],  # mistral: every layer, none listed
)
def test_sliding_windows_count_positions_of_the_response_not_places_of_the_row(model_type, settings):
    model = make_decoder(model_type, **settings)
    assert not shared_prefix.is_packed(model)
    groups = [make_group(seed, n_hyps=n, longest=12) for seed, n in enumerate((6, 1, 3))]
    assert max(group.prompt_length for group in groups) > 5
    assert_equal(model, groups)


def test_log_probs_are_those_of_the_model_itself():
    model, group = make_decoder(), make_group(3, n_hyps=1, n_clips=0)
    ids = torch.cat([group.prompt, group.responses[0]])[None]
    logits = model(input_ids=ids, use_cache=False).logits[0, len(group.prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, group.responses[0][:, None]).squeeze(-1)
    scores = shared_log_probs(model, [group], AUDIO)
    torch.testing.assert_close(scores.log_probs, expected, rtol=1e-12, atol=1e-12)
    entropies = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(scores.entropies, entropies, rtol=1e-12, atol=1e-12)


def test_hypotheses_do_not_see_each_other_nor_other_groups():
    model, first, second = make_decoder(), make_group(0, 3), make_group(1, 2)
    alone = shared_log_probs(model, [first], AUDIO).log_probs
    first.responses[2] = first.responses[2].flip(0) % (VOCABULARY - AUDIO - 1) + AUDIO + 1
    together = shared_log_probs(model, [second, first], AUDIO).log_probs[second.n_tokens :]
    unchanged = len(first.responses[0]) + len(first.responses[1])
    torch.testing.assert_close(together[:unchanged], alone[:unchanged], rtol=1e-12, atol=1e-12)


def test_recurrent_hybrids_are_refused():
    from transformers import AutoConfig

    config = AutoConfig.for_model("qwen3_next")
    assert "linear_attention" in config.layer_types
    with pytest.raises(ArlError, match="qwen3_next: layers .*linear_attention.* carry state"):
        check_decoder(config)


def test_dropout_in_attention_is_refused():
    with pytest.raises(ArlError, match="attention_dropout must be 0"):
        check_decoder(make_decoder(attention_dropout=0.1).config)


def test_self_check_passes_where_both_agree():
    groups = [make_group(seed, n_hyps=3) for seed in range(4)]
    assert 0 <= self_check(make_decoder(), groups, AUDIO, 1e-9) < 1e-9


def test_self_check_fails_where_hypotheses_see_each_other(monkeypatch):
    def as_one(lengths: list[tuple[int, list[int]]], device: torch.device) -> Packing:
        return Packing([(prompt, [sum(responses)]) for prompt, responses in lengths], device)

    monkeypatch.setattr(shared_prefix, "attention_masks", lambda rows, config: None)  # as a recurrent layer would
    monkeypatch.setattr(layout, "Packing", as_one)
    # the smallest groups have one hypothesis, which shares nothing: the check must look at another
    groups = [make_group(0, n_hyps=1), make_group(1, n_hyps=4, prompt_length=20), make_group(2, n_hyps=1)]
    with pytest.raises(ArlError, match="qwen2: this decoder is not supported"):
        self_check(make_decoder(), groups, AUDIO, 1e-3)


def test_wrong_embedding_width_and_missing_clips_are_one_line_errors():
    group = make_group(0, n_hyps=2)
    group.clips = [torch.zeros(4, HIDDEN + 1, dtype=torch.float64)]
    with pytest.raises(ArlError, match=f"utt-0: embeddings are {HIDDEN + 1} wide, the LLM's {HIDDEN}"):
        shared_log_probs(make_decoder(), [group], AUDIO)
    group.clips = []
    with pytest.raises(ArlError, match=r"utt-0: the prompt has 1 audio placeholder\(s\) for 0 clip"):
        shared_log_probs(make_decoder(), [group], AUDIO)


def test_empty_responses_are_refused():
    with pytest.raises(ArlError, match="responses of at least one token"):
        PromptGroup("utt", torch.tensor([1]), [], [torch.tensor([], dtype=torch.long)])
