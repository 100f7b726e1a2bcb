"""The reward `asr --by tokens`: a real token recogniser of random weights, whose transcripts are asked for directly."""

import random

import pytest
import torch

from arl.errors import ArlError, UsageError
from arl.models.token_asr import model as token_asr
from arl.rewards.programs.resolve import resolve
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.text.wer import aligned

CODES, FIRST, STOP = 12, 44, 56  # the stop token follows the codes, so it is none of them


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    asr = token_asr.TokenAsr(CODES, width=16, heads=2, layers=1)
    with torch.no_grad():
        for weight in asr.table.parameters():
            weight.mul_(8)  # else every code sounds alike
    token_asr.save(asr, tmp_path / "asr")
    return tmp_path / "asr"


def answer(folder, utterance, options="", child=False):
    with resolve(f"asr --by tokens --model {folder} --first {FIRST} {options}", child=child).open() as program:
        program.send(utterance)
        program.finish()
        found = program.receive(120)
        program.close(60)
    return found


def speech():
    rng = random.Random(0)
    return [[rng.randrange(CODES) for _ in range(n)] for n in (20, 30, 25)]


@pytest.mark.slow
def test_the_reward_is_what_the_recogniser_reads(folder):
    codes = speech()
    texts = token_asr.load(folder).transcribe(codes)
    assert len(set(texts)) == 3 and all(text.replace(" ", "") for text in texts)
    hyps = [RewardHypothesis("", [FIRST + code for code in row] + [STOP]) for row in codes]
    utterance = Utterance("u", texts[0], "und", hyps)
    found = answer(folder, utterance, "--unit char")
    said, *others = texts
    assert found.rewards == pytest.approx([1.0, *(1 - aligned(said, other, True).errors.rate for other in others)])
    assert answer(folder, utterance, "--unit char", child=True) == found
    assert answer(folder, utterance, "--unit char --floor 0").rewards == [max(0.0, reward) for reward in found.rewards]


def test_it_hears_letters_so_numbers_stay_words(folder):
    codes = speech()[:1]
    (text,) = token_asr.load(folder).transcribe(codes)
    hyps = [RewardHypothesis("", [FIRST + code for code in codes[0]])]
    for said in ("three eight three", "Three, eight: THREE"):  # as digits most letters would be insertions
        found = answer(folder, Utterance("u", said, "en", hyps), "--unit char")
        assert found.rewards == pytest.approx([1 - aligned("three eight three", text, True).errors.rate])


def test_it_hears_mandarin_as_syllables_without_tones(folder):
    pytest.importorskip("pypinyin")
    codes = speech()[:1]
    (text,) = token_asr.load(folder).transcribe(codes)
    hyps = [RewardHypothesis("", [FIRST + code for code in codes[0]])]
    found = answer(folder, Utterance("u", "你好。", "zh", hyps))
    assert found.rewards == pytest.approx([1 - aligned("ni hao", text, True).errors.rate])


def test_tokens_that_are_no_codes_are_dropped(folder):
    codes = speech()[0]
    (text,) = token_asr.load(folder).transcribe([codes])
    tokens = [FIRST + code for code in codes]
    strays = [0, *tokens[:9], FIRST - 1, STOP, *tokens[9:], STOP + 900]
    utterance = Utterance(
        "u",
        text,
        "und",
        [RewardHypothesis("", tokens, "length"), RewardHypothesis("", strays), RewardHypothesis("", [STOP])],
    )
    assert answer(folder, utterance).rewards == [1.0, 1.0, 0.0]  # silence: all words deleted


def test_what_is_missing_is_named(folder, tmp_path):
    utterance = Utterance("u", "go", "en", [RewardHypothesis("", [FIRST])])
    with pytest.raises(ArlError, match=r"no config.json and model.safetensors"):
        answer(tmp_path / "nothing", utterance)
    with pytest.raises(UsageError, match="needs --model, the recogniser's folder, and --first"):
        answer(folder, utterance, "--first -1")
