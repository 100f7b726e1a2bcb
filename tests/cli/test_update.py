"""The flags of `arl update`; what it computes is tested in tests/train."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from arl.cli.main import make_app
from arl.cli.update import update
from arl.errors import ArlError, UsageError
from arl.losses import NAMES
from tests.tiny import make_tiny_policy

CHOICES = {
    "--loss": NAMES,
    "--kl": ("k1", "k2", "k3"),
    "--risk": ("errors", "reward"),
    "--mwer-form": ("list", "samples"),
    "--mwer-errors": ("std", "count"),
    "--gumbel": ("sampled", "fresh"),
    "--base": ("grpo", "dapo"),
    "--importance": ("none", "truncate", "mask"),
    "--importance-level": ("token", "sequence"),
    "--schedule": ("constant", "cosine"),
    "--autocast": ("none", "bfloat16"),
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy") / "policy")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"loss": "diffro", "importance": "mask"}, "--loss diffro has no use for importance weights"),
        ({"loss": "diffro"}, "--loss diffro trains speech synthesis"),
        ({"head": ["x.py:X"]}, "--token-asr and --head belong to --loss combined and diffro"),
        ({"loss": "mwer", "importance": "mask"}, "--importance mask: --loss mwer has no use for importance weights"),
        ({"loss": "sft", "importance": "truncate"}, "--loss sft has no use for importance weights"),
        ({"importance": "mask", "importance_floor": 3.0}, "--importance-floor is above --importance-cap"),
        ({"clip_dual": 1.0}, "--clip-dual 1: above 1"),
        ({"loss": "sft", "ce": 0.1}, "--ce 0.1: --loss sft is this cross-entropy"),
        ({"loss": "sft", "gather": 8}, "--gather 8: --loss sft has no rewards"),
        ({"train_projector": True}, "belong to --loss sft"),
        ({"loss": "sft", "ctc": 0.5}, "--ctc trains the projector"),
        ({"loss": "sft", "ctc": 0.5, "train_projector": True}, "--ctc needs a policy over characters"),
    ],
)
def test_usage_errors_come_before_the_shards_are_looked_at(policy, tmp_path, flags, message):
    with pytest.raises(UsageError, match=message):
        update(shards=["nowhere"], policy=policy, out=tmp_path / "out", **flags)


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--loss", "ppo"),
        ("--loss", "rloo"),  # a page without a loss: its advantages are made by `arl reward`
        ("--kl", "k4"),
        ("--gumbel", "soft"),
        ("--base", "gspo"),
        ("--risk", "wer"),
        ("--importance", "clip"),
        ("--importance-level", "word"),
        ("--schedule", "linear"),
        ("--autocast", "float16"),
    ],
)
def test_a_word_that_a_flag_does_not_know_is_a_usage_error_that_names_the_others(flag, word):
    result = CliRunner().invoke(make_app(), ["update", "--shards", "nowhere", flag, word], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert f"'{word}' is not one of" in result.stderr
    assert all(f"'{choice}'" in result.stderr for choice in CHOICES[flag])


def test_the_help_shows_the_choices():
    text = CliRunner().invoke(make_app(), ["update", "--help"], env={"COLUMNS": "200"}).stdout
    for flag, choices in CHOICES.items():
        assert f"{flag} <{'|'.join(choices)}>" in " ".join(text.split())


def test_the_losses_are_the_files_that_have_a_page():
    assert NAMES == ("combined", "dapo", "diffro", "dr_grpo", "grpo", "gspo", "mwer", "sft")


def test_a_policy_and_shards_are_needed(policy, tmp_path):
    with pytest.raises(UsageError, match="needs --policy"):
        update(shards=["nowhere"])
    flags: dict[str, Any] = {"policy": policy, "out": tmp_path / "out"}
    with pytest.raises(ArlError, match=re.escape("nowhere")):
        update(shards=[str(tmp_path / "nowhere")], **flags)
    assert not (tmp_path / "out").exists()
