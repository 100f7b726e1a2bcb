"""The settings of an update as JSON: policies that an older version made are recognised by these bytes."""

import json
from pathlib import Path
from typing import Any

import pytest

from arl.losses.heads import FileHead
from arl.losses.settings import AcousticSettings
from arl.train.job import fingerprint
from arl.train.settings import UpdateSettings
from arl.train.update import resolved

PLAIN = (  # of `arl update` without a flag, version 0.1
    '{"allow_stale": false, "autocast": "none", "beta": 0.1, "checkpointing": false, "clip_dual": 0.0, '
    '"clip_high": 0.2, "clip_low": 0.2, "compile": false, "ctc": 0.0, "divisor": 256.0, "epochs": 1, '
    '"fresh_optimizer": false, "gather": 0, "importance": "none", "importance_cap": 2.0, "importance_floor": 0.5, '
    '"importance_level": "token", "kl": "k3", "kl_ratio": false, "loss": "grpo", "lr": 1e-06, "max_norm": 1.0, '
    '"max_steps": 0, "offload": false, "risk": "errors", "schedule": "constant", "seed": 0, "tokens": 0, '
    '"total_steps": 0, "train_projector": false, "warmup": 0, "weight_decay": 0.0}'
)
HEADS = '"heads": [["token_asr", 1.0, "abc"], ["Calm", 0.5, "def"]]'
CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [  # flags, JSON beside PLAIN's, fingerprint of version 0.1
    ({}, {}, "b1f54cbd0874d15cab80f26677bd6cfd"),
    ({"loss": "gspo"}, {"clip_low": 3e-4, "clip_high": 4e-4}, "17ca6b14af57e5f77b793d5536aecce3"),
    (
        {"loss": "dapo", "epochs": 3, "clip_low": 0.1, "importance": "mask", "tokens": 512, "compile": True},
        {"clip_high": 0.28},
        "7e2d3d5e40a07b4c9421a2ab6b4cc12e",
    ),
    ({"loss": "sft", "seed": 7, "lr": 1e-3}, {}, "bcb7fe249d90b8f9e0ec5aa5d5a79f72"),
    (
        {"loss": "mwer", "beta": 0, "gather": 24, "risk": "reward", "mwer_scale": 1.0, "mwer_errors": "count"},
        {},
        "3635badcdda3cb9869eb66c10800562c",
    ),
    (
        {"loss": "diffro", "acoustic": AcousticSettings(tau=0.5, gumbel="fresh")},
        {"tau": 0.5, "gumbel": "fresh", "base": "grpo", "diffro_weight": 1.0, "filter": True},
        "53b200513bfc229768702525d10c5933",
    ),
    (
        {"loss": "combined", "acoustic": AcousticSettings(base="dapo", diffro_weight=2.0, filter=False)},
        {"tau": 1.0, "gumbel": "sampled", "base": "dapo", "diffro_weight": 2.0, "filter": False, "clip_high": 0.28},
        "68c6b6b075e9972e4817ac0080aa408e",
    ),
]


class NamedHead(FileHead):
    """A head whose file need not be read for its fingerprint."""

    def fingerprint(self) -> list[Any]:
        return [self.name, self.weight, self.path.name]


@pytest.mark.parametrize(("flags", "more", "expected"), CASES)
def test_the_json_and_the_fingerprint_are_those_of_the_version_before(flags, more, expected):
    has_heads = flags.get("loss") in ("diffro", "combined")
    heads = [NamedHead(Path("abc"), "token_asr"), NamedHead(Path("def"), "Calm", 0.5)] if has_heads else []
    settings = resolved(UpdateSettings(**flags), heads)
    plain = {name: value for name, value in flags.items() if name != "acoustic" and not name.startswith("mwer_")}
    wanted = json.loads(PLAIN) | plain | more | (json.loads(f"{{{HEADS}}}") if has_heads else {})
    assert json.dumps(settings.to_json(), sort_keys=True) == json.dumps(wanted, sort_keys=True)
    assert fingerprint(["v1", "f1", None], settings.to_json(), []) == expected


def test_what_version_0_1_did_not_have_is_in_the_fingerprint_where_it_counts():
    assert {"mwer_scale", "mwer_errors"} <= UpdateSettings(loss="mwer").to_json().keys()
    assert UpdateSettings(ce=0.1, mwer_scale=0.3).to_json() == UpdateSettings().to_json() | {"ce": 0.1}


def test_without_a_flag_the_json_is_this_text():
    assert json.dumps(resolved(UpdateSettings(), []).to_json(), sort_keys=True) == PLAIN
