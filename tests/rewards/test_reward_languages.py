"""A language by any name means the same in `arl reward` and `arl eval`, and so does none; an unknown one is refused."""

from pathlib import Path
from typing import Any

import pytest

from arl.errors import ArlError
from arl.evaluation.recognition.run import transcribed
from arl.runtime.budget import FailureBudget
from arl.shards.columns import dumps
from arl.shards.writer import write_shard
from tests.rewards.reward_runs import invoke, rewards_in, rollout_member

ZH, ZH_HEARD = "宋朝末年定居粉岭围", "宋朝末年定居分岭为"
SAMPLES: dict[str, tuple[dict[str, Any], str, float]] = {  # key: (fields, hypothesis, reward of wer)
    "zh": ({"text": ZH, "lang": "zh"}, ZH_HEARD, 7 / 9),
    "name": ({"text": ZH, "lang": "Chinese"}, ZH_HEARD, 7 / 9),
    "token": ({"text": ZH, "lang": "<|zh|>"}, ZH_HEARD, 7 / 9),
    "none-zh": ({"text": ZH}, ZH_HEARD, 7 / 9),
    "ja": ({"text": "今日はいい天気です", "lang": "jpn"}, "今日はいい電気です", 8 / 9),
    "en": ({"text": "it's twenty one", "lang": " English "}, "it is 21", 1.0),
    "none": ({"text": "it's twenty one"}, "it is 21", 0.25),
    "empty": ({"text": "it's twenty one", "lang": ""}, "it is 21", 0.25),
    "tag": ({"text": "[noise] turn it off", "lang": "en"}, "turn it off (all of the words)", -1 / 3),
    "curly": ({"text": "don't go", "lang": "en"}, "don\u2019t \u200bgo", 1.0),
}


def shards(folder: Path, samples: dict[str, tuple[dict[str, Any], str, float]]) -> tuple[Path, Path]:
    data, rollout = folder / "data" / "000000.tar", folder / "rollout" / "000000.tar"
    for path in (data, rollout):
        path.parent.mkdir(parents=True)
    write_shard(data, [(key, {"json": dumps(fields | {"duration_s": 9})}) for key, (fields, _, _) in samples.items()])
    write_shard(rollout, [(key, rollout_member([heard])) for key, (_, heard, _) in samples.items()])
    return data, rollout


def test_reward_and_evaluation_agree(tmp_path: Path) -> None:
    data, rollout = shards(tmp_path, SAMPLES)
    invoke("--shards", rollout, "--shards", data, "--with", "wer", "-o", tmp_path / "reward")
    found = {key: row["rewards"][0] for key, row in rewards_in(tmp_path / "reward").items()}
    assert found == pytest.approx({key: reward for key, (_, _, reward) in SAMPLES.items()})
    rows, _ = transcribed({key: heard for key, (_, heard, _) in SAMPLES.items()}, {"": [str(data)]}, FailureBudget(0))
    rates = {
        row["key"]: (row["substitutions"] + row["deletions"] + row["insertions"])
        / (row["substitutions"] + row["deletions"] + row["hits"])
        for row in rows
    }
    assert {key: 1 - rate for key, rate in rates.items()} == pytest.approx(found)


def test_an_unknown_language_is_refused_with_the_key(tmp_path: Path) -> None:
    samples = {"good": SAMPLES["zh"], "bad": ({"text": "a", "lang": "Gibberish"}, "a", 1.0)}
    data, rollout = shards(tmp_path, samples)
    words = ["--shards", rollout, "--shards", data, "--with", "wer", "-o", tmp_path / "reward"]
    with pytest.raises(ArlError, match="sample 'bad'.*'Gibberish' is unknown"):
        invoke(*words)
    invoke(*words, "--max-failed", 1)
    with pytest.raises(ArlError, match="sample 'bad'.*'Gibberish' is unknown"):
        transcribed({"good": ZH, "bad": "a"}, {"": [str(data)]}, FailureBudget(0))
    rows, cost = transcribed({"good": ZH, "bad": "a"}, {"": [str(data)]}, FailureBudget(1))
    assert [row["key"] for row in rows] == ["good"]
    assert cost == {"failed": 1}
