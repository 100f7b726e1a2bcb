"""Saved rollouts as a user trains on them: every loss, several epochs, other weights, several shards in one batch."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from arl.cli.main import make_app
from arl.cli.update import update
from arl.errors import ArlError
from arl.losses.registry import losses_on
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_joined
from arl.shards.record import read_record
from arl.shards.writer import write_shard
from arl.train import learner as learner_module
from tests.docs.pages import shown_program
from tests.tiny import make_tiny_policy
from tests.train.columns import WORDS, make_rl_shards
from tests.train.test_learner import bits, killed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_policy(tmp_path_factory.mktemp("start") / "policy"))


@pytest.fixture(scope="module")
def run(start: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the loop by hand leaves after `arl reward`: policy, data, emb, rollout (with texts), records."""
    folder = tmp_path_factory.mktemp("run")
    make_rl_shards(folder, start, group=4)
    shutil.copytree(start.path, folder / "policy")
    for path in sorted((folder / "rollout").glob("*.tar")):
        rows = []
        for number, sample in enumerate(read_joined([path])):
            content = sample.json(columns.ROLLOUT)
            for place, hyp in enumerate(content["hyps"]):
                hyp["text"] = " ".join(WORDS[: place + number])
            rows.append((sample.key, {columns.ROLLOUT: columns.dumps(content)}))
        write_shard(path, rows)
        meta = {columns.META: columns.dumps({"text": " ".join(WORDS[:2]), "lang": "en"})}
        write_shard(folder / "data" / path.name, [(key, meta) for key, _ in rows])
    record = {"stage": "rollout", "sources": ["../data"]}
    lines = [json.dumps({**record, "shard": name}) for name in ("000000", "000001")]
    (folder / "rollout" / "stage.jsonl").write_text("\n".join(lines) + "\n")
    shutil.rmtree(folder / "reward")
    arl(folder, "arl reward --shards rollout/ --with wer")
    return folder


def arl(folder: Path, line: str) -> None:
    """One command line in a folder, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ARL_DEVICE", "cpu")
        patch.setenv("ARL_THREADS", "1")
        make_app()(shlex.split(line, comments=True)[1:], standalone_mode=False)


def made(run: Path, out: Path, **flags: Any) -> dict[str, Any]:
    """The record of an update on the run's shards."""
    shards = [str(run / name) for name in ("emb", "rollout", "reward")]
    defaults = {"shards": shards, "lr": 1e-2, "threads": 1, "device": "cpu"}
    update(policy=run / "policy", out=out, **defaults | flags)
    return read_record(out)[0]


def test_scored_again_and_trained_with_another_loss_as_the_page_says(run, tmp_path):
    page = (ROOT / "arl" / "losses" / "README.md").read_text()
    section = page.partition("## The same rollouts, scored and trained on again")[2]
    lines = re.findall(r"^arl .*$", section.partition("\n## ")[0], re.MULTILINE)
    assert len(lines) == 3
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "mine.py").write_text(shown_program("brevity"))
    before = {path.name: path.read_bytes() for path in (folder / "rollout").iterdir()}
    for line in lines:
        arl(folder, line)
    assert {path.name: path.read_bytes() for path in (folder / "rollout").iterdir()} == before
    assert not (folder / ".arl").exists()  # where an engine would live
    first, again = (next(iter(read_joined([folder / name / "000000.tar"]))) for name in ("reward", "again"))
    assert set(again.json(columns.REWARD)["components"]) == {"wer", "mine"}
    assert first.json(columns.REWARD)["advantages"] != again.json(columns.REWARD)["advantages"]
    policies = [Policy.open(folder / name) for name in ("next-dr-grpo", "next-mwer")]
    assert len({Policy.open(folder / "policy").version, *(policy.version for policy in policies)}) == 3
    assert read_record(policies[0].path)[0]["arguments"]["loss"] == "dr_grpo"
    assert {"expected_errors", "mean_errors", "distinct"} <= set(read_record(policies[1].path)[0])


@pytest.mark.parametrize("loss", losses_on("rollouts"))
def test_several_epochs_over_one_rollout_resume_to_the_same_bits(run, tmp_path, loss):
    flags = {"loss": loss, "epochs": 3, "save_every": 2}
    record = made(run, tmp_path / "calm", **flags)
    assert record["steps"] == 6 and record["kl"] > 0
    if loss != "mwer":
        assert record["ratio_max"] > 1 and record["old_kl"] > 0  # the ratio is to the weights of the start
    killed(lambda: made(run, tmp_path / "rough", **flags), learner_module.Learner, "_apply", 4)
    made(run, tmp_path / "rough", **flags)
    assert bits(Policy.open(tmp_path / "rough")) == bits(Policy.open(tmp_path / "calm"))


def test_mwer_lowers_the_expected_errors(run, tmp_path):
    flags = {"loss": "mwer", "beta": 0.0, "lr": 3e-3, "gather": 100}
    first, last = (made(run, tmp_path / str(n), epochs=n, **flags) for n in (1, 8))
    assert first["mean_errors"] == last["mean_errors"]
    assert last["expected_errors"] < first["expected_errors"] - 0.1


def test_the_cross_entropy_of_the_transcripts_is_added_where_they_are_joined(run, tmp_path):
    flags = {"shards": [str(run / name) for name in ("emb", "rollout", "reward", "data")], "gather": 6}
    plain, added = (made(run, tmp_path / str(ce), loss="mwer", ce=ce, **flags) for ce in (0.0, 0.5))
    assert added["loss"] == pytest.approx(plain["loss"] + 0.5 * added["cross_entropy"])
    assert added["cross_entropy"] > 1 and added["grad_norm"] != plain["grad_norm"]
    with pytest.raises(ArlError, match=r"utt-0-0: no transcript: join the shards whose \.json has it"):
        made(run, tmp_path / "out", ce=0.5)


def test_without_word_errors_the_reward_is_a_risk_too(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    code = shown_program("brevity")
    (folder / "mine.py").write_text(code)
    arl(folder, "arl reward --shards rollout/ --with './mine.py --limit 1' -f")
    with pytest.raises(ArlError, match="no word errors beside the rewards"):
        made(folder, tmp_path / "out", loss="mwer")
    record = made(folder, tmp_path / "out", loss="mwer", risk="reward")
    assert record["mean_errors"] < 0 < record["distinct"]


def test_importance_weights_of_fresh_rollouts(run, tmp_path):
    plain = made(run, tmp_path / "plain", gather=6)
    assert not {"importance", "importance_cut", "importance_max"} & set(plain)
    for level, floor, cap in (("token", 0.1, 0.5), ("sequence", 1e-5, 0.01)):
        for kind in ("truncate", "mask"):
            bounds = {"importance_floor": floor, "importance_cap": cap, "gather": 6}
            record = made(run, tmp_path / f"{kind}-{level}", importance=kind, importance_level=level, **bounds)
            assert 0 < record["importance_cut"] < 1
            assert 0 < record["importance"] < record["importance_max"] <= cap * (1 + 1e-6)
            assert record["stale"] == 0 and record["loss"] != plain["loss"]


def test_every_metric_is_explained(run, tmp_path):
    page = (ROOT / "arl" / "losses" / "README.md").read_text().partition("## What is logged")[2]
    explained = set(re.findall(r"`([a-z_]+)`", page))
    grpo = made(run, tmp_path / "grpo", importance="truncate", clip_dual=3.0, gather=3)
    data = [str(run / name) for name in ("emb", "rollout", "reward", "data")]
    mwer = made(run, tmp_path / "mwer", loss="mwer", ce=0.1, shards=data)
    of_every_stage = {"stage", "shard", "made", "policy", "arguments", "seconds", "samples", "peak_memory_mb", "steps"}
    of_every_stage |= {"command", "versions"}
    of_the_step = {"lease_waited_s", "self_check", "reward_wer"}
    assert (set(grpo) | set(mwer)) - of_every_stage - of_the_step <= explained


def test_gather_makes_one_batch_of_several_shards(run, tmp_path):
    each = made(run, tmp_path / "each")
    assert each["steps"] == 2
    one = made(run, tmp_path / "one", gather=4)
    assert (one["steps"], one["groups"], one["left_out"]) == (1, 4, 2)
    everything = made(run, tmp_path / "all", gather=100)
    assert (everything["steps"], everything["groups"], everything["left_out"]) == (1, 6, 0)
    assert made(run, tmp_path / "epochs", gather=4, epochs=3)["steps"] == 3
    assert Policy.open(tmp_path / "one").version != Policy.open(tmp_path / "all").version
