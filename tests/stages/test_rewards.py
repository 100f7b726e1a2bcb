"""The shipped reward programs: answers by hand, options, and the contract."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from arl.audio.io import encode_flac
from arl.errors import ArlError, UsageError
from arl.rewards.programs.checker import check_program
from arl.rewards.programs.compose import Panel
from arl.rewards.programs.resolve import resolve
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.shards.place import AudioSlice
from arl.text.hallucination import RULES

ROOT = Path(__file__).resolve().parent.parent.parent


def utterance(ref, texts, lang="en", keywords=(), **meta):
    return Utterance("u", ref, lang, [RewardHypothesis(text) for text in texts], list(keywords), meta)


def answer(spec, what):
    with resolve(spec).open() as program:
        program.send(what)
        return program.receive()


@pytest.mark.parametrize("name", ["wer", "keyword", "hallucination", "overlong"])
def test_the_contract_holds(name, capsys):
    check_program(name)
    assert capsys.readouterr().err == ""


def test_accuracy_is_not_clipped_unless_asked():
    group = utterance("thank you", ["thank you", "thank you " * 4, ""])
    assert answer("wer", group).rewards == [1.0, -2.0, 0.0]
    assert answer("wer --floor -1", group).rewards == [1.0, -1.0, 0.0]
    assert answer("wer", utterance("", ["", "one more time please"])).rewards == [1.0, -3.0]  # "1 more time please"


def test_overlong_is_the_soft_punishment_or_leaves_out_what_was_cut():
    hyps = [
        RewardHypothesis("", [7] * n, finish) for n, finish in ((5, "stop"), (8, "stop"), (9, "stop"), (10, "length"))
    ]
    group = Utterance("u", "thank you", "en", [*hyps, RewardHypothesis("", [7] * 30, "stop")], [], {})
    assert answer("overlong --limit 10", group).rewards == [0.0, 0.0, -0.5, -1.0, -1.0]  # C = 2
    assert answer("overlong --limit 10 --cache 5", group).rewards == pytest.approx([0.0, -0.6, -0.8, -1.0, -1.0])
    assert answer("overlong --filter", group).rewards == [0.0, 0.0, 0.0, None, 0.0]
    with pytest.raises(UsageError, match="overlong --limit 10 --cache 11: the cache is the last tokens of the limit"):
        answer("overlong --limit 10 --cache 11", group)


def test_characters_count_where_they_are_asked_for():
    group = utterance("thank you", ["thank you", "thank yo", "than you"])
    assert answer("wer", group).rewards == [1.0, 0.5, 0.5]
    found = answer("wer --characters", group)
    assert found.rewards == pytest.approx([1.0, 7 / 8, 7 / 8]) and found.metrics["length"] == [8, 8, 8]


def test_keywords_are_the_mean_of_recall_and_precision():
    group = utterance("anna met bob", ["anna met bob", "anna met rob", "a met b", "anna anna met bob"],
                      keywords=["Anna", "Bob"])  # fmt: skip
    found = answer("keyword", group)
    assert found.rewards == pytest.approx([1.0, 0.75, 0.0, (1 + 2 / 3) / 2])
    assert found.metrics == {"matched": [2, 1, 0, 2], "in_reference": [2] * 4, "in_hypothesis": [2, 1, 0, 3]}


@pytest.mark.parametrize("keywords", [[], ["zebra"], ["..."]])
def test_an_utterance_without_keywords_is_neutral(keywords):
    group = utterance("a cat sat", ["a cat sat", "a zebra sat"], keywords=keywords)
    assert answer("keyword", group).rewards == [0.0, 0.0]


def test_the_gate_reports_the_rules_that_fired():
    group = utterance("thank you", ["thank you", "thank you " * 4, "谢谢", "thank you for watching it"], duration_s=1.5)
    found = answer("hallucination", group)
    assert found.rewards == [0, 1, 1, 1]
    assert tuple(found.metrics) == RULES
    assert {rule: values for rule, values in found.metrics.items() if any(values)} == {
        "ngram_loop": [0, 1, 0, 0], "insertion": [0, 1, 0, 1], "length_ratio": [0, 1, 0, 1], "script": [0, 0, 1, 0]
    }  # fmt: skip


def test_the_duration_comes_from_the_data():
    group = utterance("go", ["go on and on and never stop talking"], duration_s=0.2)
    assert answer("hallucination", group).metrics["speaking_rate"] == [1]
    assert answer("hallucination", utterance("go", ["go on and on and never stop"])).metrics["speaking_rate"] == [0]


@pytest.mark.parametrize(
    ("options", "text", "reference"),
    [
        ("--loop-repeats 5 --phrase-repeats 5", "so so so so good it was for us then", "so good it was for us then"),
        ("--character-repeats 20", "nooooooooooo", "no"),
        ("--insertion-rate 2", "a cat sat on it now", "a cat sat"),
        ("--insertion-words 4", "a cat sat on it now", "a cat sat"),
        ("--length-ratio 3 --off insertion", "a cat sat on a tree", "a cat"),
        ("--speaking-rate 9", "a cat sat up now", "a cat sat"),
        ("--script-share 1", "谢谢 you", "thank you"),
        ("--language-odds 1e12", "je suis très fatigué ce soir", "i am very tired tonight"),
    ],
)  # fmt: skip
def test_each_threshold_is_a_flag(options, text, reference):
    group = utterance(reference, [text], duration_s=0.01)
    quiet = "" if "speaking" in options else " --speaking-rate 99"
    assert answer(f"hallucination{quiet}", group).rewards == [1]
    assert answer(f"hallucination{quiet} {options}", group).rewards == [0]


def test_rules_can_be_switched_off():
    group = utterance("thank you", ["thank you " * 4])
    found = answer("hallucination --off ngram_loop,insertion,length_ratio", group)
    assert found.rewards == [0] and "insertion" not in found.metrics
    with pytest.raises(UsageError, match="no rule 'loops'; rules: ngram_loop"):
        answer("hallucination --off loops", group)


def clip(path: Path, content: bytes) -> AudioSlice:
    path.write_bytes(b"before" + content + b"behind")
    return AudioSlice(str(path), 6, len(content))


def heard(audio: AudioSlice | None, ref: str, texts: list[str]) -> Utterance:
    return Utterance("u", ref, "en", [RewardHypothesis(text) for text in texts], audio=audio)


@pytest.fixture
def quiet(tmp_path) -> AudioSlice:
    noise = np.random.default_rng(0).normal(0, 1e-3, 3 * 16000)
    return clip(tmp_path / "quiet.tar", encode_flac(noise.astype(np.float32)))


def test_words_in_silence(quiet):
    pytest.importorskip("silero_vad")
    found = answer("silence", heard(quiet, "", ["", "thank you", "..."]))
    assert found.rewards == [0, 1, 0] and found.metrics["heard_s"] == [0.0] * 3


def test_where_the_reference_has_words_the_detector_is_not_believed(quiet):
    pytest.importorskip("silero_vad")
    texts = ["press any key", "press a key", "press any key to go on and listen to the rest of it"]
    assert answer("silence", heard(quiet, "press any key", texts)).rewards == [0, 0, 1]


def test_speech_is_heard_and_more_than_it_holds_is_too_much(tmp_path):
    pytest.importorskip("silero_vad")
    pytest.importorskip("hibari")
    from arl.audio.io import resample
    from arl.audio.vad import speech_seconds
    from arl.data.corpora.synthetic import speech

    said = "please leave a message after the tone"
    samples = speech(said, 1)
    padded = np.concatenate([np.zeros(5 * 16000, np.float32), samples, np.zeros(5 * 16000, np.float32)])
    alone = speech_seconds(samples)
    assert 0.5 * len(samples) / 16000 < alone <= len(samples) / 16000 + 0.1
    assert speech_seconds(padded) == pytest.approx(alone, abs=0.2)
    assert speech_seconds(resample(padded, 16000, 16000)) > 0
    group = heard(clip(tmp_path / "a.tar", encode_flac(padded)), said, [said, f"{said} {said} {said}"])
    assert answer("silence", group).rewards == [0, 1]  # in 12 s of audio, but 2 s of speech


def test_unreadable_audio_excludes_the_group(tmp_path, capsys):
    broken = heard(clip(tmp_path / "a.tar", b"no audio at all"), "a cat", ["a cat", "a hat"])
    assert answer("silence", broken).rewards == [None, None]
    assert "its group is excluded" in capsys.readouterr().err
    panel = Panel.parse(["wer", "keyword"], ["hallucination=-1", "silence=-1"])
    assert panel.total([answer(name, broken) for name in ("wer", "keyword", "hallucination", "silence")]) == [None] * 2


def test_no_audio_fails_the_stage():
    with pytest.raises(ArlError, match="'u' has no audio; name its shards: --shards data/train"):
        answer("silence", heard(None, "a cat", ["a cat"]))


@pytest.mark.parametrize(
    ("variable", "programs", "gates"),
    [
        ("REWARD_R1", ["wer"], []),
        ("REWARD_R12", ["wer"], ["hallucination"]),
        ("REWARD_ALL", ["wer", "keyword"], ["hallucination"]),
        ("REWARD", ["wer"], []),
    ],
)
def test_the_papers_rewards_are_in_the_example(variable, programs, gates):
    asked = f"include examples/asr/config.mk\nshow:\n\t@echo $({variable})\n"
    done = subprocess.run(
        ["make", "-sf", "-", "show"], input=asked, cwd=ROOT, capture_output=True, text=True, check=True
    )
    words = done.stdout.split()
    flags = list(zip(words[::2], words[1::2], strict=True))
    panel = Panel.parse([v for f, v in flags if f == "--with"], [v for f, v in flags if f == "--gate"])
    assert [program.name for program in panel.programs] == programs + gates
    assert panel.weights == (1.0,) * len(programs) and panel.gate_values == (-1.0,) * len(gates)
