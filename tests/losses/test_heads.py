"""Heads of one's own beside DiffRO's recogniser: added by their weight, and held to their contract."""

from pathlib import Path

import pytest
import torch

from arl.errors import ArlError, UsageError
from arl.losses.diffro import Diffro
from arl.losses.heads import FileHead, parse_head
from tests.losses.test_diffro import BOOK, HYPS, Linear, heads, inputs, make_micro_batch

CALM = """
import torch

class Calm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def rewards(self, onehots, lengths, texts):
        return self.weight * onehots[..., 0].sum(1) / lengths

    def fits(self, n_codes, text):
        return n_codes > 2

class Silent: pass

class Wrong:
    def rewards(self, onehots, lengths, texts):
        return onehots.sum()

class Nan:
    def rewards(self, onehots, lengths, texts):
        return 0 * lengths / torch.zeros(len(lengths))
"""


def test_a_head_of_ones_own_is_added_by_its_weight(tmp_path):
    (tmp_path / "calm.py").write_text(CALM)
    spec = parse_head(f"{tmp_path}/calm.py:Calm=0.25")
    assert (spec.name, spec.weight) == ("Calm", 0.25)
    calm = spec.load(torch.device("cpu"))
    assert not calm.head.weight.requires_grad and not calm.head.training  # type: ignore[attr-defined]
    loss = Diffro([*heads(Linear()), calm], BOOK)
    logits, codes = inputs()
    x = logits.clone().requires_grad_()
    value, metrics = loss(make_micro_batch(loss, x, codes, with_reference=False))
    value.backward()
    kept = [0, 2, 4]  # more than two codes: both have to fit
    assert metrics["diffro_share"] == 3 / 5
    share = [2 * float((piece == 0).double().mean()) for piece in codes.split([n for group in HYPS for n in group])]
    assert metrics["diffro_Calm"] == pytest.approx(sum(share[i] for i in kept) / 3, rel=1e-12)
    assert metrics["diffro_reward"] == pytest.approx(metrics["diffro_head"] + 0.25 * metrics["diffro_Calm"], rel=1e-12)
    assert [bool(piece.any()) for piece in x.grad.split([4, 2, 3, 1, 6])] == [True, False, True, False, True]
    before = spec.fingerprint()
    (tmp_path / "calm.py").write_text(CALM + "\n")
    assert spec.fingerprint() != before == ["Calm", 0.25, before[2]]


def test_a_head_that_breaks_its_contract_is_one_line(tmp_path):
    path = tmp_path / "calm.py"
    path.write_text(CALM)
    for text, message in (
        ("wer", "write FILE.py:CLASS"),
        (f"{path}", "write FILE.py:CLASS"),
        (f"{tmp_path}/no.py:Calm", "there is no file"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_head(text)
    for name in ("Silent", "Nobody"):
        with pytest.raises(UsageError, match=f"has no class {name} with a method `rewards`"):
            FileHead(path, name).load(torch.device("cpu"))
    for name, message in (("Wrong", r"rewards of shape \[\] for 5"), ("Nan", "of 'ab' is not a finite number")):
        loss = Diffro([FileHead(path, name).load(torch.device("cpu"))], BOOK)
        with pytest.raises(ArlError, match=message):
            loss(make_micro_batch(loss, *inputs()))
    Path(path).write_text("import nothing_of_this_name")
    with pytest.raises(ArlError, match="ModuleNotFoundError"):
        FileHead(path, "Calm").load(torch.device("cpu"))
