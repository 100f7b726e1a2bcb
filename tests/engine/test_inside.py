"""The engine's parts that need no server: references, seeded sampling, attention, weights, plug-in guards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.engine import flags, platform, plugin
from arl.engine.client import Engine
from arl.engine.processes import ROOTS as ROOTS_NAME
from arl.engine.reference import PREFIX, ROOTS, load_embedding
from arl.engine.sampling import keep_likely, multinomial_with_seed, murmur_hash32
from arl.engine.served_model import ServedModel
from arl.engine.shared_attention import attend, make_plan, prefill
from arl.engine.state import EngineInfo
from arl.errors import ArlError, UsageError
from tests.tiny import make_tiny_policy


def test_the_plug_in_leaves_other_sglang_processes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(platform.STARTED_BY_ARL, raising=False)
    assert platform.activate() is None
    plugin.register()
    assert "sglang" not in sys.modules


def test_importing_the_client_is_light() -> None:
    code = (
        "import sys, arl.engine.server; print([m for m in ('torch', 'sglang', 'httpx', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def reference(path: Path, **fields: object) -> str:
    return PREFIX + json.dumps({"path": str(path), "offset": 0, "dtype": "float32", "shape": [2, 4], **fields})


def test_references_stay_below_the_allowed_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.tar").write_bytes(torch.arange(8.0).numpy().tobytes())
    (inside / "link.tar").symlink_to(outside / "a.tar")
    monkeypatch.setenv(ROOTS, f"{inside}:{tmp_path / 'third'}")
    assert load_embedding(reference(inside / "a.tar"), 4)[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for path in (outside / "a.tar", inside / ".." / "outside" / "a.tar", inside / "link.tar"):
        with pytest.raises(ValueError, match="outside"):
            load_embedding(reference(path), 4)


def test_the_engine_reads_only_the_folders_that_its_clients_have_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link out of them is not followed."""
    inside, outside, temporary = tmp_path / "inside", tmp_path / "outside", tmp_path / "temporary"
    for folder in (inside, outside, temporary):
        folder.mkdir()
        (folder / "a.tar").write_bytes(torch.arange(8.0).numpy().tobytes())
    (inside / "link.tar").symlink_to(outside / "a.tar")
    (tmp_path / "alias").symlink_to(inside)
    monkeypatch.setenv(platform.ROOTS_FILE, str(temporary / ROOTS_NAME))
    (temporary / ROOTS_NAME).touch()
    with pytest.raises(ValueError, match="outside"):
        load_embedding(reference(inside / "a.tar"), 4)
    ids = {"audio_token_id": 4, "eos_token_id": 2, "temporary": str(temporary), "api_key": "k", "device": "cpu"}
    place = {"pid": 1, "pgid": 1, "started": 1, "port": 1, "policy": "p", "version": "v", "dtype": "float32"}
    client = Engine(EngineInfo(state="ready", log=str(tmp_path / "engine.log"), **place, **ids))
    client._prompt([4], [{"path": str(tmp_path / "alias" / "a.tar"), "shape": [2, 4]}])
    assert load_embedding(reference(tmp_path / "alias" / "a.tar"), 4)[0].shape == (2, 4)
    for path in (outside / "a.tar", inside / "link.tar"):
        with pytest.raises(ValueError, match="outside"):
            load_embedding(reference(path), 4)


def test_a_rewritten_shard_is_read_again(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    shard.write_bytes(torch.zeros(8).numpy().tobytes())
    _, before = load_embedding(reference(shard), 4)
    (tmp_path / "new").write_bytes(torch.ones(8).numpy().tobytes())
    (tmp_path / "new").rename(shard)
    tensor, after = load_embedding(reference(shard), 4)
    assert before != after and tensor.sum() == 8


@given(st.text() | st.builds(lambda value: PREFIX + json.dumps(value), st.dictionaries(st.text(), st.integers())))
def test_any_other_reference_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        load_embedding(text, 4)


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 with seed 0, by the book."""
    state, mask = 0, 0xFFFFFFFF
    for i in range(0, len(data), 4):
        word = int.from_bytes(data[i : i + 4], "little") * 0xCC9E2D51 & mask
        word = (word << 15 | word >> 17) * 0x1B873593 & mask
        state ^= word
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & mask
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    return state ^ state >> 16


@given(st.integers(0, 2**62), st.integers(0, 2**31), st.integers(0, 200_000))
def test_the_hash_is_murmur3(seed: int, position: int, column: int) -> None:
    (got,) = murmur_hash32(torch.tensor([seed]), torch.tensor([position]), torch.tensor([column]))[0].tolist()
    data = seed.to_bytes(8, "little") + position.to_bytes(4, "little") + column.to_bytes(4, "little")
    assert got == murmur3(data)


def test_seeded_draws_follow_the_distribution() -> None:
    probs, count = torch.tensor([0.5, 0.2, 0.2, 0.1, 0.0]), 20_000
    seeds = torch.arange(count)
    drawn = multinomial_with_seed(probs.log().expand(count, -1), seeds, torch.full((count,), 17)).squeeze(1)
    assert (torch.bincount(drawn, minlength=5) / count - probs).abs().max() < 0.015


def test_filters_keep_the_likely_and_leave_other_rows_alone() -> None:
    probs = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).expand(4, -1).contiguous()
    kept = keep_likely(probs, torch.tensor([4, 2, 4, 4]), torch.tensor([1.0, 1, 0.6, 1]), torch.tensor([0, 0, 0, 0.6]))
    wanted = [[0.1, 0.4, 0.3, 0.2], [0, 0.4, 0.3, 0], [0, 0.4, 0.3, 0], [0, 0.4, 0.3, 0]]
    assert kept.equal(torch.tensor(wanted))


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(0, 6), min_size=1, max_size=5)), min_size=1),
    heads=st.sampled_from([(4, 4), (4, 2), (6, 1)]),
)
def test_shared_attention_is_plain_attention(groups: list[tuple[int, list[int]]], heads: tuple[int, int]) -> None:
    """Groups of (prompt length, tokens generated by each member); slots in random places of the cache."""
    torch.manual_seed(0)
    rows, free = [], iter(torch.randperm(4000).tolist())
    for prompt, generated in groups:
        shared = [next(free) for _ in range(prompt - 1)]
        rows += [(prompt, [*shared, *(next(free) for _ in range(1 + count))]) for count in generated]
    order = torch.randperm(len(rows)).tolist()
    rows = [rows[i] for i in order]
    lengths = torch.tensor([len(slots) for _, slots in rows])
    table = torch.randint(0, 4000, (len(rows), int(lengths.max())), dtype=torch.int32)
    for row, (_, slots) in enumerate(rows):
        table[row, : len(slots)] = torch.tensor(slots)
    query_heads, key_heads = heads
    keys, values = torch.randn(2, 4000, key_heads, 8).double()
    query = torch.randn(len(rows), query_heads, 8).double()
    got = attend(query, keys, values, make_plan(table, lengths, torch.tensor([p for p, _ in rows])), 0.3)
    for row, (_, slots) in enumerate(rows):
        repeat = query_heads // key_heads
        key, value = (cache[slots].repeat_interleave(repeat, dim=1) for cache in (keys, values))
        weights = (torch.einsum("hd,lhd->hl", query[row], key) * 0.3).softmax(-1)
        wanted = torch.einsum("hl,lhd->hd", weights, value)
        assert (got[row] - wanted).abs().max() < 1e-6  # the softmax is float32
        last = prefill(query[row][None], keys[slots], values[slots], 0.3)[0]
        assert (last - wanted).abs().max() < 1e-9


def model(policy: Path) -> ServedModel:
    return ServedModel(policy / "llm", "")


def test_a_checkpoint_is_compared_by_its_headers(tmp_path: Path) -> None:
    first, same = make_tiny_policy(tmp_path / "a"), make_tiny_policy(tmp_path / "b", seed=5)
    model(same).check_same(model(first).structure)
    deeper = make_tiny_policy(tmp_path / "c", layers=3)
    with pytest.raises(ArlError, match="absent"):
        model(deeper).check_same(model(first).structure)
    config = same / "llm" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rms_norm_eps": 1e-3}))
    with pytest.raises(ArlError, match="rms_norm_eps is 0.001"):
        model(same).check_same(model(first).structure)


def test_devices_have_clear_names() -> None:
    assert flags.resolve_device("cpu") == "cpu"
    assert flags.resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(UsageError):
        flags.resolve_device("tpu")
    with pytest.raises(UsageError):
        flags.resolve_device("cuda:99")
