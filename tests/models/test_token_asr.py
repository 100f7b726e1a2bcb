"""The token recogniser: a batch is its rows, its probabilities, its files, its training, and the command."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from arl.cli.train_token_asr import train_token_asr as command
from arl.errors import ArlError, UsageError
from arl.models.qwen2_flow import codec as codecs
from arl.models.qwen2_flow.codec import Codec
from arl.models.qwen2_flow.recogniser import token_recogniser
from arl.models.token_asr import model as token_asr
from arl.models.token_asr.model import RATE, TokenAsr, fewest_codes, pad
from arl.models.token_asr.train import Recipe, mixed, noisy, score, split, train_token_asr
from arl.shards import columns
from arl.shards.record import read_record
from arl.shards.writer import write_shard
from arl.text.letters import LETTERS, spoken
from tests.models.test_speech_codec import make_codec
from tests.tiny_speech import CODES, LETTER_CODES, speak

SHAPE = {"width": 32, "heads": 2, "layers": 2}


def make_asr(seed: int = 0) -> TokenAsr:
    torch.manual_seed(seed)
    return TokenAsr(CODES, **SHAPE).double().requires_grad_(False).eval()


def onehots(codes: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    padded, lengths = pad(codes)
    inside = torch.arange(padded.shape[1]) < lengths[:, None]
    return F.one_hot(padded, CODES).double() * inside[..., None], lengths


def pairs(n: int, seed: int) -> list[tuple[list[int], str]]:
    rng = random.Random(seed)
    texts = ["".join(rng.choices("abc ", k=rng.randint(3, 6))).strip() or "a" for _ in range(n)]
    return [(speak(spoken(text), rng), text) for text in texts]


# ---- the model ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(0, 9))
def test_a_batch_gives_what_its_rows_give_alone(lengths, seed):
    asr, rng = make_asr(), random.Random(seed)
    codes = [[rng.randrange(CODES) for _ in range(n)] for n in lengths]
    together = asr(*onehots(codes))
    for row, one in zip(together, codes, strict=True):
        alone = asr(*onehots([one]))[0]
        torch.testing.assert_close(row[: len(alone)], alone, rtol=0, atol=1e-12)
    assert asr.transcribe(codes) == [asr.transcribe([one])[0] for one in codes]


def test_what_stands_in_the_padding_does_not_matter():
    asr = make_asr()
    x, lengths = onehots([[1, 2, 3], [4]])
    spoiled = x.clone()
    spoiled[1, 1:] = 7.0
    torch.testing.assert_close(asr(spoiled, lengths)[1, :RATE], asr(x, lengths)[1, :RATE], rtol=0, atol=1e-12)


def test_one_hots_are_codes_and_soft_ones_have_a_gradient():
    asr, codes = make_asr(), [[1, 2, 3, 3], [4, 0]]
    x, lengths = onehots(codes)
    torch.testing.assert_close(asr(x, lengths), asr.read(*pad(codes)), rtol=0, atol=1e-12)
    soft = (0.9 * x + 0.1 / CODES).requires_grad_()
    asr.rewards(soft, lengths, ["ab", "b"]).sum().backward()
    assert torch.isfinite(soft.grad).all() and soft.grad[0].abs().sum() > 0
    assert not any(parameter.grad is not None for parameter in asr.parameters())
    with pytest.raises(ArlError, match="one-hots of 5 codes for a token recogniser of"):
        asr(torch.zeros(1, 3, 5), torch.tensor([3]))


def test_the_texts_probability_is_the_sum_over_all_paths():
    """Every path of 4 steps enumerated that reads as "aa" or "b"; the reward is per letter."""
    asr, codes = make_asr(), [[3, 9]]
    x, lengths = onehots(codes)
    log_probs = asr(x, lengths)[0]
    for text in ("aa", "b", " "):
        wanted = [1 + LETTERS.index(letter) for letter in spoken(text)] if text.strip() else None
        if wanted is None:
            with pytest.raises(ArlError, match="nothing to speak"):
                asr.text_log_probs(x, lengths, [text])
            continue
        symbols, total = sorted({0, *wanted}), 0.0
        for path in torch.cartesian_prod(*[torch.tensor(symbols)] * 4).tolist():
            heard = [symbol for i, symbol in enumerate(path) if symbol and (i == 0 or symbol != path[i - 1])]
            if heard == wanted:
                total += math.exp(sum(float(log_probs[i, symbol]) for i, symbol in enumerate(path)))
        assert float(asr.text_log_probs(x, lengths, [text])) == pytest.approx(math.log(total), rel=1e-12)
        assert float(asr.rewards(x, lengths, [text])) == pytest.approx(math.log(total) / len(wanted), rel=1e-12)


@given(st.text("ab ", min_size=1, max_size=8).filter(str.strip), st.integers(0, 8))
@settings(deadline=None, max_examples=40)
def test_it_fits_just_where_the_probability_is_not_zero(text, n):
    asr = make_asr()
    if n:
        x, lengths = onehots([[1] * n])
        assert asr.fits(n, text) == math.isfinite(float(asr.text_log_probs(x, lengths, [text])))
    else:
        assert not asr.fits(n, text)


def test_it_can_begin_as_what_a_tokenizer_has_behind_its_codes():
    codec = make_codec()
    lengths = torch.tensor([9, 4])
    steps, valid = codec.quantise(torch.randn(2, 18, 80), lengths)
    wanted, _ = codec.heads_of(steps, valid)
    read = token_recogniser(codec).eval().read(codec.fsq.codes(steps), lengths)
    for row, other, n in zip(read, wanted, lengths, strict=True):
        torch.testing.assert_close(row[: RATE * n], other[: RATE * n], rtol=0, atol=1e-5)


def test_a_text_of_other_letters_does_not_fit_and_is_said_once(capsys):
    asr = make_asr()
    assert [asr.fits(99, text) for text in ("route", "route 66", "a & b")] == [True, False, False]
    assert capsys.readouterr().err.count("has no letters for get no reward of it: '6' is not spoken") == 1


def test_fast_speech_fits_and_the_default_is_small():
    assert fewest_codes("a" + "bcdefghij" * 2 + "x") <= 25  # 20 letters in a second of 25 codes
    assert fewest_codes("aaa") == 3 and fewest_codes("abc") == 2
    assert sum(parameter.numel() for parameter in TokenAsr(729).parameters()) < 1_000_000


def test_transcribe_of_nothing_is_nothing():
    assert make_asr().transcribe([[], [1], []])[::2] == ["", ""]


# ---- its files ------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded_and_named(tmp_path):
    asr = make_asr().float()
    token_asr.save(asr, tmp_path / "asr", made="x")
    again = token_asr.load(tmp_path / "asr")
    assert again.config == asr.config and not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in asr.state_dict().items())
    assert not any(parameter.requires_grad for parameter in again.parameters())
    name = token_asr.digest(tmp_path / "asr")
    token_asr.save(make_asr(1).float(), tmp_path / "other")
    token_asr.save(asr, tmp_path / "again", made="y")
    assert token_asr.digest(tmp_path / "again") == name != token_asr.digest(tmp_path / "other")


def test_a_folder_that_is_no_recogniser_is_one_line(tmp_path):
    with pytest.raises(ArlError, match="no config.json and model.safetensors: `arl train-token-asr"):
        token_asr.load(tmp_path)
    token_asr.save(make_asr().float(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    for broken in (
        {name: tensor for name, tensor in weights.items() if name != "table.weight"},
        weights | {"extra": torch.zeros(1)},
        weights | {"table.weight": torch.zeros(CODES + 1, 32)},
    ):
        save_file(broken, tmp_path / "model.safetensors")
        with pytest.raises(ArlError, match="not the weights of") as caught:
            token_asr.load(tmp_path)
        assert "\n" not in str(caught.value)
    for other in ({**config, "letters": "abc"}, {**config, "kind": "asr"}, [1]):
        (tmp_path / "config.json").write_text(json.dumps(other))
        with pytest.raises(ArlError, match="not a token recogniser over these letters"):
            token_asr.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ArlError, match="not JSON"):
        token_asr.load(tmp_path)


# ---- training -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(0, 0.5))
@settings(deadline=None, max_examples=30)
def test_noise_keeps_the_codes_possible(seed, noise):
    rng = random.Random(seed)
    codes, text = pairs(1, seed)[0]
    heard = noisy((codes, text), CODES, noise, rng)
    assert len(heard) >= fewest_codes(text) and all(0 <= code < CODES for code in heard)
    assert noisy((codes, text), CODES, 0.0, rng) == codes


def test_noise_replaces_drops_and_doubles_in_its_shares():
    rng, codes = random.Random(0), list(range(20)) * 500
    lengths, same = [], []
    for _ in range(20):
        heard = noisy((codes, "a"), 10**6, 0.4, rng)  # a code drawn anew is none of the old
        lengths.append(len(heard) / len(codes))
        same.append(sum(code < 20 for code in heard) / len(codes))
    assert sum(lengths) / 20 == pytest.approx(1.0, abs=0.02)  # as many doubled as dropped
    assert sum(same) / 20 == pytest.approx(0.8, abs=0.08) and min(same) < 0.75 and max(same) > 0.85


def test_codes_are_mixed_with_others():
    asr, codes = make_asr(), torch.zeros(50, 40, dtype=torch.long)
    rows = mixed(asr, codes, 0.5, torch.Generator().manual_seed(0))
    table = asr.table.weight
    assert torch.equal(mixed(asr, codes, 0.0, torch.Generator()), asr.table(codes))
    shares = torch.linalg.lstsq(table.T, rows.flatten(0, 1).T).solution.T  # 27 codes in 32 dimensions: unique
    assert float(shares.min()) > -1e-9 and torch.allclose(shares.sum(1), torch.ones(2000).double())
    assert float((shares[:, 0] > 1 - 1e-9).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(shares[:, 0].min()) < 0.05 and int((shares > 1e-9).sum(1).max()) == 2


def test_no_text_is_trained_on_and_held_out():
    found = pairs(60, 3)
    train, held = split(found, 0.1, 0)
    assert not {spoken(t) for _, t in train} & {spoken(t) for _, t in held} and len(train) + len(held) == 60
    assert held == split(found, 0.1, 0)[1] != split(found, 0.1, 1)[1]
    assert split(found, 0.0, 0) == (found, []) and len(split(found, 0.001, 0)[1]) >= 1


@pytest.mark.slow
def test_it_learns_and_equal_seeds_give_equal_bits():
    found, small = pairs(200, 1), SHAPE | {"layers": 1}
    first, second = (train_token_asr(found, CODES, Recipe(steps=4, batch=16), **small) for _ in range(2))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    learned = train_token_asr(found, CODES, Recipe(steps=200, lr=1e-2, batch=16, noise=0.05), **small)
    assert score(learned, pairs(20, 2))["cer"] < 0.1
    assert score(make_asr().float(), pairs(20, 2))["cer"] > 0.8


# ---- the command ----------------------------------------------------------------------------------------------------


def make_shards(folder: Path) -> list[str]:
    found = pairs(24, 5)
    codes: list[tuple[str, dict[str, bytes]]] = [
        (f"u{i}", {columns.CODES: columns.dumps({"codes": heard, "rate_hz": 25.0})})
        for i, (heard, _) in enumerate(found)
    ]
    texts = [
        (f"u{i}", {columns.META: columns.dumps({"text": text, "lang": "en"})}) for i, (_, text) in enumerate(found)
    ]
    stray = [({"codes": [1, 2]}, "route 66"), ({"codes": []}, "a"), ({"codes": [1]}, "a long one"), (None, "b")]
    for i, (content, text) in enumerate(stray):
        members = {columns.PROMPT: columns.dumps({"input_ids": [1]})}
        if content:
            members[columns.CODES] = columns.dumps({**content, "rate_hz": 25.0})
        codes.append((f"x{i}", members))
        texts.append((f"x{i}", {columns.META: columns.dumps({"text": text, "lang": "en"})}))
    for name, rows in (("codes", codes), ("text", texts)):
        write_shard(folder / name / "000000.tar", rows)
    return [str(folder / "codes"), str(folder / "text")]


FAST: dict[str, Any] = {
    "codes": CODES, "steps": 3, "batch": 8, "width": 32, "layers": 1, "held_out": 0.2, "device": "cpu", "threads": 1,
}  # fmt: skip


def test_the_command_trains_prints_records_and_skips(tmp_path, capsys):
    shards, out = make_shards(tmp_path), tmp_path / "asr"
    command(shards=shards, out=out, **FAST)
    said = capsys.readouterr().out
    assert "held out: WER" in said and "CER" in said
    record = read_record(out)[0]
    assert record["arguments"]["steps"] == 3 and record["seconds"]["run"] > 0
    assert (record["without_codes"], record["unspoken"], record["too_short"]) == (1, 1, 2)
    assert record["trained_on"] + record["utterances"] == 24 and record["wer"] >= 0
    assert token_asr.load(out).n_codes == CODES
    inode, name = (out / "model.safetensors").stat().st_ino, token_asr.digest(out)
    command(shards=shards, out=out, json=True, **FAST)
    again = capsys.readouterr()
    assert "already made" in again.err and json.loads(again.out)["wer"] == record["wer"]
    assert (out / "model.safetensors").stat().st_ino == inode
    command(shards=shards, out=out, force=True, **FAST)
    assert (out / "model.safetensors").stat().st_ino != inode and token_asr.digest(out) == name
    command(shards=shards, out=out, **FAST | {"seed": 1})
    assert token_asr.digest(out) != name
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_command_begins_with_a_tokenizer(tmp_path):
    shards, codec = make_shards(tmp_path), Codec(width=32, heads=2, before=1, after=1, levels=3, dims=4)
    codecs.save(codec, tmp_path / "frontend")
    command(shards=shards, out=tmp_path / "asr", tokenizer=tmp_path / "frontend", **FAST | {"codes": 81, "lr": 0.0})
    begun, made = token_recogniser(codec), token_asr.load(tmp_path / "asr")
    assert all(torch.equal(a, b) for a, b in zip(begun.parameters(), made.parameters(), strict=True))


def test_the_commands_errors_are_one_line(tmp_path):
    shards = make_shards(tmp_path)
    with pytest.raises(ArlError, match="codec.safetensors: missing; --tokenizer is the frontend"):
        command(shards=shards, out=tmp_path / "out", tokenizer=tmp_path, **FAST)
    codecs.save(make_codec(), tmp_path / "frontend")
    with pytest.raises(ArlError, match="a tokenizer of 27 codes; --codes says 200"):
        command(shards=shards, out=tmp_path / "out", tokenizer=tmp_path / "frontend", **FAST | {"codes": 200})
    with pytest.raises(ArlError, match=r"--codes 5: the shards have code \d+; give acoustic_codes"):
        command(shards=shards, out=tmp_path / "out", **FAST | {"codes": 5})
    with pytest.raises(ArlError, match="no member 'json'"):
        command(shards=shards[:1], out=tmp_path / "out", **FAST)
    with pytest.raises(ArlError, match="no sample has codes and a text"):
        command(shards=shards[1:], out=tmp_path / "out", **FAST)
    (tmp_path / "link").symlink_to("frontend")
    with pytest.raises(UsageError, match="link: is, holds or lies in the input"):
        command(shards=shards, out=tmp_path / "link", tokenizer=tmp_path / "frontend", **FAST | {"codes": 27})
    with pytest.raises(UsageError, match="is, holds or lies in the input"):
        command(shards=shards, out=Path(shards[0]), **FAST)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(ArlError, match="exists and is no token recogniser"):
        command(shards=shards, out=tmp_path / "other", **FAST)
    assert not (tmp_path / "out").exists()


def test_the_toy_language_is_unambiguous():
    assert len({code for codes in LETTER_CODES.values() for code in codes}) == 2 * len(LETTER_CODES) <= CODES
