"""Training of the flow and the vocoder: they learn, are seeded, and their losses are what they say."""

import pytest
import torch

from arl.models.qwen2_flow import flow, vocoder
from arl.models.qwen2_flow.codec import Draft
from arl.models.qwen2_flow.mel import N_MELS, SPEAKER_DIM, log_mel
from arl.models.qwen2_flow.train import drafted, flow_loss, train_flow, train_vocoder, vocoder_loss
from tests.models.test_qwen2_flow import clips, tone
from tests.tiny_tts import DRAFT, FLOW, VOCOS


def toy_pairs() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """A code's two frames are bars of a quarter of the bins, by the code's remainder."""
    pairs = []
    for codes, speakers, _ in (clips([6 + i], seed=i) for i in range(8)):
        quarter = torch.arange(N_MELS) // 20 == codes[0][:, None] % 4
        pairs.append((codes[0], speakers[0], torch.where(quarter, 0.0, -8.0).repeat_interleave(2, dim=0)))
    return pairs


def loss_on(trained: flow.Flow, drop: float = 0.0) -> float:
    pairs = toy_pairs()
    codes, mels = (torch.nn.utils.rnn.pad_sequence([pair[k] for pair in pairs], True) for k in (0, 2))
    lengths = torch.tensor([len(pair[0]) for pair in pairs])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return float(flow_loss(trained, codes, torch.stack([p[1] for p in pairs]), mels, lengths, generator, drop))


@pytest.mark.slow
def test_a_flow_learns_what_codes_mean():
    config = flow.FlowConfig(**FLOW)
    before = loss_on(train_flow(toy_pairs(), config, steps=1, batch=8, crop=5))
    trained = train_flow(toy_pairs(), config, steps=150, batch=8, crop=5, lr=1e-2)
    assert loss_on(trained) < 0.6 * before
    assert loss_on(trained, drop=1.0) > 1.3 * loss_on(trained)  # which codes they are is what it has learnt


def test_training_is_seeded():
    config = flow.FlowConfig(**FLOW)
    first, again, other = (train_flow(toy_pairs(), config, steps=2, batch=2, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.project_in.weight, other.project_in.weight)


def test_flow_loss_is_zero_for_the_true_velocity_and_blind_outside(monkeypatch):
    trained = flow.Flow(flow.FlowConfig(**FLOW))
    data = torch.randn(1, 1, N_MELS)  # one mel frame is all there is: the velocity at x is (data - x) / (1 - t)
    codes, lengths = torch.zeros(4, 6, dtype=torch.long), torch.tensor([6, 1, 3, 6])
    mels = data.expand(4, 12, N_MELS).clone()
    mels[1, 2:] = 77.0

    def velocity(x, t, condition, inside):
        return (data - x) / (1 - t[:, None, None])

    monkeypatch.setattr(trained, "velocity", velocity)
    loss = flow_loss(trained, codes, torch.ones(4, SPEAKER_DIM), mels, lengths, torch.Generator().manual_seed(0))
    assert float(loss) < 1e-6


@pytest.mark.slow
def test_a_vocoder_learns_to_sound():
    waves = [tone(hz, 0.4) for hz in (150.0, 300.0, 450.0)]
    mel, frames = log_mel(torch.stack(waves)), torch.tensor([20] * 3)

    def loss_of(trained: vocoder.Vocos) -> float:
        with torch.no_grad():
            return float(vocoder_loss(trained(mel, frames), torch.stack(waves)))

    config = vocoder.VocosConfig(**VOCOS)
    before, after = (loss_of(train_vocoder(waves, config, steps, batch=4, crop=8, lr=5e-3)) for steps in (1, 60))
    assert after < 0.7 * before
    assert float(vocoder_loss(torch.stack(waves), torch.stack(waves))) == 0.0


def test_with_a_draft_what_flows_is_the_difference_from_it():
    torch.manual_seed(0)
    draft = Draft(**DRAFT)
    drafts = [(codes, speaker, drafted(draft, codes)) for codes, speaker, _ in toy_pairs()]
    pairs = [(codes, speaker, mel + 0.25) for codes, speaker, mel in drafts]
    config = flow.FlowConfig(**FLOW, draft=DRAFT)
    trained = train_flow(pairs, config, steps=1, batch=8, crop=5, draft=draft)
    torch.testing.assert_close(trained.mean, torch.full((N_MELS,), 0.25))  # the difference is all that is left
    codes, speaker, mel = pairs[0]
    lengths = torch.tensor([len(codes)])
    _, origin = trained.condition(codes[None], speaker[None], lengths)
    torch.testing.assert_close(origin[0], mel)
    still = flow.Flow(flow.FlowConfig(**FLOW, draft=DRAFT, temperature=0.0))
    still.load_state_dict(trained.state_dict())
    noise = torch.randn(1, len(mel), N_MELS)
    one, other = (still.sample(codes[None], lengths, speaker[None], each, nfe=2) for each in (noise, -noise))
    assert torch.equal(one, other)  # without temperature the noise has no part
