"""Attention of packed groups against a softmax with the whole mask, forward and backward."""

import pytest
import torch
from torch import Tensor

from arl.train import attention, packing
from arl.train.attention import SharedPrompt, has_flash, packs, use_shared_attention
from arl.train.groups import PromptGroup
from arl.train.packing import BLOCK, BUCKET, Packing
from arl.train.shared_prefix import per_row_log_probs, shared_log_probs
from tests.train.exact import AUDIO, make_decoder

LAYOUTS = {
    "ragged": [(7, [3, 40, 1, 0, 2]), (33, [5]), (1, [0, 0]), (2, [1, 1])],
    "one response": [(5, [4])],
    "prompts alone": [(3, []), (4, [0])],
    "longer than the kernels' blocks": [(600, [70] * 3 + [300]), (20, [2])],
}


@pytest.fixture
def fresh_check(monkeypatch):
    """The kernels' one-time trial, to be made again and forgotten."""
    has_flash.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    has_flash.cache_clear()


def tensors(layout: Packing, heads: int, kv_heads: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Query, key, value [1, heads, L, 8] as a decoder gives them, and a slope [1, L, heads, 8]."""
    generator = torch.Generator().manual_seed(0)
    length = layout.groups[-1][2]
    rows = [torch.randn(1, length, n, 8, generator=generator, dtype=dtype) for n in (heads, kv_heads, kv_heads, heads)]
    return [row.transpose(1, 2).requires_grad_() for row in rows[:3]] + [rows[3]]


def dense_mask(layout: Packing) -> Tensor:
    """bool [L, L], from the lengths alone."""
    length = layout.groups[-1][2]
    mask, start = torch.zeros(length, length, dtype=torch.bool), 0
    for prompt, responses in layout.lengths:
        end = start + prompt
        mask[start:end, start:end] = torch.ones(prompt, prompt).tril().bool()
        for n in responses:
            mask[end : end + n, start : start + prompt] = True
            mask[end : end + n, end : end + n] = torch.ones(n, n).tril().bool()
            end += n
        start = end
    return mask


def plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    repeats = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(repeats, dim=1) for t in (key, value))
    scores = (scale * query @ key.transpose(-1, -2)).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("lengths", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (3, 1)])
def test_equals_the_masked_softmax(lengths, heads, kv_heads):
    layout = Packing(lengths)
    *leaves, slope = tensors(layout, heads, kv_heads)
    found = SharedPrompt.apply(*leaves, layout, 0.3)
    expected = plain(*leaves, dense_mask(layout), 0.3)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = (torch.autograd.grad((slope * out).sum(), leaves) for out in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_lower_precisions(dtype, tolerance):
    layout = Packing(LAYOUTS["ragged"])
    *leaves, slope = tensors(layout, 4, 2, dtype)
    found = SharedPrompt.apply(*leaves, layout, 0.3)
    assert found.dtype == dtype
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = plain(*exact, dense_mask(layout), 0.3)
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    for one, other in zip(
        torch.autograd.grad((slope * found).sum(), leaves),
        torch.autograd.grad((slope * expected).sum(), exact),
        strict=True,
    ):
        torch.testing.assert_close(one.double(), other, rtol=4 * tolerance, atol=4 * tolerance)


def test_buckets_hold_every_response_once_and_pad_little():
    layout = Packing([(4, [1, 30, 2, 0]), (9, [31, 3, 28, 7])])
    written = torch.cat([bucket.write_index for bucket in layout.buckets])
    length = layout.groups[-1][2]
    real = written[written < length]
    prompts = torch.cat([torch.arange(start, end) for start, end, _ in layout.groups])
    assert sorted(real.tolist() + prompts.tolist()) == list(range(length))
    for bucket in layout.buckets:
        positions = (bucket.write_index.view(bucket.shape) < length).sum(1)
        assert int(positions.max()) == bucket.shape[1] <= BUCKET * int(positions.min())
        assert (bucket.is_real is None) == bool((positions == bucket.shape[1]).all())


# ---- the mask of FlexAttention, without a GPU -------------------------------------------------------------------


@pytest.mark.parametrize("lengths", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_mask_function_is_the_mask(lengths):
    layout = Packing(lengths)
    place = torch.arange(layout.groups[-1][2])
    assert torch.equal(layout.sees(None, None, place[:, None], place[None]), dense_mask(layout))


@pytest.mark.parametrize("lengths", [*LAYOUTS.values(), [(BLOCK, [BLOCK, BLOCK])], [(300, [40] * 5)] * 3])
def test_the_blocks_are_those_that_torch_finds_in_the_whole_mask(lengths):
    from torch.nn.attention.flex_attention import create_block_mask

    layout = Packing(lengths)
    length = layout.groups[-1][2]
    whole = create_block_mask(layout.sees, None, None, length, length, device="cpu", BLOCK_SIZE=BLOCK)
    assert layout.block_mask.shape == whole.shape
    for name in ("kv", "full_kv", "q", "full_q"):
        counts, blocks = (getattr(layout.block_mask, f"{name}_{kind}") for kind in ("num_blocks", "indices"))
        other_counts, other_blocks = (getattr(whole, f"{name}_{kind}") for kind in ("num_blocks", "indices"))
        assert torch.equal(counts, other_counts)
        for row in range(counts.shape[-1]):
            n = int(counts[0, 0, row])
            assert blocks[0, 0, row, :n].tolist() == other_blocks[0, 0, row, :n].tolist()


def test_flex_attention_with_this_mask_is_the_same_attention():
    from torch.nn.attention.flex_attention import flex_attention

    layout = Packing(LAYOUTS["ragged"])
    *leaves, _ = (t.detach() for t in tensors(layout, 4, 2, torch.float32))
    found = flex_attention(*leaves, block_mask=layout.block_mask, scale=0.3, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(found, plain(*leaves, dense_mask(layout), 0.3), rtol=1e-5, atol=1e-5)


# ---- when it is used --------------------------------------------------------------------------------------------


def test_the_installed_torch_has_the_kernels(fresh_check):
    assert has_flash()


def test_without_the_kernels_the_masks_are_taken(fresh_check):
    model = make_decoder()
    assert packs(model)
    has_flash.cache_clear()
    fresh_check.setattr(attention, "BACKWARD", "_an_operator_that_torch_has_renamed")
    assert not packs(model)


def test_kernels_that_compute_something_else_are_not_used(fresh_check):
    fresh_check.setattr(packing.Bucket, "scatter", lambda *args: None)
    assert not has_flash()


def test_a_decoder_that_does_not_ask_for_it_keeps_its_attention():
    model = make_decoder(attention=False)
    assert model.config._attn_implementation == "sdpa" and not packs(model)
    assert packs(use_shared_attention(model))
    assert "_attn_implementation" not in model.config.to_dict()


def test_bfloat16_autocast_takes_the_same_path():
    model = make_decoder().float()
    tokens = torch.tensor([9, 8, 7])
    groups = [PromptGroup("utt", tokens, [], [tokens, tokens[:2], tokens[:1]])]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = shared_log_probs(model, groups, AUDIO).log_probs
        expected = per_row_log_probs(model, groups, AUDIO)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=0.1)
