"""A loss is a file and its page: a toy one is added to a copy of the package and trained with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arl.losses import NAMES
from arl.losses.registry import find_loss, losses_on, make_loss
from arl.losses.settings import LossSettings

ROOT = Path(__file__).resolve().parents[2]
TOY = '''
"""REINFORCE: −A·log p, mean over the batch's tokens."""

from dataclasses import dataclass

from arl.losses.micro_batch import token_mean
from arl.losses.spec import NO_IMPORTANCE, LossSpec


@dataclass(frozen=True)
class Reinforce:
    beta: float = 0.0
    clip_high: float = 0.5

    def token_weights(self, lengths, totals):
        return token_mean(lengths, totals)

    def metric_weights(self, lengths, totals):
        return self.token_weights(lengths, totals)

    def __call__(self, micro):
        return -(micro.weights * micro.advantages * micro.log_probs).sum(), {"toy_beta": self.beta}


LOSS = LossSpec(Reinforce, refuses={"importance": NO_IMPORTANCE})
'''
UPDATE = """
import sys
from pathlib import Path
import arl
from arl.cli.main import make_app
from arl.policy import Policy
from tests.tiny import make_tiny_policy
from tests.train.columns import make_rl_shards

folder = Path(sys.argv[1])
policy = make_tiny_policy(folder / "policy")
flags = [word for source in make_rl_shards(folder, Policy.open(policy)) for word in ("--shards", source)]
flags += ["--policy", str(policy), "-o", str(folder / "next"), "--device", "cpu", "--threads", "1"]
words = ["update", *flags, "--loss", "toy", "--beta", "0.25"]
make_app()(words, standalone_mode=False)
make_app()([*words, "--importance", "mask"], standalone_mode=False)
"""


def test_a_toy_loss_is_two_files(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "arl", tmp_path / "arl", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "arl" / "losses" / "toy.py").write_text(TOY)
    (tmp_path / "arl" / "losses" / "toy.md").write_text("# toy\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    program = [sys.executable, "-c", UPDATE, str(tmp_path / "run")]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    record = (tmp_path / "run" / "next" / "stage.jsonl").read_text()
    assert '"loss": "toy"' in record and '"toy_beta": 0.25' in record
    assert '"clip_high": 0.5' in record and '"clip_low": 0.2' in record  # its own, and that of all
    assert "--importance mask: --loss toy has no use for importance weights" in done.stderr


def test_every_loss_says_what_it_trains_on() -> None:
    assert sorted(losses_on("rollouts") + losses_on("acoustic rollouts") + losses_on("transcripts")) == list(NAMES)
    assert losses_on("acoustic rollouts") == ("combined", "diffro") and losses_on("transcripts") == ("sft",)


def test_a_loss_is_made_from_the_settings_that_it_has_fields_for() -> None:
    loss = make_loss(LossSettings(loss="gspo", beta=0.0, clip_high=1.0, divisor=3.0))
    assert (loss.beta, loss.clip_low, loss.clip_high) == (0.0, 3e-4, 1.0)  # type: ignore[attr-defined]
    assert make_loss(LossSettings(loss="dr_grpo", divisor=3.0)).divisor == 3.0  # type: ignore[attr-defined]


def test_what_cannot_be_made_is_named() -> None:
    with pytest.raises(ValueError, match="there is no loss 'ppo': one of combined, dapo"):
        find_loss("ppo")
    with pytest.raises(ValueError, match="diffro needs heads and a codebook"):
        make_loss(LossSettings(loss="diffro"))
