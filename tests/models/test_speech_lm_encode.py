"""A shard for a speech LLM, by the command: lengths, each sample's language, frame rates, supervised texts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_tensors

from arl.cli.encode import encode
from arl.models import InitOptions, families
from arl.models.checkpoint import Checkpoint
from arl.policy import Policy, load_tokenizer
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import read_joined, read_shard
from arl.train.data import sft_batch
from tests.models.speech_checkpoints import END
from tests.models.speech_lm_case import build, write_clips


def test_encode_one_shard(cases: Any, tmp_path: Path) -> None:
    case = cases("qwen2-audio")
    shards = write_clips(tmp_path / "data", {"a": 1.0, "long": 31.0, "b": 0.4})
    encode([shards], case.policy.path, tmp_path / "emb", device="cpu", threads=1, max_failed=1)
    long, *rest = sorted(read_shard(tmp_path / "emb" / "000000.tar"), key=lambda sample: sample.key != "long")
    assert long.json(columns.PROMPT)["error"] == "31.0 s long, and qwen2-audio hears 30 s: cut the recording"
    for sample, seconds in zip(rest, (1.0, 0.4), strict=True):
        embeddings = load_tensors(sample.members[columns.EMB])["emb"]
        assert embeddings.shape == (seconds * 25, 64)
        assert sample.json(columns.PROMPT) == {"input_ids": case.policy.prompt}


def test_encode_with_the_samples_language_and_keywords(cases: Any, tmp_path: Path) -> None:
    source = str(cases("qwen3-asr").checkpoint)
    family = families()["qwen3-asr"]
    options = InitOptions(language="sample", hotwords=True)
    policy = family.build(Checkpoint(source), tmp_path / "policy", options)
    shards = write_clips(tmp_path / "data", {"a": 0.6}, lang="de", keywords=["Eiche"])
    encode([shards], policy.path, tmp_path / "emb", device="cpu", threads=1)
    (sample,) = read_shard(tmp_path / "emb" / "000000.tar")
    said = load_tokenizer(policy.llm_dir).decode(sample.json(columns.PROMPT)["input_ids"], skip_special_tokens=False)
    assert "Eiche" in said and said.endswith("language German<asr_text>")
    assert "before" not in sample.json(columns.PROMPT)


def test_fun_asr_at_its_low_frame_rate(cases: Any, tmp_path: Path) -> None:
    """config.json asks for it: the first eighth of the frames, rounded up."""
    case = cases("fun-asr-nano")
    shutil.copytree(case.checkpoint, tmp_path / "checkpoint")
    fields = json.loads((tmp_path / "checkpoint/config.json").read_text())
    fields["adaptor_config"]["use_low_frame_rate"] = True
    (tmp_path / "checkpoint/config.json").write_text(json.dumps(fields))
    low = build(tmp_path / "checkpoint", tmp_path / "low")
    shards, found = write_clips(tmp_path / "data", {"a": 1.3}), []
    for number, policy in enumerate((case.policy, low)):
        encode([shards], policy.path, tmp_path / f"emb{number}", device="cpu", threads=1)
        (sample,) = read_shard(tmp_path / f"emb{number}" / "000000.tar")
        found.append(load_tensors(sample.members[columns.EMB])["emb"])
    whole, first = found
    assert len(whole) % 8 and first.equal(whole[: len(whole) // 8 + 1])
    assert low.fields["embedding_rate_hz"] == pytest.approx(case.policy.fields["embedding_rate_hz"] / 8, rel=0.05)


@pytest.mark.parametrize(("lang", "name"), [("en-GB", "English"), ("tlh", "None"), (None, "None")])
def test_supervised_training_teaches_what_qwen3_asr_writes_in_front(
    cases: Any, tmp_path: Path, lang: str | None, name: str
) -> None:
    policy = cases("qwen3-asr").policy
    shards = write_clips(tmp_path / "data", {"a": 0.6}, **({"lang": lang} if lang else {}))
    encode([shards], policy.path, tmp_path / "emb", device="cpu", threads=1)
    words = load_tokenizer(policy.llm_dir)
    samples = read_joined([tmp_path / "data" / "000000.tar", tmp_path / "emb" / "000000.tar"])
    ((response,),) = [group.responses for group in sft_batch(samples, words, END, "plain", False).groups]
    assert words.decode(response.tolist(), skip_special_tokens=False) == f"language {name}<asr_text>one<|im_end|>"


def test_a_prompt_beyond_the_llms_context(cases: Any, tmp_path: Path) -> None:
    case = cases("fun-asr-nano")
    short = Policy(case.policy.path, {**case.policy.fields, "context": 20})
    shards = write_clips(tmp_path / "data", {"a": 0.6})
    encoder = case.family.encoder(short, torch.device("cpu"), False)
    budget = FailureBudget(1)
    ((_, members, _),) = encoder.encode(encoder.read(read_shard(Path(shards) / "000000.tar")), 0.0, budget)
    assert b"positions, and the LLM 20: cut the recording" in members[columns.PROMPT]
