"""`arl decode` as a program: killed, warm, and what the commands after it make of its shards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arl.cli.decode import decode
from arl.policy import Policy
from arl.shards import columns
from arl.shards.checks import shard_problems
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard
from tests.models.decoding import FAST, LENGTHS, groups_of, write_columns
from tests.tiny_tts import make_tiny_tts_policy

ARL = str(Path(sys.executable).with_name("arl"))
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ARL_")} | {
    "OMP_NUM_THREADS": "1"
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_tts_policy(tmp_path_factory.mktemp("policy") / "policy"))


def arl(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | (env or {})
    return subprocess.run([ARL, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def decode_words(policy: Policy, *words: str) -> list[str]:
    return ["decode", "--shards", "emb/", "--shards", "rollout/", "--policy", str(policy.path), "--nfe", "2",
            "--device", "cpu", "--threads", "1", *words]  # fmt: skip


@pytest.mark.slow
def test_killed_at_work_it_leaves_no_half_shard(policy, tmp_path):
    for shard in ("000000", "000001", "000002"):
        write_columns(tmp_path, groups_of({f"{shard}-{i}": [80] * 4 for i in range(8)}), shard)
    words = decode_words(policy)
    process = subprocess.Popen([ARL, *words], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "wav" / "000000.tar").exists():  # in the second shard now
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = sorted(path.name for path in (tmp_path / "wav").glob("*.tar"))
    assert whole[0] == "000000.tar" and "000002.tar" not in whole
    assert all(list(shard_problems([tmp_path / "wav" / name])) == [] for name in whole)
    kept = (tmp_path / "wav" / "000000.tar").stat().st_mtime_ns
    done = arl(tmp_path, *words)
    assert done.returncode == 0 and f"{len(whole)} shard(s)" in done.stderr
    assert (tmp_path / "wav" / "000000.tar").stat().st_mtime_ns == kept
    assert sorted(path.name for path in (tmp_path / "wav").iterdir()) == [
        "000000.tar", "000001.tar", "000002.tar", "stage.jsonl",
    ]  # fmt: skip


@pytest.mark.slow
def test_warm_is_cold_and_keeps_the_decoder(policy, tmp_path):
    write_columns(tmp_path, groups_of({"a": [3, 9], "b": [5]}))
    try:
        assert arl(tmp_path, "warm", "start", "decode").returncode == 0
        for out, env in (("cold", {"ARL_WARM": ""}), ("warm", {}), ("kept", {})):
            done = arl(tmp_path, *decode_words(policy, "-o", out), env=env)
            assert done.returncode == 0 and done.stdout == "", done.stderr
            assert done.stderr == ""
        status = json.loads(arl(tmp_path, "warm", "status", "--json").stdout)
        assert [(row["stage"], row["jobs"]) for row in status["workers"]] == [("decode", 2)]
    finally:
        arl(tmp_path, "warm", "stop")
    cold, warm, kept = ((tmp_path / out / "000000.tar").read_bytes() for out in ("cold", "warm", "kept"))
    assert cold == warm == kept


LISTEN = """
import io

import soundfile

from arl import reward


@reward
def seconds(utterance):
    clips = [hyp.wav for hyp in utterance.hyps]
    return [None if clip is None else len(soundfile.read(io.BytesIO(clip.read()))[0]) / 16000 for clip in clips]


if __name__ == "__main__":
    seconds.main()
"""


@pytest.mark.parametrize("how", [[], ["--child"], ["--jobs", "2"]])
def test_rewards_hear_the_hypotheses(policy, tmp_path, how):
    groups = groups_of(LENGTHS)
    shards = write_columns(tmp_path, groups)
    decode(shards=shards, policy=policy.path, **FAST)
    (tmp_path / "listen.py").write_text(LISTEN)
    words = ["reward", "--shards", "rollout", "--shards", "wav", "--shards", "data", "--with", "./listen.py", *how]
    done = arl(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    rewards = {s.key: s.json(columns.REWARD)["rewards"] for s in read_shard(tmp_path / "reward" / "000000.tar")}
    assert rewards == {key: [pytest.approx(max(1, n) / 25) for n in row] for key, row in LENGTHS.items()}


def test_looking_inside(policy, tmp_path):
    write_columns(tmp_path, groups_of(LENGTHS))
    decode(shards=[str(tmp_path / "emb"), str(tmp_path / "rollout")], policy=policy.path, **FAST)
    path, samples, seconds, members, state = arl(tmp_path, "ls", "wav").stdout.rstrip("\n").split("\t")
    assert (samples, seconds, members, state) == ("4", "-", "*.flac,wav.json", "whole")
    lines = [
        json.loads(line) for line in arl(tmp_path, "cat", "--json", "rollout", "--join", "wav").stdout.splitlines()
    ]
    assert lines[1]["02.flac"]["bytes"] > 100 and lines[3]["wav.json"] == {"error": "no hypotheses"}
    assert arl(tmp_path, "check", "rollout", "--join", "wav").returncode == 0
    rows = [(s.key, dict(s.members)) for s in read_shard(tmp_path / "wav" / "000000.tar")]
    rows[2][1]["01.flac"] = rows[2][1]["00.flac"]
    rows[3][1][columns.NO_WAVE] = b"{}"
    write_shard(tmp_path / "wav" / "000000.tar", rows)
    done = arl(tmp_path, "check", "rollout", "--join", "wav")
    assert done.returncode == 1 and "01.flac: there are only 1 hypotheses" in done.stdout
    assert "wav.json: 'error' is missing" in done.stdout
