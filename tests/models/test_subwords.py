"""Subword vocabularies of a fresh LLM: made of transcripts, kept by the policy and its slim form, and by training."""

from pathlib import Path
from typing import Any

import pytest

from arl.errors import ArlError, UsageError
from arl.models import Subwords
from arl.policy import Policy
from arl.shards import columns
from arl.shards.writer import write_shard
from tests.in_process import arl
from tests.models.test_audio_encoder import make_checkpoint

TEXTS = [
    f"{verb} the {thing}" for verb in ("Take", "drop", "don't open", "shut") for thing in ("door", "window", "box!")
]


def made_of(texts: str | Path, size: int = 50) -> Any:
    """A tokenizer of so many subwords."""
    from arl.models.whisper_qwen2.vocabulary import subword_tokenizer

    return subword_tokenizer(Subwords(size, (str(texts),)))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("texts")
    rows = [(f"{i:02d}", {columns.META: columns.dumps({"text": text})}) for i, text in enumerate(TEXTS)]
    write_shard(folder / "000000.tar", rows)
    return str(folder)


def test_texts_come_back_in_fewer_tokens_than_letters(texts):
    from arl.models.whisper_qwen2.vocabulary import SPECIALS

    tokenizer = made_of(texts)
    assert len(tokenizer) == 50
    assert tokenizer.convert_tokens_to_ids(SPECIALS) == list(range(len(SPECIALS)))
    for text in ("take the window", "don't drop the zebra's quilt"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert min(ids) >= len(SPECIALS) and tokenizer.decode(ids) == text
    assert len(tokenizer.encode("take the window")) < len("take the window") / 2


def test_sizes_that_cannot_be_are_refused(texts):
    with pytest.raises(UsageError, match="--subwords 33: the special tokens and the letters alone are 33"):
        made_of(texts, 33)
    with pytest.raises(ArlError, match=r"--subwords 5000: the texts give only \d+: add --texts"):
        made_of(texts, 5000)


def test_shards_without_transcripts_are_refused(tmp_path):
    write_shard(tmp_path / "000000.tar", [("a", {"txt": b"no"})])
    with pytest.raises(ArlError, match="000000.tar: sample 'a'.*no transcript to make subwords of"):
        made_of(tmp_path)


def test_a_policy_over_subwords(texts, tmp_path):
    import torch

    from arl.models.whisper_qwen2.build import saved_tokenizer
    from arl.train.load import causal_lm

    make_checkpoint("hubert", tmp_path / "checkpoint")
    words = ("init", "--from", tmp_path / "checkpoint", "--llm", "new:64x1", "--subwords", 50)
    with pytest.raises(UsageError, match="--subwords and --texts go together"):
        arl(*words, "-o", tmp_path / "policy")
    arl(*words, "--texts", texts, "-o", tmp_path / "policy")
    policy = Policy.open(tmp_path / "policy")
    policy.verify()
    assert causal_lm(policy.llm_dir, torch.float32).config.vocab_size == 50
    tokenizer = saved_tokenizer(policy.llm_dir)
    assert tokenizer.decode(tokenizer.encode("shut the box", add_special_tokens=False)) == "shut the box"
    with pytest.raises(UsageError, match="--subwords is the vocabulary of a fresh LLM"):
        arl("init", "--from", tmp_path / "checkpoint", "--llm", policy.llm_dir, "--subwords", 50, "--texts", texts,
            "-o", tmp_path / "other")  # fmt: skip


def test_training_writes_the_subwords_of_a_transcript(texts):
    from arl.shards.reader import Sample
    from arl.train.data import transcripts

    tokenizer = made_of(texts)
    members = {
        columns.META: columns.dumps({"text": "Don't shut the Door."}),
        columns.PROMPT: columns.dumps({"input_ids": [1]}),
    }
    tokens = transcripts(tokenizer.backend_tokenizer, 2, "characters")(Sample("a", members, Path("x.tar")))
    assert tokens is not None and tokens[-1] == 2 and tokenizer.decode(tokens[:-1]) == "don't shut the door"
