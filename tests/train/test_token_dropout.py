"""Token dropout: which inputs are replaced, that the targets stay, and the numbers by the plain computation."""

import pytest
import torch

from arl.errors import UsageError
from arl.shards.record import read_record
from arl.train import learner as learner_module
from arl.train.groups import PromptGroup
from arl.train.shared_prefix import per_row_log_probs, shared_log_probs
from arl.train.token_dropout import with_dropout
from tests.train.exact import AUDIO, float64_layers, make_decoder
from tests.train.test_learner import bits, killed, made


def make_groups(n: int, length: int) -> list[PromptGroup]:
    generator = torch.Generator().manual_seed(5)
    responses = [torch.randint(5, 30, (length,), generator=generator) for _ in range(n)]
    return [PromptGroup(str(i), torch.tensor([1, 3]), [], [response], [0.0]) for i, response in enumerate(responses)]


def drawn(groups: list[PromptGroup], share: float) -> list[PromptGroup]:
    return with_dropout(groups, share, torch.Generator().manual_seed(0))


def test_a_share_of_the_inputs_is_replaced_by_inputs_of_the_batch_and_the_targets_stay():
    before = make_groups(40, 25)
    after = drawn(before, 0.3)
    assert all(torch.equal(a.responses[0], b.responses[0]) for a, b in zip(after, before, strict=True))
    changed = torch.cat([a.shown[0] != b.responses[0][:-1] for a, b in zip(after, before, strict=True)])
    assert len(changed) == 40 * 24
    assert float(changed.float().mean()) == pytest.approx(0.3 * 24 / 25, abs=0.05)  # one of 25 draws is the same token
    known = {int(token) for group in before for token in group.responses[0][:-1]}
    assert {int(token) for group in after for token in group.shown[0]} <= known
    assert all(torch.equal(a.shown[0], b.shown[0]) for a, b in zip(after, drawn(before, 0.3), strict=True))


def test_responses_of_one_token_have_nothing_to_replace():
    assert [len(tokens) for group in drawn(make_groups(2, 1), 0.5) for tokens in group.inputs] == [0, 0]


def test_log_probs_are_those_of_the_targets_behind_what_is_shown():
    before = make_groups(3, 9)
    after = drawn(before, 0.5)
    with float64_layers(), torch.no_grad():
        model = make_decoder()
        found = shared_log_probs(model, after, AUDIO).log_probs
        rows = [model(input_ids=torch.cat([g.prompt, g.shown[0]])[None]).logits[0, len(g.prompt) - 1 :] for g in after]
        wanted = [row.log_softmax(-1).gather(-1, g.responses[0][:, None]) for row, g in zip(rows, after, strict=True)]
        assert float((found - torch.cat(wanted).squeeze(-1)).abs().max()) < 1e-12
        assert float((per_row_log_probs(model, after, AUDIO) - found).abs().max()) < 1e-12
        assert float((shared_log_probs(model, before, AUDIO).log_probs - found).abs().max()) > 0.1


def test_a_killed_run_with_dropout_resumes_to_the_same_bits(start, sft, tmp_path):
    flags = {"loss": "sft", "save_every": 2, "token_dropout": 0.4}
    calm = made(sft, start, tmp_path / "calm", **flags)
    out = tmp_path / "rough"
    killed(lambda: made(sft, start, out, **flags), learner_module, "save_state", 2)
    assert bits(made(sft, start, out, **flags)) == bits(calm)
    plain = made(sft, start, tmp_path / "plain", loss="sft")
    assert read_record(calm.path)[0]["loss"] != read_record(plain.path)[0]["loss"]


def test_a_rollout_is_read_as_it_was_sampled(start, rl, tmp_path):
    with pytest.raises(UsageError, match="--token-dropout belongs to --loss sft"):
        made(rl, start, tmp_path / "out", token_dropout=0.1)
