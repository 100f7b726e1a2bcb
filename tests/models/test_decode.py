"""`arl decode` with a random decoder: waves, batches, rows without waves, what it skips and refuses."""

import json
import os
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from arl.audio.clips import length_batches
from arl.cli.decode import decode
from arl.cli.main import make_app
from arl.errors import ArlError, UsageError
from arl.evaluation.voices import Voices
from arl.models.codes import codes_of
from arl.models.decode_shard import STRETCH
from arl.models.qwen2_flow import decoder
from arl.models.qwen2_flow.prompts import load_voices
from arl.policy import Policy
from arl.shards import columns
from arl.shards.checks import shard_problems
from arl.shards.reader import read_joined, read_shard
from arl.shards.record import read_record
from arl.shards.writer import write_shard
from tests.models.decoding import FAST, LENGTHS, difference, groups_of, hypothesis_of, waves, write_columns
from tests.tiny_asr import make_tiny_asr_policy
from tests.tiny_tts import CODES, make_tiny_tts_policy

LSB = 1 / 32768


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_tts_policy(tmp_path_factory.mktemp("policy") / "policy"))


# ---- what comes out -----------------------------------------------------------------------------------------------


def test_one_wave_per_hypothesis(policy, tmp_path):
    groups = groups_of(LENGTHS)
    groups["a"][2] = groups["a"][0]  # sampled twice
    shards = write_columns(tmp_path, groups)
    decode(shards=shards, policy=policy.path, **FAST)  # out: wav beside the first of them
    found = waves(tmp_path / "wav")
    assert {key: [len(wave) / 640 for wave in rows] for key, rows in found.items()} == {
        "a": [5, 9, 5, 1], "b": [1, 30, 7], "c": [12], "d": [],
    }  # fmt: skip
    assert np.array_equal(found["a"][0], found["a"][2]) and not found["a"][3].any()
    frontend, voices = decoder.load(policy.frontend_dir), load_voices(policy.frontend_dir)
    for key, voice in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        for codes, wave in zip(groups[key], found[key], strict=True):
            if codes:
                noise = decoder.noise_of(f"0/{key}", 2 * len(codes))
                speaker = torch.from_numpy(voices[voice].speaker)[None]
                (alone,) = frontend.decode([torch.tensor(codes)], speaker, [noise], nfe=2)
                assert float(np.abs(alone.numpy() - wave).max()) <= LSB
    (record,) = read_record(tmp_path / "wav")
    assert record["stage"] == "decode" and record["samples"] == 4
    assert (record["groups"], record["hypotheses"], record["silent"], record["repeated"]) == (4, 8, 1, 1)
    assert record["audio_s"] == pytest.approx(70 / 25) and record["rtf"] > 0
    assert (record["arguments"]["nfe"], record["arguments"]["cfg"], record["arguments"]["seed"]) == (2, 0.7, 0)
    assert 0 <= record["padding"] < 0.25


def test_a_wave_depends_on_neither_batch_nor_group(policy, tmp_path):
    groups = groups_of({"a": [20, 5, 9, 21], "b": [1, 30, 7, 29], "c": [19, 22]})
    shards = write_columns(tmp_path / "all", groups)
    outs = {}
    for batch_s, batch in ((0.01, 0), (2.0, 0), (60.0, 0), (61.0, 1)):
        outs[batch_s] = tmp_path / f"{batch_s}"
        decode(shards=shards, policy=policy.path, out=outs[batch_s], batch_s=batch_s, batch=batch, **FAST)
    assert read_record(outs[0.01])[0]["padding"] == 0.0 < read_record(outs[60.0])[0]["padding"]
    assert read_record(outs[0.01])[0]["batches"] == 10 > read_record(outs[60.0])[0]["batches"]
    assert read_record(outs[61.0])[0]["batches"] == 10
    for out in outs.values():
        assert difference(waves(outs[0.01]), waves(out)) <= LSB
    fewer = {"a": [], "b": groups["b"][:3]}  # of a group of four, with the same voice
    decode(shards=write_columns(tmp_path / "few", fewer), policy=policy.path, **FAST)
    few = waves(tmp_path / "few" / "wav")
    assert len(few["b"]) == 3 and difference(few, {"a": [], "b": waves(outs[60.0])["b"][:3]}) <= LSB


def test_options_change_the_sound_and_bytes_repeat(policy, tmp_path):
    shards = write_columns(tmp_path, groups_of({"a": [6, 8]}))

    def made(name: str, **options: Any) -> bytes:
        decode(shards=shards, policy=policy.path, out=tmp_path / name, **(FAST | options))
        return b"".join(s.members["00.flac"] for s in read_shard(tmp_path / name / "000000.tar"))

    plain = made("plain")
    assert made("again") == plain
    others = [made("seed", seed=1), made("nfe", nfe=1), made("cfg", cfg=0.0), made("half", dtype="bfloat16")]
    assert len({plain, *others}) == 5


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(0, 200), max_size=30), st.floats(1, 900),
    st.integers(0, 5),
)  # fmt: skip
def test_batches(lengths, most, most_clips):
    found = list(length_batches(lengths, most, STRETCH, most_clips))
    assert all(len(batch) <= (most_clips or 30) for batch in found)
    assert sorted(name for batch in found for name in batch) == sorted(lengths)
    for batch in found:
        sizes = [lengths[name] for name in batch]
        assert sizes == sorted(sizes) and sizes[-1] <= STRETCH * sizes[0]
        assert len(batch) == 1 or sizes[-1] * len(batch) <= most


# ---- rows that cannot be decoded ----------------------------------------------------------------------------------


def test_rows_without_waves_keep_the_join(policy, tmp_path, capsys):
    groups = groups_of({"a": [3], "b": [], "c": [4], "d": [2]})
    shards = write_columns(tmp_path, groups)
    rows = {sample.key: sample.members for sample in read_shard(tmp_path / "rollout" / "000000.tar")}
    rows["c"] = {columns.ROLLOUT: b'{"hyps":[{"text":""}]}'}
    write_shard(tmp_path / "rollout" / "000000.tar", rows.items())
    with pytest.raises(ArlError, match=r"sample 'c': rollout.json is malformed .*'tokens'.*--max-failed 0"):
        decode(shards=shards, policy=policy.path, **FAST)
    assert not (tmp_path / "wav" / "000000.tar").exists()
    decode(shards=shards, policy=policy.path, max_failed=1, **FAST)
    assert capsys.readouterr().err.count("arl: skipped: ") == 1
    joined = [tmp_path / name / "000000.tar" for name in ("emb", "wav", "data")]
    found = {sample.key: sample for sample in read_joined(joined)}
    assert [key for key, sample in found.items() if columns.NO_WAVE in sample.members] == ["b", "c"]
    assert found["b"].json(columns.NO_WAVE) == {"error": "no hypotheses"}
    assert "00.flac" in found["d"].members and columns.NO_WAVE not in found["d"].members
    assert list(shard_problems([tmp_path / "wav" / "000000.tar"])) == []


def test_samples_that_are_no_numbers_are_bad_samples(policy, tmp_path, monkeypatch):
    shards = write_columns(tmp_path, groups_of({"a": [3, 6], "b": [9]}))
    real = decoder.Decoder.decode

    def broken(self, codes, *rest, **more):
        return [wave * float("nan") if len(wave) > 640 * 5 else wave for wave in real(self, codes, *rest, **more)]

    monkeypatch.setattr(decoder.Decoder, "decode", broken)
    with pytest.raises(ArlError, match="sample 'a': hypothesis 1: the decoder gave NaN"):
        decode(shards=shards, policy=policy.path, **FAST)
    decode(shards=shards, policy=policy.path, max_failed=2, **FAST)
    members = {sample.key: list(sample.members) for sample in read_shard(tmp_path / "wav" / "000000.tar")}
    assert members == {"a": ["00.flac"], "b": [columns.NO_WAVE]}


# ---- what is refused ----------------------------------------------------------------------------------------------


def test_errors_are_one_line(policy, tmp_path):
    shards = write_columns(tmp_path, groups_of({"a": [3]}))

    def refused(error: type[ArlError] = ArlError, **options: Any) -> str:
        with pytest.raises(error) as caught:
            decode(**({"shards": shards, "policy": policy.path, "out": tmp_path / "out"} | FAST | options))
        assert "\n" not in str(caught.value) and not list((tmp_path / "out").glob("*"))
        return str(caught.value)

    (tmp_path / "out").mkdir()
    assert "sample 'a': no prompt.json" in refused(shards=shards[1:])
    assert "sample 'a': no rollout.json" in refused(shards=shards[:1])
    assert "nowhere: no such shard or folder" in refused(shards=[str(tmp_path / "nowhere")], policy=None)
    wrong = CliRunner().invoke(make_app("decode"), ["decode", "--shards", "x", "--dtype", "int8"])
    assert wrong.exit_code == 2 and "'int8' is not one of" in wrong.output
    asr = make_tiny_asr_policy(tmp_path / "asr")
    assert '"task": "tts"' in refused(policy=asr)
    for prompt, message in (
        ({"input_ids": [1], "voice": "eve"}, "voice 'eve' is not one of this policy (ann, bob)"),
        ({"input_ids": [1]}, "prompt.json names no voice"),
    ):
        write_shard(tmp_path / "emb" / "000000.tar", [("a", {columns.PROMPT: columns.dumps(prompt)})])
        assert message in refused()
    shutil.copytree(policy.path, tmp_path / "bare", ignore=shutil.ignore_patterns("frontend"))
    assert "decoder.json: missing" in refused(policy=tmp_path / "bare")


def test_a_decoder_of_another_size_is_refused(policy, tmp_path):
    from arl.models.qwen2_flow.decode import speakers_of

    frontend = decoder.load(policy.frontend_dir)
    more = Policy(policy.path, policy.fields | {"acoustic_codes": CODES + 1})
    with pytest.raises(ArlError, match=f"{CODES + 1} acoustic tokens, but its decoder knows {CODES}"):
        speakers_of(more, frontend)
    monkey = type("Config", (), {"codes": CODES, "speaker_dim": 3})
    frontend.flow.config = monkey
    with pytest.raises(ArlError, match=r"voice 'ann': speaker vector \[160\], not \[3\]"):
        speakers_of(policy, frontend)


# ---- the voices ---------------------------------------------------------------------------------------------------


def test_a_frontends_voices_are_what_its_decoder_makes_of_them(policy, tmp_path):
    known = Voices.load(policy.frontend_dir)
    voices = load_voices(policy.frontend_dir)
    assert list(known.waves) == ["ann", "bob"] and known.of("eve") is None
    assert [len(wave) for wave in known.waves.values()] == [640 * len(voice.codes) for voice in voices.values()]
    assert all(np.isfinite(wave).all() and wave.any() for wave in known.waves.values())
    shutil.copytree(policy.frontend_dir, tmp_path / "alone")  # no policy around it
    assert np.array_equal(Voices.load(tmp_path / "alone").waves["bob"], known.waves["bob"])


# ---- done, forced, killed, warm -----------------------------------------------------------------------------------


def test_done_shards_are_skipped(policy, tmp_path, capsys):
    shards = write_columns(tmp_path, groups_of({"a": [3]}))

    def made(**options: Any) -> int:
        decode(shards=shards, policy=policy.path, **(FAST | options))
        return (tmp_path / "wav" / "000000.tar").stat().st_mtime_ns

    first = made()
    assert made(batch_s=1.0) == first and "already done" in capsys.readouterr().err
    forced = made(force=True)
    assert forced > first
    assert made(nfe=3) > forced
    write_columns(tmp_path, groups_of({"a": [4]}))
    made(nfe=3)
    assert [len(rows[0]) for rows in waves(tmp_path / "wav").values()] == [4 * 640]


def test_the_policy_of_the_prompts_is_found(policy, tmp_path):
    shards = write_columns(tmp_path, groups_of({"a": [3]}))
    with pytest.raises(UsageError, match="give --policy"):
        decode(shards=shards, **FAST)
    line = {"shard": "000000", "policy_path": os.path.relpath(policy.path, tmp_path / "emb")}
    (tmp_path / "emb" / "stage.jsonl").write_text(json.dumps(line) + "\n")
    decode(shards=shards, **FAST)
    assert len(waves(tmp_path / "wav")["a"]) == 1
    assert codes_of(hypothesis_of([1, 2])["tokens"], *policy.acoustic) == [1, 2]
