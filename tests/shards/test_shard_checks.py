"""Column checks: good columns pass, each broken field is one problem that names it."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest

from arl.shards import columns
from arl.shards.checks import sample_problems, shard_problems
from arl.shards.columns import EMB, FEAT, META, PROMPT, REWARD, ROLLOUT, dumps, save_tensor
from arl.shards.reader import Sample
from arl.shards.writer import write_shard

HYP = {"text": "a", "tokens": [3, 4], "logprobs": [-0.5, -1], "finish": "stop"}
loads = json.loads
GOOD = {
    META: {"text": "a", "lang": "en", "duration_s": 1.5, "speaker": "x", "keywords": ["a"]},
    PROMPT: {"input_ids": [1, 2, 3]},
    ROLLOUT: {"policy": "000000-abc", "temperature": 1.0, "hyps": [HYP, HYP]},
    REWARD: {"components": {"wer": [1.0, None]}, "rewards": [1.0, None], "advantages": [0, None]},
}


def members(**changes: object) -> dict[str, bytes]:
    """The good columns; `changes` replaces whole members by Python name (json, prompt, rollout, reward)."""
    changed = {name if name == META else f"{name}.json": value for name, value in changes.items()}
    columns = copy.deepcopy(GOOD) | changed
    packed = {name: dumps(value) for name, value in columns.items()}
    return packed | {"flac": b"fLaC...", EMB: save_tensor("emb", np.ones((3, 4), dtype=np.float32))}


def problems(found: dict[str, bytes]) -> list[str]:
    return list(sample_problems(Sample("a", found, {})))


def test_good_columns() -> None:
    assert problems(members()) == []
    assert problems({META: dumps({"text": "a", "lang": "en"})}) == []  # speech synthesis: no audio, no duration
    assert problems({"00.flac": b"fLaC", "01.wav": b"RIFF....WAVE", "mp3": b"ID3", "x.txt": b"", "o.json": b"1"}) == []
    assert problems({EMB: save_tensor("emb", b"\0\0\x80\x3f", dtype="bfloat16", shape=(1, 2))}) == []


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("json", {"text": None}, "json: 'text'"),
        ("json", {"lang": 1}, "json: 'lang'"),
        ("json", {"duration_s": None}, "json: 'duration_s' is missing beside the audio"),
        ("json", {"duration_s": -1}, "json: 'duration_s' is -1"),
        ("json", {"duration_s": True}, "json: 'duration_s' is True"),
        ("json", {"speaker": 3}, "json: 'speaker'"),
        ("json", {"keywords": "a"}, "json: 'keywords'"),
        ("prompt", {"input_ids": None}, "prompt.json: 'input_ids'"),
        ("prompt", {"input_ids": []}, "prompt.json: 'input_ids'"),
        ("prompt", {"input_ids": [1, -2]}, "prompt.json: 'input_ids'"),
        ("prompt", {"input_ids": [1.0]}, "prompt.json: 'input_ids'"),
        ("rollout", {"policy": ""}, "rollout.json: 'policy'"),
        ("rollout", {"temperature": None}, "rollout.json: 'temperature'"),
        ("rollout", {"hyps": [HYP, HYP | {"finish": "abort"}]}, "rollout.json: hyps[1]: 'finish' is 'abort'"),
        ("rollout", {"hyps": [HYP, HYP | {"logprobs": [0.0]}]}, "rollout.json: hyps[1]: 2 tokens, but 1 logprobs"),
        ("rollout", {"hyps": [HYP, HYP | {"logprobs": [0, None]}]}, "rollout.json: hyps[1]: 'logprobs'"),
        ("rollout", {"hyps": [HYP, HYP | {"tokens": "ab"}]}, "rollout.json: hyps[1]: 'tokens'"),
        ("rollout", {"hyps": [HYP, HYP | {"text": None}]}, "rollout.json: hyps[1]: 'text'"),
        ("rollout", {"hyps": [HYP, 1]}, "rollout.json: hyps[1]: not an object"),
        ("reward", {"rewards": "x"}, "reward.json: 'rewards' is not a list"),
        ("reward", {"components": None}, "reward.json: 'components' is not an object"),
        ("reward", {"components": {"wer": [1]}}, "reward.json: 'components.wer' has 1 entries for 2 hypotheses"),
        ("reward", {"advantages": [1, 2]}, "reward.json: hypothesis 1 is excluded in one"),
        ("reward", {"advantages": [True, None]}, "reward.json: 'advantages' is not a list"),
    ],
)
def test_one_broken_field_is_one_problem(column: str, change: dict, words: str) -> None:
    name = "json" if column == "json" else f"{column}.json"
    (problem,) = problems(members(**{column: GOOD[name] | change}))
    assert problem.startswith(words)


@pytest.mark.parametrize("column", ["json", "prompt", "rollout", "reward"])
def test_a_column_that_is_no_object(column: str) -> None:
    assert any("not a JSON object" in problem for problem in problems(members(**{column: [1]})))


def test_lengths_are_those_of_the_joined_hypotheses() -> None:
    three = {"components": {"wer": [1, 2, 3]}, "rewards": [1, 2, 3], "advantages": [0, 0, 0]}
    assert problems({REWARD: dumps(three)}) == []
    found = problems({REWARD: dumps(three), ROLLOUT: dumps(GOOD[ROLLOUT]), "02.flac": b"fLaC"})
    assert len([problem for problem in found if "has 3 entries for 2 hypotheses" in problem]) == 3
    assert "02.flac: there are only 2 hypotheses" in found


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones(3, dtype=np.float32), "shape [3] is not [T, H]"),
        (np.ones((0, 3), dtype=np.float32), "shape [0, 3] is not [T, H]"),
        (np.ones((2, 3), dtype=np.int32), "int32"),
        (np.array([[1, np.nan]], dtype=np.float16), "NaN"),
        (np.array([[1, np.inf]], dtype=np.float32), "NaN or infinite"),
    ],
)
def test_embeddings(array: np.ndarray, words: str) -> None:
    (problem,) = problems({EMB: save_tensor("emb", array)})
    assert words in problem


def test_other_tensors() -> None:
    assert "no tensor 'emb'" in problems({EMB: save_tensor("other", np.ones((1, 1)))})[0]
    assert "'feat'" in problems({FEAT: save_tensor("feat", np.array([np.nan]))})[0]
    infinite = save_tensor("emb", b"\x80\x7f", dtype="bfloat16", shape=(1, 1))
    assert "NaN or infinite" in problems({EMB: infinite})[0]
    assert "not safetensors" in problems({"x.safetensors": b"12"})[0]
    for header in (
        {"emb": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}},
        {"emb": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}, "__metadata__": {"a": {}}},
        {"emb": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}, "__metadata__": [1]},
    ):
        text = json.dumps(header).encode()
        assert "not safetensors" in problems({EMB: len(text).to_bytes(8, "little") + text + bytes(4)})[0]


def test_a_header_is_read_once_for_all_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({f"t{number}": entry for number in range(2000)}).encode()
    read: list[bytes] = []
    monkeypatch.setattr(columns.json, "loads", lambda data, **how: read.append(data) or loads(data, **how))
    assert problems({FEAT: len(text).to_bytes(8, "little") + text}) == [] and len(read) == 1


def test_a_header_is_as_strict_as_the_library() -> None:
    good = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    for header, size in (
        ({"a": good | {"data_offsets": [4, 8]}}, 8),  # a gap
        ({"a": good}, 8),  # bytes of nobody
        ({"a": good, "b": good}, 4),  # the same bytes twice
    ):
        text = json.dumps(header).encode()
        assert "not safetensors" in problems({FEAT: len(text).to_bytes(8, "little") + text + bytes(size)})[0]
    for text in (b'{"a":%s,"a":%s}' % ((json.dumps(good).encode(),) * 2), b"\xef\xbb\xbf{}", "{}".encode("utf-16")):
        assert "not safetensors" in problems({FEAT: len(text).to_bytes(8, "little") + text + bytes(4)})[0]


def test_bytes_that_are_not_what_their_name_says() -> None:
    for name in ("wav", "flac", "mp3", "03.flac"):
        assert problems({name: b"junk"}) == [f"{name}: does not start like a {name[-4:].strip('.')} file"]
    assert "not JSON" in problems({"o.json": b"{"})[0]
    assert re.search("not JSON .*NaN", problems({REWARD: b'{"rewards":[NaN]}'})[0])


def test_problems_name_the_shard_and_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "000000.tar"
    write_shard(path, [("good", members()), ("bad", members(prompt={}))])
    assert list(shard_problems([path])) == [
        f"{path}: sample 'bad': prompt.json: 'input_ids' is not a list of token ids"
    ]
    path.write_bytes(path.read_bytes()[:-1024])
    (problem,) = shard_problems([path])
    assert problem.startswith(f"{path}: cut in the closing")
    assert json.dumps(problem)
