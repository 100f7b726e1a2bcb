"""Table 1: its figures on hand-made evaluations, its plan as make sees it, and a toy run with the engine."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from arl.audio.io import encode_flac
from arl.data.mining import transcripts
from arl.engine import server
from arl.errors import ArlError
from arl.evaluation import arms
from arl.evaluation.bootstrap import paired_relative, rate_interval
from arl.evaluation.folder import write
from arl.evaluation.recognition.score import score
from arl.policy import Policy
from arl.shards.columns import dumps
from arl.shards.paths import expand
from arl.shards.reader import read_shard
from arl.shards.rows import Meta
from arl.shards.writer import write_shard
from arl.text.normalise import normalise
from examples.asr import table1, whisper_texts
from tests.examples.tables import ROOT, cells, planned, stop_all
from tests.tiny_asr import make_tiny_asr_policy

REFERENCES = {
    "short": [f"press {word} now" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight")],
    "long": [f"your call to {word} is number {word} in the line" for word in ("anna", "bert", "carl", "dora")],
}


def evaluation(folder: Path, wrong: dict[str, list[int]], said: str = "stop") -> None:
    """An `arl eval` folder in which the last word of the utterances `wrong` is `said`."""
    rows: list[dict[str, Any]] = []
    for name, references in REFERENCES.items():
        for number, text in enumerate(references):
            heard = text if number not in wrong.get(name, []) else f"{text.rpartition(' ')[0]} {said}"
            meta = Meta(text, "en", keywords=[text.split()[1]])
            rows.append(score(name, f"{name}-{number}", meta, heard, 2.0))
    write(folder, rows, {})


def make_runs(runs: Path) -> Path:
    evaluation(runs / "base", {"short": [0, 1, 2, 3], "long": [0, 1]})
    for seed, wrong in enumerate(([0], [0, 1], [1])):
        evaluation(runs / "Rall-Dall" / str(seed) / "final", {"short": wrong, "long": [0]})
        evaluation(runs / "R1-D0" / str(seed) / "final", {"short": [0, 1, 2, 3], "long": [0, 1, 2]})
    return runs


def test_figures_are_pooled_over_seeds_and_paired_with_the_base(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    text = table1.markdown(table1.read_arms(runs))
    base, whole = cells(text, "base"), cells(text, "R_all / D_all")
    assert base[1].startswith("16.67 (") and base[2:4] == ["–", "–"]  # 4 of 24 words
    assert whole[1].startswith("5.56 (") and whole[3] == "4.2 8.3 4.2"  # (1 + 2 + 1) / 3 of 24 words
    assert whole[2].startswith("-66.7 (") and whole[5].startswith("-50.0 (")
    assert cells(text, "R1 / D0")[5].startswith("+50.0 (")
    assert text.index("| R1 / D0 |") < text.index("| R_all / D_all |")
    pair = next(line for line in text.splitlines() if line.startswith("| R_all / D_all | R1 / D0 | "))
    assert "-66.7 (" in pair and pair.count("(") == 2
    assert "Set `short`: 8 utterances, 24 words." in text and "Set `long`: 4 utterances, 40 words." in text


def test_with_one_seed_the_intervals_are_those_of_eval() -> None:
    rng = np.random.default_rng(0)
    sums = np.full((2, 1, 60, 2), 5, dtype=np.int64)  # five words an utterance
    sums[..., 0] = rng.integers(0, 4, (2, 1, 60))
    ours, base = sums
    errors, old, words = ours[0, :, 0], base[0, :, 0], ours[0, :, 1]
    pairs = [
        (arms.pooled(ours), rate_interval(errors, words)),
        (arms.change(ours, base), paired_relative(errors, old)),
    ]
    for found, expected in pairs:
        assert found is not None and found.value == pytest.approx(expected.value)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_seeds_that_differ_widen_the_interval() -> None:
    same = np.full((3, 40, 2), 5, dtype=np.int64)  # five words an utterance
    same[..., 0] = 2
    different = same.copy()
    different[..., 0] = np.array([1, 2, 3])[:, None]
    one, other = arms.pooled(same), arms.pooled(different)
    assert one is not None and other is not None and one.value == other.value == pytest.approx(0.4)
    deviation = 0.2 * (3 / 2) ** 0.5  # all three draws of the first or the last seed, widened
    assert one.high - one.low < 1e-9 and (other.low, other.high) == pytest.approx((0.4 - deviation, 0.4 + deviation))


def test_no_rate_is_below_zero() -> None:
    sums = np.zeros((2, 40, 2))
    sums[..., 1] = 1
    sums[0, :4, 0] = 1  # one seed has a few, the other none
    found = arms.pooled(sums)
    assert found is not None and found.low == 0 and found.value == pytest.approx(0.05) and found.high > 0.1


def test_a_mean_that_may_be_negative_keeps_its_interval() -> None:
    sums = np.ones((2, 40, 2))
    sums[..., 0] = np.random.default_rng(0).normal(0, 1, (2, 40))  # cosines, say
    found = arms.pooled(sums)
    assert found is not None and found.low < 0 < found.high


def test_the_mean_of_drawn_seeds_has_the_variance_of_a_mean_of_seeds() -> None:
    rates = np.array([0.2, 0.35, 0.3, 0.5])
    sums = np.full((4, 1, 2), 1000.0)
    sums[:, 0, 0] *= rates
    draws = arms.bootstrap_sums(sums, 0)
    assert np.std(draws[:, 0] / draws[:, 1]) == pytest.approx(rates.std(ddof=1) / 4**0.5, rel=0.02)


def test_arms_are_compared_on_the_same_utterances_and_seeds_of_their_own() -> None:
    rng = np.random.default_rng(0)
    one = np.full((3, 60, 2), 5.0)
    one[..., 0] = rng.integers(1, 4, 60)  # the seeds are alike
    better = one.copy()
    better[..., 0] *= 0.9
    same = arms.change(better, one)
    assert same is not None and (same.low, same.value, same.high) == pytest.approx((-0.1, -0.1, -0.1))
    spread = one * np.array([0.8, 1.0, 1.2])[:, None, None] ** [1, 0]
    found = arms.change(spread, spread)  # an arm of other runs that happen to be the same
    assert found is not None and found.value == 0 and found.low < -0.2 and found.high > 0.2


def test_evaluations_of_other_utterances_are_refused(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    folder = runs / "R1-D0" / "1" / "final"
    lines = (folder / "utterances.jsonl").read_text().splitlines(keepends=True)
    (folder / "utterances.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(ArlError, match="R1-D0/1/final: not the utterances of the base's evaluation"):
        table1.read_arms(runs)
    with pytest.raises(ArlError, match="no finished run"):
        evaluation(tmp_path / "empty" / "base", {})
        table1.read_arms(tmp_path / "empty")


def test_command_writes_markdown_and_picture(tmp_path: Path) -> None:
    runs = make_runs(tmp_path / "runs")
    table1.main(runs, tmp_path / "T.md", tmp_path / "t.png")
    assert "| R_all / D_all |" in (tmp_path / "T.md").read_text()
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    runs, page = make_runs(tmp_path / "runs"), tmp_path / "RESULTS.md"
    page.write_text(f"# Results\n\n{table1.BEGIN}\nold\n{table1.END}\n\nmore\n")
    for _ in range(2):
        table1.main(runs, page)
    text = page.read_text()
    assert text.startswith("# Results\n") and text.endswith(f"{table1.END}\n\nmore\n") and "old" not in text
    assert text.count("| R_all / D_all |") == 4


def test_the_full_table_is_planned(tmp_path: Path) -> None:
    plan = planned("table1", f"T1={tmp_path}")
    runs = [line for line in plan.splitlines() if line.startswith("make --no-print-directory")]
    assert len(runs) == 7 * 3 and sum(" control " in line for line in runs) == 3
    whole = next(line for line in runs if "Rall-Dall/2 " in line)
    assert " SEED=2 " in whole and "D1+D2+D3" in whole and "LOSS=dapo" in whole
    assert 'REWARD="--with wer --with keyword=0.5 --gate hallucination=-1"' in whole
    assert all('LOSS="mwer --ce 0.01" READS_TEXTS=1' in line for line in runs if "MWER-Dall" in line)
    trained = {word for line in runs for word in line.split() if word.startswith("TRAIN=")}
    assert trained == {f"TRAIN={tmp_path}/sets/{name}" for name in ("D0", "D0+D2", "D1+D2", "D1+D2+D3")}
    chosen = next(
        line for line in plan.replace("\\\n", " ").splitlines() if line.startswith("arl mine") and "D0+D2" in line
    )
    assert all(f"--against {tmp_path}/voices/{part}" in chosen for part in ("test", "dev"))


def test_the_quick_table_and_the_development_set_are_planned(tmp_path: Path) -> None:
    quick = planned("table1", f"T1={tmp_path}", "QUICK=1")
    assert quick.count("make --no-print-directory") == 4 and "STEPS=2 " in quick and f"{tmp_path}/runs-dev" in quick
    tuned = planned("table1", f"T1={tmp_path}", "ON=dev", "ARMS=Rall-Dall", "SEEDS=0", "T1_STEPS=9")
    assert tuned.count("make --no-print-directory") == 1 and " STEPS=9 " in tuned
    assert f"{tmp_path}/emb/test" not in tuned


WORDS = "anchor basket candle dragon engine forest garden hammer island jacket kettle ladder market needle orange"


def noise(folder: Path, count: int) -> Path:
    """`count` recordings of noise, each with a text of its own."""
    rng, words = np.random.default_rng(0), WORDS.split()
    folder.mkdir()
    for number in range(count):
        wave = 0.1 * rng.standard_normal(3200 + 640 * (number % 10))
        soundfile.write(folder / f"u{number:03d}.wav", wave, 16000)
        rare = "".join("aeioubdgkt"[int(digit)] for digit in f"{number:03d}" * 2)
        (folder / f"u{number:03d}.txt").write_text(f"{words[number % 15]} {words[number // 15]} {rare}")
    return folder


SAID = "please leave a message after the tone"


@pytest.mark.registry
def test_what_whisper_hears_is_a_line_of_each_clip(tmp_path: Path) -> None:
    pytest.importorskip("hibari")
    from arl.data.corpora.synthetic import clean_speech

    waves = {"said": clean_speech(SAID, 1), "noise": 0.1 * np.random.default_rng(0).standard_normal(16000)}
    rows = ((key, {"json": dumps({"text": ""}), "flac": encode_flac(wave)}) for key, wave in waves.items())
    write_shard(tmp_path / "data" / "000000.tar", rows)
    whisper_texts.main([str(tmp_path / "data")], tmp_path / "whisper.tsv")
    found = transcripts.read("whisper", str(tmp_path / "whisper.tsv"))
    assert set(found) == set(waves) and normalise(found["said"][0], "en") == SAID
    write_shard(tmp_path / "broken" / "000000.tar", [("b", {"json": dumps({"text": ""}), "flac": b"no"})])
    with pytest.raises(ArlError, match=r"000000\.tar"):
        whisper_texts.main([str(tmp_path / "broken")], tmp_path / "broken.tsv")
    assert not (tmp_path / "broken.tsv").exists()


@pytest.mark.engine
def test_the_quick_table_runs_and_is_resumed(tmp_path: Path) -> None:
    """All of it on noise with a random policy: sets, two arms, evaluations on three sets, table and picture."""
    t1, environment = tmp_path / "t1", {**os.environ, "ARL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    arl, splits = str(Path(sys.executable).with_name("arl")), "test=0.1,dev=0.2,train=0.7"
    voices = ["data", "--folder", noise(tmp_path / "noise", 150), "--split", splits, "-o", t1 / "voices"]
    subprocess.run([arl, *map(str, voices)], check=True, env=environment)
    heard = t1 / "heard" / "whisper.tsv"  # whisper_texts.py is tested by itself: on noise Whisper never ends
    heard.parent.mkdir()
    spoken = (sample for shard in expand([str(t1 / "voices" / "train")]) for sample in read_shard(shard))
    heard.write_text("".join(f"{sample.key}\t{sample.json('json')['text'][:-6]}\n" for sample in spoken))
    make_tiny_asr_policy(t1 / "policy")
    toy = ["T1_LONG=1.5-2.5", "T1_SIZES=D0=8,D1=8,D2=2,D3=4", "T1_TOKENS=12", "LR=1e-2", "ROLLOUT=--temperature 1"]
    command = ["make", "table1", "QUICK=1", f"T1={t1}", *toy, "ARMS=Rall-Dall SFT-Dall"]
    try:
        for _ in range(2):
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    finally:
        stop_all(t1)
    assert "step    " not in done.stdout + done.stderr  # nothing was done twice
    text = (t1 / "runs-dev" / "TABLE1.md").read_text()
    for name in ("base", "R_all / D_all", "SFT / D_all"):
        assert len(cells(text, name)) == 10
    assert all(f"Set `{name}`" in text for name in ("short", "long", "keyword"))
    assert (t1 / "runs-dev" / "table1.png").is_file()
    versions = {Policy.open(path).version for path in (t1 / "runs-dev").glob("*/0/step-000002/policy")}
    assert len(versions) == 1 and server.status(t1 / "engine") is None
