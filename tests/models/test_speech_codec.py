"""The speech tokenizer: its quantiser, that a batch gives what its clips give alone, its files, and that it learns."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.models.qwen2_flow import codec as codecs
from arl.models.qwen2_flow.codec import Codec, Fsq
from arl.models.qwen2_flow.codec_train import codec_losses, heard, train_codec

TINY = {"width": 32, "heads": 2, "before": 2, "after": 1, "levels": 3, "dims": 3}


def make_codec(seed: int = 0) -> Codec:
    torch.manual_seed(seed)
    return Codec(**TINY).requires_grad_(False).eval()


@pytest.mark.parametrize(("levels", "dims"), [(3, 6), (5, 4), (3, 1)])
def test_every_code_has_its_place_in_the_grid(levels, dims):
    fsq = Fsq(levels, dims)
    codes = torch.arange(fsq.n_codes)
    steps = fsq.steps(codes)
    assert steps.shape == (levels**dims, dims) and len(steps.unique(dim=0)) == levels**dims
    assert torch.equal(fsq.codes(steps), codes)


def test_even_levels_have_no_middle():
    with pytest.raises(ArlError, match="odd"):
        Fsq(4, 2)


def test_quantisation_rounds_and_passes_the_gradient_of_the_bounded_value():
    fsq = Fsq(3, 2)
    x = torch.tensor([[0.1, 3.0], [-0.7, -0.2]], dtype=torch.float64, requires_grad=True)
    steps = fsq(x)
    assert steps.tolist() == [[0, 1], [-1, 0]]
    steps.sum().backward()
    torch.testing.assert_close(x.grad, 1 - x.detach().tanh() ** 2)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(0, 9))
@settings(deadline=None, max_examples=15)
def test_a_batch_gives_what_its_clips_give_alone(lengths, seed):
    codec = make_codec()
    generator = torch.Generator().manual_seed(seed)
    mels = [torch.randn(2 * n, 80, generator=generator) for n in lengths]
    together = codec.encode(mels)
    for mel, codes in zip(mels, together, strict=True):
        assert torch.equal(codec.encode([mel])[0], codes) and len(codes) == len(mel) // 2
    padded = torch.nn.utils.rnn.pad_sequence(mels, True)
    valid = codec.valid(torch.tensor(lengths), max(lengths))
    steps = torch.nn.utils.rnn.pad_sequence([codec.fsq.steps(codes) for codes in together], True)
    log_probs, again = codec.heads_of(steps, valid)
    for row, (mel, codes) in enumerate(zip(mels, together, strict=True)):
        alone = codec.heads_of(codec.fsq.steps(codes)[None], torch.ones(1, len(codes), 1, dtype=torch.bool))
        torch.testing.assert_close(log_probs[row, : len(mel)], alone[0][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(again[row, : len(mel)], alone[1][0], rtol=0, atol=1e-5)
    assert padded.shape[1] == again.shape[1]


def test_a_saved_codec_is_the_same_and_a_wrong_file_is_refused(tmp_path: Path):
    codec = make_codec()
    codecs.save(codec, tmp_path / "frontend")
    mel = torch.randn(20, 80, generator=torch.Generator().manual_seed(0))
    assert torch.equal(codecs.load(tmp_path / "frontend").encode([mel])[0], codec.encode([mel])[0])
    (tmp_path / "frontend" / "codec.json").write_text('{"width": 64, "heads": 2}')
    with pytest.raises(ArlError, match="not the weights"):
        codecs.load(tmp_path / "frontend")
    with pytest.raises(ArlError, match="cannot tokenise"):
        codecs.load(tmp_path)


@pytest.mark.slow
def test_it_learns_to_recognise_and_to_give_the_mels_back():
    """Letters that are spectral shapes of ten frames: after training the codes carry the text."""
    generator = torch.Generator().manual_seed(0)
    shapes = {letter: torch.randn(80, generator=generator) for letter in "abcd"}
    texts = ["abcd", "dcba", "acbd", "bd", "cab", "ddca", "badc", "ca"]

    def mel(text: str) -> torch.Tensor:
        frames = torch.cat([shapes[letter].expand(10, -1) for letter in text])
        return frames + 0.1 * torch.randn(frames.shape, generator=generator)

    mels = [mel(text) for text in texts]
    before = [float(value) for value in codec_losses(make_codec(), mels, texts)]
    codec = train_codec(mels, texts, steps=400, seed=0, lr=6e-3, **TINY)
    after = [float(value) for value in codec_losses(codec, mels, texts)]
    assert after[0] < 0.5 * before[0] and after[1] < 0.8 * before[1]
    right = sum(found == text for found, text in zip(heard(codec, mels), texts, strict=True))
    assert right >= 6


def test_the_draft_is_what_the_mel_head_makes_of_the_codes():
    codec = make_codec()
    draft = codecs.Draft.of(codec).train()  # whatever trains around it
    lengths = torch.tensor([9, 4])
    steps, valid = codec.quantise(torch.randn(2, 18, 80), lengths)
    _, wanted = codec.heads_of(steps, valid)
    made = draft(codec.fsq.codes(steps), lengths)
    for row, other, n in zip(made, wanted, lengths, strict=True):
        torch.testing.assert_close(row[: 2 * n], other[: 2 * n], rtol=0, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in draft.parameters())
