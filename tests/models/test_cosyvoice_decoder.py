"""CosyVoice2's flow and vocoder: the tensors of the real files, upstream's numbers, batches, and what is refused."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.models import DecodeSettings
from arl.models.cosyvoice.decode import CosySynthesis, noise_of
from arl.models.cosyvoice.hift import Hift
from arl.models.cosyvoice.recipe import read_recipe
from arl.models.cosyvoice2.conformer import EncoderSizes, shifted
from arl.models.cosyvoice2.decode import DECODING
from arl.models.cosyvoice2.estimator import EstimatorSizes
from arl.models.cosyvoice2.flow import Flow
from arl.policy import Policy
from tests.models.cosyvoice_checkpoints import make_cosyvoice, recipe

HIFT: dict[str, Any] = {
    "in_channels": 80, "base_channels": 32, "nb_harmonics": 8, "sampling_rate": 24000, "nsf_alpha": 0.1,
    "nsf_sigma": 0.003, "nsf_voiced_threshold": 10, "upsample_rates": [8, 5, 3], "upsample_kernel_sizes": [16, 11, 7],
    "istft_params": {"n_fft": 16, "hop_len": 4}, "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3, "source_resblock_kernel_sizes": [7, 7, 11],
    "source_resblock_dilation_sizes": [[1, 3, 5]] * 3, "lrelu_slope": 0.1, "audio_limit": 0.99,
    "f0_predictor": {"cond_channels": 512},
}  # fmt: skip
# By other implementations with the weights of `fill`: chatterbox-light 1.0.2 (flow and HiFT) and upstream (SineGen2).
GOLDEN = json.loads((Path(__file__).parent / "cosyvoice2_golden.json").read_text())


def fill(module: nn.Module) -> nn.Module:
    """Weights that are a formula of their names' order and their places."""
    for number, (name, tensor) in enumerate(sorted(module.state_dict().items())):
        n, spread = tensor.numel(), 1.0 if tensor.ndim < 2 else 1.4 / math.sqrt(tensor[0].numel())
        wave = torch.sin(torch.arange(n, dtype=torch.float64) * (0.7 + 0.01 * number) ** 2 + number).view(tensor.shape)
        is_scale = tensor.ndim < 2 and name.endswith("weight") or name.endswith(("alpha", "original0"))
        tensor.copy_(1 + 0.1 * wave if is_scale else spread * wave * (0.1 if tensor.ndim < 2 else 1))
    return module.eval()


def numbers(*shape: int) -> Tensor:
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) ** 1.5).view(shape).float()


def golden_flow() -> Flow:
    flow = Flow(50, 192, EncoderSizes(512, 8, 64, 1, 3), EstimatorSizes(16, 2, 8, 1, 1))
    fill(flow)
    return flow


def golden_hift() -> Hift:
    hift = Hift(HIFT)
    fill(hift)
    hift.f0_predictor.classifier.bias.data += 20
    return hift


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    from arl.models import InitOptions, recognised
    from arl.models.checkpoint import Checkpoint

    place = tmp_path_factory.mktemp("decoder")
    checkpoint = Checkpoint(str(make_cosyvoice(place / "CosyVoice2")))
    return recognised(checkpoint).build(checkpoint, place / "policy", InitOptions())


@pytest.mark.parametrize(("part", "number"), [("flow", 0), ("hift", 1)])
def test_the_tensors_are_those_of_the_real_files(part, number, tmp_path):
    """Names and shapes of CosyVoice2-0.5B's flow.pt and hift.pt, by a digest of all of them."""
    real = {
        "attention_heads": (2, 8), "linear_units": (48, 2048), "num_blocks": (1, 6), "n_blocks": (1, 4),
        "num_mid_blocks": (2, 12), "num_heads": (2, 8), "attention_head_dim": (8, 64),
    }  # fmt: skip
    text = recipe(2, flow_width=512, channels=256, hift=512)
    for name, (tiny, size) in real.items():
        text = text.replace(f" {name}: {tiny}", f" {name}: {size}")
    (tmp_path / "cosyvoice2.yaml").write_text(text)
    tensors = DECODING.parts(tmp_path / "cosyvoice2.yaml")[number].state_dict()
    rows = sorted(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    assert len(rows) == {"flow": 1121, "hift": 328}[part]
    assert hashlib.sha256("\n".join(rows).encode()).hexdigest() == GOLDEN[f"{part}_tensors"]


def test_the_flow_gives_upstreams_numbers():
    codes = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    (mel,) = golden_flow().sample([codes], [numbers(6, 80)], numbers(1, 192), [numbers(16, 80)], nfe=3)
    assert mel.shape == (80, 10)
    expected = torch.tensor(GOLDEN["mel"])
    assert (mel[::16] - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_vocoder_gives_upstreams_numbers():
    hift = golden_hift()
    pitch, mel = 150 + 40 * numbers(1, 9), numbers(1, 80, 9)
    pitch[0, 4] = 0  # unvoiced
    source = hift.source(pitch, [5])
    assert source.shape == (1, 9 * 480)
    assert (source[0, ::300] - torch.tensor(GOLDEN["source"])).abs().max() <= 1e-5
    wave = hift.shape(mel, source)
    assert (wave[0, ::300] - torch.tensor(GOLDEN["wave"])).abs().max() <= 1e-4
    assert (hift.f0_predictor(mel)[0] - torch.tensor(GOLDEN["pitch"])).abs().max() <= 1e-3
    assert (hift.plain().shape(mel, source) - wave).abs().max() <= 1e-5


def test_a_score_by_distance_finds_its_key():
    scores = torch.arange(2 * 5).float().view(1, 1, 2, 5)[..., :3]
    expected = [[scores[0, 0, i, 2 - 1 - (i - j)].item() for j in range(2)] for i in range(2)]
    assert shifted(scores)[0, 0].tolist() == expected


def as_its_clips_alone(synthesis: CosySynthesis, codes: list[list[int]]) -> list[Tensor]:
    """The waves of a batch of 3, 9 and 3 codes, which are those of its clips one by one."""
    voices, noises = ["ann", "bob", "bob"], ["x", "y", "y"]
    together = synthesis.decode(codes, voices, noises)
    assert [len(wave) for wave in together] == [3 * 960, 9 * 960, 3 * 960]
    for index, wave in enumerate(together):
        (alone,) = synthesis.decode([codes[index]], [voices[index]], [noises[index]])
        assert (wave - alone).abs().max() <= 1e-5
    assert all(wave.isfinite().all() and wave.std() > 1e-3 for wave in together)
    return together


def test_a_batch_is_what_its_clips_are_alone(policy):
    synthesis = CosySynthesis(policy, DECODING, torch.device("cpu"), DecodeSettings(nfe=2))
    as_its_clips_alone(synthesis, [[5, 6, 7], [1] * 9, [8, 9, 10]])
    assert noise_of("x", 3).equal(noise_of("x", 9)[:3])


def test_the_settings_change_the_wave(policy):
    waves = [
        CosySynthesis(policy, DECODING, torch.device("cpu"), settings).decode([[5, 6, 7]], ["ann"], ["x"])[0]
        for settings in (DecodeSettings(nfe=2), DecodeSettings(nfe=3), DecodeSettings(nfe=2, cfg=0.0))
    ]
    assert all((waves[0] - other).abs().max() > 1e-3 for other in waves[1:])


def test_voices_are_heard(policy):
    waves = DECODING.voice_waves(policy.frontend_dir)
    assert {name: len(wave) for name, wave in waves.items()} == {"ann": 12 * 320}  # bob has no recording


def test_weights_that_do_not_fit_are_one_line(policy, tmp_path):
    import shutil

    shutil.copytree(policy.frontend_dir, tmp_path / "frontend")
    file = tmp_path / "frontend" / "flow.safetensors"
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if name != "encoder_proj.bias"}, file)
    with pytest.raises(ArlError, match="flow.safetensors: tensor encoder_proj.bias is missing"):
        DECODING.load(tmp_path / "frontend")
    yaml = tmp_path / "frontend" / "cosyvoice2.yaml"
    yaml.write_text(yaml.read_text().replace("channels: [16]", "channels: [16, 16]"))
    with pytest.raises(ArlError, match="cosyvoice2.yaml: no sizes of CosyVoice2's flow and hift"):
        DECODING.load(tmp_path / "frontend")
    assert read_recipe(yaml)["flow"]["encoder"]["static_chunk_size"] == 25
