"""`arl reward` on small shards."""

import json
import shutil
import subprocess
import sys

import pytest

from arl.errors import ArlError, UsageError
from arl.shards.checks import shard_problems
from arl.shards.columns import dumps
from arl.shards.record import read_record
from arl.shards.writer import write_shard
from tests.rewards.reward_runs import TEXTS, invoke, rewards_in, rollouts_with_references


@pytest.fixture
def run(tmp_path):
    return rollouts_with_references(tmp_path)


def test_scores_beside_the_rollouts_with_references_found(run):
    figures = json.loads(invoke("--shards", run, "--with", "wer", "--json"))
    rows = rewards_in(run.parent / "reward")
    assert list(rows) == ["a0", "b0", "c0", "a1", "b1", "c1"]
    assert rows["a0"]["rewards"] == pytest.approx([1.0, 2 / 3, 0.0, 1.0])
    assert rows["a0"]["components"] == {"wer": rows["a0"]["rewards"]}
    assert rows["c0"]["rewards"] == [1.0, 0.5, 0.0, 0.5]
    assert rows["b0"]["advantages"] == [0.0] * 4
    assert rows["c0"]["advantages"] == pytest.approx([0.5 / 0.408248, 0, -0.5 / 0.408248, 0], rel=1e-5, abs=1e-9)
    assert rows["a0"]["metrics"]["wer.substitutions"] == [0.0, 1.0, 0.0, 0.0]
    assert (figures["groups"], figures["hypotheses"], figures["zero_spread"], figures["excluded"]) == (6, 24, 2, 0)
    assert figures["reward_mean"] == pytest.approx((8 / 3 + 4 + 2) / 12)
    for path in (run.parent / "reward").glob("*.tar"):
        assert list(shard_problems([run / path.name, path])) == []


def test_audio_shards_may_be_joined_instead(run, tmp_path):
    invoke("--shards", run, "--with", "wer")
    invoke("--shards", run, "--shards", tmp_path / "data" / "train", "--with", "wer", "-o", tmp_path / "joined")
    assert rewards_in(tmp_path / "joined") == rewards_in(run.parent / "reward")


def test_child_programs_give_the_same_shards(run, tmp_path):
    invoke("--shards", run, "--with", "wer", "-o", tmp_path / "inside")
    invoke("--shards", run, "--with", "wer", "-o", tmp_path / "outside", "--child")
    for name in ("000000.tar", "000001.tar"):
        assert (tmp_path / "inside" / name).read_bytes() == (tmp_path / "outside" / name).read_bytes()


def test_weights_gates_and_nulls(run, tmp_path):
    (tmp_path / "picky.py").write_text(
        "from arl import reward\n@reward\ndef picky(u):\n    return [None if h.text == 'one' else 2 for h in u.hyps]\n"
    )
    (tmp_path / "silent.py").write_text(
        "from arl import reward\n@reward\ndef silent(u):\n    return [not h.text and bool(u.ref) for h in u.hyps]\n"
    )
    picky, silent = f"{tmp_path / 'picky.py'}=0.5", f"{tmp_path / 'silent.py'}=-3"
    invoke("--shards", run, "--with", "wer", "--with", picky, "--gate", silent, "--advantage", "mean")
    rows = rewards_in(run.parent / "reward")
    assert rows["c0"]["components"] == {
        "wer": [1.0, 0.5, 0.0, 0.5], "picky": [2.0, None, 2.0, 2.0], "silent": [0.0] * 4
    }  # fmt: skip
    assert rows["c0"]["rewards"] == [2.0, None, 1.0, 1.5]
    assert rows["c0"]["advantages"] == pytest.approx([0.5, None, -0.5, 0.0])
    assert rows["a0"]["rewards"] == pytest.approx([2.0, 5 / 3, -3.0, 2.0])
    assert rows["b0"]["rewards"] == [2.0] * 4


def test_done_shards_are_skipped_until_something_changes(run, capfd):
    folder = run.parent / "reward"

    def stamps():
        return [path.stat().st_mtime_ns for path in sorted(folder.glob("*.tar"))]

    invoke("--shards", run, "--with", "wer")
    first = stamps()
    assert json.loads(invoke("--shards", run, "--with", "wer", "--json"))["skipped"] == 2
    assert stamps() == first
    (folder / "000001.tar").unlink()
    invoke("--shards", run, "--with", "wer")
    assert stamps()[0] == first[0]
    invoke("--shards", run, "--with", "wer=0.5")
    changed = stamps()
    assert all(a != b for a, b in zip(first, changed, strict=True))
    invoke("--shards", run, "--with", "wer=0.5", "-f")
    assert all(a != b for a, b in zip(changed, stamps(), strict=True))
    record = [json.loads(line) for line in (folder / "stage.jsonl").read_text().splitlines()]
    assert record[-1]["arguments"]["with"][0]["weight"] == 0.5
    assert record[-1]["component_means"].keys() == {"wer"} and record[-1]["samples"] == 3


def test_a_sample_without_reference_is_excluded_or_fails(run, tmp_path):
    metas = [(f"{key}0", {"json": dumps({"text": text} if key != "a" else {})}) for key, text in TEXTS.items()]
    write_shard(tmp_path / "data" / "train" / "000000.tar", metas)
    with pytest.raises(ArlError, match="sample 'a0'.*'text' is missing"):
        invoke("--shards", run, "--with", "wer")
    assert not (run.parent / "reward" / "000000.tar").exists()
    figures = json.loads(invoke("--shards", run, "--with", "wer", "--max-failed", "1", "--json"))
    row = rewards_in(run.parent / "reward")["a0"]
    assert row["rewards"] == row["advantages"] == [None] * 4
    assert figures["failed"] == 1 and figures["excluded"] == 4
    assert list(shard_problems([run / "000000.tar", run.parent / "reward" / "000000.tar"])) == []


def test_malformed_rollouts_are_an_error(run):
    row = {"policy": "0", "temperature": 1, "hyps": [{"text": "x"}]}
    write_shard(run / "000000.tar", ((f"{k}0", {"rollout.json": dumps(row)}) for k in TEXTS))
    with pytest.raises(ArlError, match="sample 'a0'.*rollout.json: hyps.0.: 'tokens' is not a list of token ids"):
        invoke("--shards", run, "--with", "wer")


def test_a_failing_program_publishes_nothing_of_its_shard(run, tmp_path):
    script = tmp_path / "short.py"
    script.write_text(
        "import json, sys\nfor n, line in enumerate(sys.stdin):\n    if n == 5: sys.exit(1)\n"
        "    print(json.dumps({'key': json.loads(line)['key'], 'rewards': [1, 0, 0, 0]}), flush=True)\n"
    )
    with pytest.raises(ArlError, match=r"python.*: exited with code 1 without an answer to line 6 \(key 'c1'\)"):
        invoke("--shards", run, "--with", f"{sys.executable} {script}")
    assert sorted(path.name for path in (run.parent / "reward").glob("*")) == ["000000.tar", "stage.jsonl"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--with is missing"),
        (["--with", "wer", "--eps", "0"], "--eps"),
        (["--with", "wer", "--gate", "wer"], "--gate wer=-1"),
    ],
)
def test_wrong_flags_are_usage_errors(run, words, says):
    with pytest.raises(UsageError, match=says):
        invoke("--shards", run, *words)
    assert not (run.parent / "reward").exists()


def test_an_unknown_advantage_is_refused_with_the_choices(run):
    with pytest.raises(AssertionError, match="'zscore' is not one of 'std'"):
        invoke("--shards", run, "--with", "wer", "--advantage", "zscore")
    assert not (run.parent / "reward").exists()


def test_an_empty_shard_gives_an_empty_shard(run, tmp_path):
    write_shard(run / "000000.tar", [])
    figures = json.loads(invoke("--shards", run, "--with", "wer", "--json"))
    assert list(rewards_in(run.parent / "reward")) == ["a1", "b1", "c1"] and figures["groups"] == 3
    assert (run.parent / "reward" / "000000.tar").exists()


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_over_several_shards(run):
    invoke("--shards", run, "--with", "exact", "--with", "jq -c '{key, rewards: [.hyps[].tokens | length]}'=0.1")
    rows = rewards_in(run.parent / "reward")
    assert rows["a1"]["components"] == {"exact": [1.0, 0.0, 0.0, 1.0], "jq": [4.0, 4.0, 1.0, 4.0]}
    assert rows["a1"]["rewards"] == pytest.approx([1.4, 0.4, 0.1, 1.4])


def test_decoded_waveforms_reach_the_programs(run, tmp_path):
    for name in ("000000", "000001"):
        clips = {f"{i:02d}.flac": bytes([i]) * (i + 5) for i in (0, 1, 3)}
        (tmp_path / "wav").mkdir(exist_ok=True)
        write_shard(tmp_path / "wav" / f"{name}.tar", ((f"{key}{name[-1]}", clips) for key in TEXTS))
    (tmp_path / "wave.py").write_text(
        "from arl import reward\n@reward\ndef wave(u):\n    return [h.wav and sum(h.wav.read()) for h in u.hyps]\n"
        "if __name__ == '__main__':\n    wave.main()\n"
    )
    for more in ([], ["--child"]):
        invoke("--shards", run, "--shards", tmp_path / "wav", "--with", tmp_path / "wave.py", "-f", *more)
        assert rewards_in(run.parent / "reward")["c1"]["rewards"] == [0.0, 6.0, None, 24.0]


def test_speech_has_its_rate(run):
    hyps = [
        {"text": "", "tokens": [7] * n, "logprobs": [-0.5] * n, "finish": f} for n, f in ((23, "stop"), (33, "length"))
    ]
    member = {"rollout.json": dumps({"policy": "000000-abc", "temperature": 1.0, "hyps": hyps})}
    write_shard(run / "000000.tar", [(f"{key}0", member) for key in TEXTS])
    invoke("--shards", run, "--with", "duration")
    rows = rewards_in(run.parent / "reward")
    assert rows["a0"]["metrics"]["tokens_per_character"] == [
        2.0,
        3.0,
    ]  # "the cat sat" has 11, and the stop token is none
    assert "tokens_per_character" not in rows["b0"]["metrics"]  # nothing to say
    assert "tokens_per_character" not in rows["a1"]["metrics"]  # recognition
    record = {line["shard"]: line["metric_means"] for line in read_record(run.parent / "reward")}
    assert record["000000"]["tokens_per_character"] == pytest.approx((2 + 3 + 22 / 7 + 33 / 7) / 4)


def test_the_module_is_light_and_does_not_hide_the_decorator():
    code = (
        "import sys, arl.cli.reward; from arl import reward; "
        "print(callable(reward), sorted({'torch', 'numpy', 'transformers', 'jiwer', 'sglang'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True []"


def test_the_utterances_own_audio_reaches_the_programs(run, tmp_path):
    for name in ("000000", "000001"):
        metas = {f"{key}{name[-1]}": {"text": text, "lang": "en"} for key, text in TEXTS.items()}
        members = ((key, {"flac": key.encode() * 3, "json": dumps(meta)}) for key, meta in metas.items())
        write_shard(tmp_path / "data" / "train" / f"{name}.tar", members)
    (tmp_path / "heard.py").write_text(
        "from arl import reward\n@reward\ndef heard(u):\n"
        "    return [u.audio.read() == u.key.encode() * 3] * len(u.hyps)\n"
        "if __name__ == '__main__':\n    heard.main()\n"
    )
    words = ["--with", tmp_path / "heard.py", "-f"]
    for more in ([], ["--child"], ["--shards", tmp_path / "data" / "train"]):
        invoke("--shards", run, *more, *words)
        assert {row["rewards"][0] for row in rewards_in(run.parent / "reward").values()} == {1.0}


def test_the_papers_three_rewards(run):
    invoke("--shards", run, "--with", "wer", "--with", "keyword=0.5", "--gate", "hallucination=-1")
    row = rewards_in(run.parent / "reward")["c0"]
    assert row["components"] == {
        "wer": [1.0, 0.5, 0.0, 0.5], "keyword": [0.0] * 4, "hallucination": [0.0] * 4
    }  # fmt: skip
    assert "hallucination.ngram_loop" in row["metrics"] and "keyword.matched" in row["metrics"]


def test_a_crash_in_a_later_reward_fails_the_stage(run):
    with pytest.raises(ArlError, match="'a0' has no audio"):
        invoke("--shards", run, "--with", "wer", "--gate", "silence=-1")
    assert not list((run.parent / "reward").glob("*.tar"))
