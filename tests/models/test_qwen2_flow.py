"""Codes to waveforms: a padded batch equals its clips, the solver and the inverse transform are what they say."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from arl.errors import ArlError
from arl.models.codes import codes_of
from arl.models.qwen2_flow import convnext, decoder, flow, vocoder
from arl.models.qwen2_flow.mel import (
    CODE_SAMPLES,
    EDGE,
    HOP,
    N_FFT,
    N_MELS,
    SPEAKER_DIM,
    filters,
    log_mel,
    speaker_vector,
    whole_codes,
)
from tests.tiny_tts import CODES, FLOW, make_tiny_decoder

FULL_SCALE = 1.0


@pytest.fixture(scope="module", params=["vocos", "griffin-lim"])
def tiny(request: pytest.FixtureRequest) -> decoder.Decoder:
    return make_tiny_decoder(vocoder=request.param)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clips(lengths: list[int], seed: int = 0) -> tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]]:
    """(codes, speakers, noises) of clips that are so many codes long."""
    generator = torch.Generator().manual_seed(seed)
    codes = [torch.randint(CODES, (n,), generator=generator) for n in lengths]
    speakers = torch.randn(len(lengths), SPEAKER_DIM, generator=generator)
    return codes, speakers, [decoder.noise_of(f"{seed}/{i}", 2 * n) for i, n in enumerate(lengths)]


def difference_from_alone(tiny: decoder.Decoder, lengths: list[int], seed: int = 0, **how: Any) -> float:
    codes, speakers, noises = clips(lengths, seed)
    together = tiny.decode(codes, speakers, noises, **how)
    worst = 0.0
    for i, wave in enumerate(together):
        (alone,) = tiny.decode([codes[i]], speakers[i : i + 1], [noises[i]], **how)
        assert wave.shape == alone.shape == (CODE_SAMPLES * lengths[i],)
        assert wave.dtype == torch.float32 and wave.abs().max() > 1e-3  # there is something to compare
        worst = max(worst, float((wave - alone).abs().max()))
    return worst


# ---- a batch is its clips -----------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 99), nfe=st.integers(1, 4),
    cfg=st.sampled_from([0.0, 0.7, 2.0]),
)  # fmt: skip
def test_a_batch_gives_what_its_clips_give_alone(tiny, lengths, seed, nfe, cfg):
    allowed = 1e-5 * FULL_SCALE if isinstance(tiny.vocoder, vocoder.Vocos) else 0.0
    assert difference_from_alone(tiny, lengths, seed, nfe=nfe, cfg=cfg) <= allowed


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_vocoders_alone(tiny, lengths):
    mels = [torch.randn(2 * n, N_MELS) - 2 for n in lengths]
    frames = torch.tensor([len(mel) for mel in mels])
    padded = torch.nn.utils.rnn.pad_sequence(mels, True, padding_value=50.0)  # loud where nobody may hear it
    together = tiny.vocoder(padded, frames)
    for mel, wave in zip(mels, together, strict=True):
        alone = tiny.vocoder(mel[None], frames.new_tensor([len(mel)]))[0]
        assert not wave[len(alone) :].any()
        if isinstance(tiny.vocoder, vocoder.GriffinLim):
            assert torch.equal(wave[: len(alone)], alone)
        assert float((wave[: len(alone)] - alone).abs().max()) < 1e-5 * FULL_SCALE


def test_without_the_masks_it_would_not(monkeypatch):
    tiny = make_tiny_decoder()
    for module in (flow, vocoder):
        monkeypatch.setattr(module, "frames_inside", lambda lengths: None)
    codes, speakers, noises = clips([3, 20])
    together = tiny.decode(codes, speakers, noises)
    (alone,) = tiny.decode(codes[:1], speakers[:1], noises[:1])
    assert float((together[0] - alone).abs().max()) > 1e-3


def test_the_default_sizes_are_as_exact():
    torch.manual_seed(0)
    whole = decoder.Decoder(flow.Flow(flow.FlowConfig()), vocoder.Vocos(vocoder.VocosConfig()))
    assert 2.5e6 < sum(p.numel() for p in whole.flow.parameters()) < 4e6
    assert 1e6 < sum(p.numel() for p in whole.vocoder.parameters()) < 1.5e6
    assert difference_from_alone(whole, [1, 9, 14], nfe=2) < 1e-5 * FULL_SCALE


def test_equal_inputs_give_equal_bits(tiny):
    codes, speakers, noises = clips([4, 7, 7])
    again = tiny.decode(codes, speakers, noises)
    assert all(torch.equal(a, b) for a, b in zip(tiny.decode(codes, speakers, noises), again, strict=True))
    assert tiny.decode([], speakers[:0], []) == []


def test_what_goes_in_matters():
    tiny = make_tiny_decoder()
    codes, speakers, noises = clips([8])
    (wave,) = tiny.decode(codes, speakers, noises)
    others = [
        tiny.decode([(codes[0] + 1) % CODES], speakers, noises), tiny.decode(codes, -speakers, noises),
        tiny.decode(codes, speakers, [-noises[0]]), tiny.decode(codes, speakers, noises, nfe=2),
        tiny.decode(codes, speakers, noises, cfg=0.0),
    ]  # fmt: skip
    for (other,) in others:
        assert float((wave - other).abs().max()) > 1e-4


def test_bfloat16_is_near(tiny):
    codes, speakers, noises = clips([4, 9])
    exact = tiny.flow.sample(codes[1][None], torch.tensor([9]), speakers[1:], noises[1][None])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = tiny.flow.sample(codes[1][None], torch.tensor([9]), speakers[1:], noises[1][None])
    assert half.dtype == torch.float32 and 1e-5 < float((half - exact).abs().max()) < 0.1
    waves = tiny.decode(codes, speakers, noises, dtype=torch.bfloat16)
    assert [wave.dtype for wave in waves] == [torch.float32] * 2 and all(wave.isfinite().all() for wave in waves)


# ---- noise, schedule, guidance ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 30))
def test_noise_is_a_prefix(n, more):
    assert torch.equal(decoder.noise_of("0/utt", n), decoder.noise_of("0/utt", n + more)[:n])


def test_noise_is_standard_normal_and_named():
    noise = decoder.noise_of("0/utt", 500)
    assert noise.shape == (500, N_MELS) and noise.dtype == torch.float32
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    assert not torch.equal(noise, decoder.noise_of("1/utt", 500))


def test_the_schedule_is_cosine():
    assert flow.schedule(1).tolist() == pytest.approx([0.0, 1.0])
    times = flow.schedule(10)
    assert times[5].item() == pytest.approx(1 - math.cos(math.pi / 4)) and (times.diff().diff() > 0).all()


@pytest.mark.parametrize(("nfe", "cfg"), [(1, 0.0), (1, 0.7), (7, 0.7)])
def test_euler_and_guidance(monkeypatch, nfe, cfg):
    """Where the conditional velocity is 2 and the unconditional 1 everywhere, the path is a known straight line."""
    tiny = flow.Flow(flow.FlowConfig(**FLOW))
    calls = []

    def velocity(x, t, condition, inside):
        calls.append(len(x))
        known = condition.abs().sum((1, 2), keepdim=True) > 0
        return torch.where(known, 2.0, 1.0).expand_as(x)

    monkeypatch.setattr(tiny, "velocity", velocity)
    noise = torch.randn(3, 10, N_MELS)
    mel = tiny.sample(
        torch.zeros(3, 5, dtype=torch.long), torch.tensor([5, 2, 5]), torch.ones(3, SPEAKER_DIM), noise, nfe, cfg
    )
    torch.testing.assert_close(mel, noise + (1 + cfg) * 2 - cfg)
    assert calls == [6 if cfg else 3] * nfe


# ---- mels and waves -----------------------------------------------------------------------------------------------


@given(st.integers(0, 2000))
@settings(max_examples=25, deadline=None)
def test_two_frames_for_each_code(samples):
    n_codes = max(1, math.ceil(samples / CODE_SAMPLES))
    assert whole_codes(torch.zeros(samples)).shape == (CODE_SAMPLES * n_codes,)
    assert log_mel(torch.zeros(samples)).shape == (2 * n_codes, N_MELS)
    assert log_mel(torch.zeros(2, 3, samples)).shape == (2, 3, 2 * n_codes, N_MELS)


def tone(hz: float, seconds: float = 1.0) -> torch.Tensor:
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(round(16000 * seconds)) / 16000)


def test_a_tone_is_in_its_bin_and_silence_is_the_floor():
    peak = filters()[round(1000 * N_FFT / 16000)].argmax()
    assert set(log_mel(tone(1000.0))[2:-2].argmax(1).tolist()) == {int(peak)}
    assert log_mel(torch.zeros(640)).unique().tolist() == pytest.approx([math.log(1e-5)])


def test_a_speaker_vector_looks_at_loud_frames():
    mel = log_mel(torch.cat([tone(200.0), torch.zeros(12800)]))
    vector = speaker_vector(mel)
    assert vector.shape == (SPEAKER_DIM,) and vector.isfinite().all()
    assert (vector - speaker_vector(log_mel(tone(200.0)))).abs().mean() < 0.25
    assert (vector - speaker_vector(log_mel(tone(400.0)))).abs().mean() > 0.4


def spectrum_of(wave: torch.Tensor) -> torch.Tensor:
    """Complex [1, T, 641], with the frames of log_mel."""
    padded = torch.nn.functional.pad(wave[None, None], (EDGE, EDGE), mode="reflect")[0]
    window = torch.hann_window(N_FFT)
    return torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True).transpose(1, 2)


def test_overlap_add_is_the_inverse_transform():
    wave = torch.randn(6400) * 0.1
    torch.testing.assert_close(vocoder.overlap_add(spectrum_of(wave), None)[0], wave, rtol=0, atol=1e-5)
    longer = torch.cat([spectrum_of(wave), torch.randn(1, 6, N_FFT // 2 + 1) + 0j], dim=1)
    inside = convnext.frames_inside(torch.tensor([20, 26]))
    both = vocoder.overlap_add(torch.cat([longer, longer]), inside)
    torch.testing.assert_close(both[0, :6400], wave, rtol=0, atol=1e-5)
    assert both.shape == (2, 26 * HOP) and not both[0, 6400:].any()


def test_griffin_lim_speaks_at_the_right_place():
    wave = torch.zeros(9600)
    wave[4000:4960] = tone(500.0)[:960]
    mel = log_mel(wave)
    made = vocoder.GriffinLim(16)(mel[None], torch.tensor([len(mel)]))[0]
    assert made.shape == wave.shape
    energy = made.square() / made.square().sum()
    assert float((energy * torch.arange(9600)).sum()) == pytest.approx(4480, abs=100)
    assert float((log_mel(made).exp() - mel.exp()).abs().sum() / mel.exp().sum()) < 0.3


def test_codes_of_drops_what_is_no_code():
    assert codes_of([33, 59, 2, 32, 60, 40], 33, 27) == [0, 26, 7]
    assert codes_of([2], 33, 27) == []


# ---- files --------------------------------------------------------------------------------------------------------


def test_a_saved_decoder_is_the_same(tiny, tmp_path):
    (tmp_path / "codec.json").write_text("another tool's")
    decoder.save(tiny, tmp_path)
    again = decoder.load(tmp_path)
    given = clips([3, 5])
    assert all(torch.equal(a, b) for a, b in zip(tiny.decode(*given), again.decode(*given), strict=True))
    assert (tmp_path / "codec.json").exists() and not any(p.requires_grad for p in again.parameters())
    halves = {name: tensor.half() for name, tensor in load_file(tmp_path / decoder.FLOW).items()}
    save_file(halves, tmp_path / decoder.FLOW)
    assert decoder.load(tmp_path).flow.project_in.weight.dtype == torch.float32


def test_what_does_not_fit_is_one_line(tmp_path):
    whole = tmp_path / "whole"
    decoder.save(make_tiny_decoder(), whole)

    def broken(change) -> str:
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        change(folder)
        with pytest.raises(ArlError) as caught:
            decoder.load(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def with_config(change) -> Any:
        def rewrite(folder: Path) -> None:
            shapes = json.loads((folder / decoder.CONFIG).read_text())
            change(shapes)
            (folder / decoder.CONFIG).write_text(json.dumps(shapes))

        return rewrite

    for name in (decoder.CONFIG, decoder.FLOW, decoder.VOCODER):
        assert f"{name}: missing" in broken(lambda folder, name=name: (folder / name).unlink())
    assert "flow.safetensors: does not fit" in broken(with_config(lambda shapes: shapes["flow"].update(width=64)))
    assert "vocoder.safetensors: does not fit" in broken(with_config(lambda shapes: shapes["vocoder"].update(layers=3)))
    for change in (
        lambda shapes: shapes["vocoder"].update(kind="hifigan"), lambda shapes: shapes["flow"].update(depth=3),
        lambda shapes: shapes.pop("flow"),
    ):  # fmt: skip
        assert "not a decoder's sizes" in broken(with_config(change))
    assert "not a decoder's sizes" in broken(lambda folder: (folder / decoder.CONFIG).write_text("{"))
