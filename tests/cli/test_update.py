"""The flags of `arl update`; what it computes is tested in tests/train."""

from pathlib import Path
from typing import Any

import pytest

from arl.cli.update import update
from arl.cli.update_checks import CHOICES
from arl.errors import ArlError, UsageError
from arl.losses import importance
from arl.losses.kl import ESTIMATORS
from tests.tiny import make_tiny_policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy") / "policy")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"loss": "ppo"}, "--loss ppo: one of grpo, dr_grpo, dapo, gspo, mwer, diffro, combined, sft"),
        ({"kl": "k4"}, "--kl k4: one of k1, k2, k3"),
        ({"gumbel": "soft"}, "--gumbel soft: one of sampled, fresh"),
        ({"base": "gspo"}, "--base gspo: one of grpo, dapo"),
        ({"loss": "diffro", "importance": "mask"}, "--loss diffro has no use for importance weights"),
        ({"loss": "diffro"}, "--loss diffro trains speech synthesis"),
        ({"head": ["x.py:X"]}, "--token-asr and --head belong to --loss diffro and combined"),
        ({"risk": "wer"}, "--risk wer: one of errors, reward"),
        ({"importance": "clip"}, "--importance clip: one of none, truncate, mask"),
        ({"importance_level": "word"}, "--importance-level word: one of token, sequence"),
        ({"loss": "mwer", "importance": "mask"}, "--loss mwer has no use for importance weights"),
        ({"importance": "mask", "importance_floor": 3.0}, "--importance-floor is above --importance-cap"),
        ({"clip_dual": 1.0}, "--clip-dual 1: above 1"),
        ({"loss": "sft", "gather": 8}, "--gather chooses rollouts"),
        ({"schedule": "linear"}, "--schedule linear: one of constant, cosine"),
        ({"autocast": "float16"}, "--autocast float16: one of none, bfloat16"),
        ({"train_projector": True}, "belong to --loss sft"),
        ({"loss": "sft", "ctc": 0.5}, "--ctc trains the projector"),
        ({"loss": "sft", "ctc": 0.5, "train_projector": True}, "--ctc needs a policy over characters"),
    ],
)
def test_usage_errors_come_before_the_shards_are_looked_at(policy, tmp_path, flags, message):
    with pytest.raises(UsageError, match=message):
        update(shards=["nowhere"], policy=policy, out=tmp_path / "out", **flags)


def test_a_policy_and_shards_are_needed(policy, tmp_path):
    with pytest.raises(UsageError, match="needs --policy"):
        update(shards=["nowhere"])
    flags: dict[str, Any] = {"policy": policy, "out": tmp_path / "out"}
    with pytest.raises(ArlError, match="nowhere"):
        update(shards=[str(tmp_path / "nowhere")], **flags)
    assert not (tmp_path / "out").exists()


def test_the_flags_know_what_the_losses_know():
    assert CHOICES["--kl"] == ESTIMATORS
    assert CHOICES["--importance"] == importance.KINDS
    assert CHOICES["--importance-level"] == importance.LEVELS
