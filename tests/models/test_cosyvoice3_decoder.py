"""CosyVoice3's flow and vocoder: the tensors of the real files, upstream's numbers, batches, and its silences."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from arl.models import DecodeSettings, InitOptions, family_of_frontend, recognised
from arl.models.checkpoint import Checkpoint
from arl.models.cosyvoice.decode import CosySynthesis, shortened
from arl.models.cosyvoice.layout import VERSION_3
from arl.models.cosyvoice3.decode import DECODING
from arl.models.cosyvoice3.dit import DitSizes
from arl.models.cosyvoice3.flow import Flow
from arl.models.cosyvoice3.hift import Hift
from arl.policy import Policy
from tests.models.cosyvoice_checkpoints import make_cosyvoice, recipe
from tests.models.test_cosyvoice_decoder import HIFT, as_its_clips_alone, fill, numbers

# By upstream's own modules (FunAudioLLM/CosyVoice, March 2026, with x-transformers 2.11.24) with the weights of `fill`.
GOLDEN = json.loads((Path(__file__).parent / "cosyvoice3_golden.json").read_text())
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def flow() -> Flow:
    flow = Flow(50, 192, 24, 3, DitSizes(width=32, heads=2, head_width=8, layers=2, grow=2))
    rates = flow.decoder.estimator.rotary_embed.inv_freq.clone()
    fill(flow)
    flow.decoder.estimator.rotary_embed.inv_freq.copy_(rates)
    return flow


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    place = tmp_path_factory.mktemp("decoder3")
    checkpoint = Checkpoint(str(make_cosyvoice(place / "CosyVoice3", 3)))
    return recognised(checkpoint).build(checkpoint, place / "policy", InitOptions())


@pytest.mark.parametrize(("part", "number"), [("flow", 0), ("hift", 1)])
def test_the_tensors_are_those_of_the_real_files(part, number, tmp_path):
    """Names and shapes of what upstream's cosyvoice3.yaml builds, by a digest of all of them."""
    text = recipe(3, flow_width=1024, channels=1024, hift=512)
    for tiny, real in {"depth: 2": "depth: 22", "heads: 2": "heads: 16", "dim_head: 8": "dim_head: 64"}.items():
        text = text.replace(f" {tiny}", f" {real}")
    (tmp_path / "cosyvoice3.yaml").write_text(text)
    tensors = DECODING.parts(tmp_path / "cosyvoice3.yaml")[number].state_dict()
    rows = sorted(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    digest = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    assert [len(rows), digest] == GOLDEN[f"{part}_tensors"]


def test_the_flow_gives_upstreams_numbers(flow):
    codes = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    (mel,) = flow.sample([codes], [numbers(6, 80)], numbers(1, 192), [numbers(16, 80)], nfe=10)
    expected = torch.tensor(GOLDEN["mel"])
    assert mel.shape == (80, 10) and expected.std() > 0.1
    assert (mel[::16] - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_vocoder_gives_upstreams_numbers():
    hift = Hift({**HIFT, "conv_pre_look_right": 4, "f0_predictor": {"cond_channels": 64}})
    fill(hift)
    hift.f0_predictor.classifier.bias.data += 20
    pitch, mel = 150 + 40 * numbers(1, 9), numbers(1, 80, 9)
    pitch[0, 4] = 0  # unvoiced
    source = hift.source(pitch, [5])
    assert (source[0, ::300] - torch.tensor(GOLDEN["source"])).abs().max() <= 1e-5
    wave = hift.shape(mel, source)
    assert (wave[0, ::300] - torch.tensor(GOLDEN["wave"])).abs().max() <= 1e-5
    plain = hift.plain()
    found = plain.f0_predictor(mel)
    assert found.dtype == torch.float64 and (found[0] - torch.tensor(GOLDEN["pitch"])).abs().max() <= 2e-5
    assert (plain.shape(mel, source) - wave).abs().max() <= 1e-5


def test_a_batch_is_what_its_clips_are_alone(policy):
    codes = [[5, 6, 7], [3] * 9, [8, 9, 10]]
    together = as_its_clips_alone(CosySynthesis(policy, DECODING, CPU, DecodeSettings(nfe=2)), codes)
    for settings in (DecodeSettings(nfe=3), DecodeSettings(nfe=2, cfg=0.0), DecodeSettings(nfe=2, dtype="bfloat16")):
        (other,) = CosySynthesis(policy, DECODING, CPU, settings).decode([codes[0]], ["ann"], ["x"])
        assert other.isfinite().all() and (other - together[0]).abs().max() > 1e-3


def test_bfloat16_is_of_the_flows_products(flow):
    """The path stays float32: a step's error does not grow to the size of the mel."""
    given = [torch.arange(8)], [numbers(6, 80)], numbers(1, 192), [numbers(16, 80)]
    (whole,) = flow.sample(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (half,) = flow.sample(*given)
    assert half.dtype == torch.float32 and 1e-6 < (half - whole).abs().max() <= 0.03 * whole.abs().max()


def test_a_long_silence_is_heard_as_five_codes(policy):
    silence, speech = [1, 2, 28, 29, 55, 248, 494], [7, 8]
    assert shortened([*silence, *speech, 1, 1], VERSION_3.silent) == [1, 2, 28, 29, 55, *speech, 1, 1]
    synthesis = CosySynthesis(policy, DECODING, CPU, DecodeSettings(nfe=1, cfg=0))
    (wave,) = synthesis.decode([[*silence, *speech]], ["ann"], ["x"])
    assert len(wave) == 7 * 960


def test_voices_are_heard(policy):
    family = family_of_frontend(policy.frontend_dir, "voices")
    assert family is not None and family.name == "cosyvoice3"
    waves = family.voice_waves(policy.frontend_dir)
    assert {name: len(wave) for name, wave in waves.items()} == {"ann": 12 * 320}
