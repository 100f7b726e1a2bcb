"""Columns: deterministic JSON, safetensors members, and tensors read in place by their offset."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from arl.errors import ArlError
from arl.shards.columns import DTYPES, EMB, dumps, read_tensor, save_tensor, tensor_headers, tensor_reference
from arl.shards.reader import Sample, read_joined, read_shard
from arl.shards.writer import write_shard

numbers = st.sampled_from(["float32", "float16", "float64", "int64", "int32", "uint8", "bool"])
any_array = numbers.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0)))
quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def in_memory(data: bytes) -> Sample:
    return Sample("a", {EMB: data}, {})


def read_in_place(reference: dict) -> np.ndarray:
    """What the engine does with a reference: bytes at an offset, nothing else of the file."""
    count = int(np.prod(reference["shape"], dtype=int))
    with open(reference["path"], "rb") as stream:
        stream.seek(reference["offset"])
        data = stream.read(count * np.dtype(reference["dtype"]).itemsize)
    return np.frombuffer(data, reference["dtype"]).reshape(reference["shape"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_json_round_trip(value: object) -> None:  # fmt: skip
    assert json.loads(dumps(value)) == value
    assert dumps(json.loads(dumps(value))) == dumps(value)


def test_json_is_deterministic_and_readable() -> None:
    assert dumps({"b": [1, None], "a": "ü"}) == '{"a":"ü","b":[1,null]}'.encode()
    assert dumps({"b": (1 << 70, "null"), "a": True}) == b'{"a":true,"b":[1180591620717411303424,"null"]}'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"rewards": [0.0, float("nan")]}, r"nan at .rewards.1"),
        (float("inf"), "inf at top"),
        ([{"a": (1, -float("inf"))}], r"-inf at .0.a.1"),
        ({"text": "\ud800"}, "text at .text"),
        ({"rewards": [None, float("nan")]}, r"nan at .rewards.1"),
    ],
)
def test_json_refuses_what_it_has_no_form_for(value: object, words: str) -> None:
    with pytest.raises(ArlError, match=words):
        dumps(value)


@given(any_array)
def test_arrays_round_trip(array: np.ndarray) -> None:
    data = save_tensor("emb", array)
    np.testing.assert_array_equal(safetensors.numpy.load(data)["emb"], array)
    found = read_tensor(in_memory(data), EMB, "emb")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert data == save_tensor("emb", array.copy())


def test_any_layout_and_byte_order() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for same in (array.T.copy().T, np.asfortranarray(array), array.astype(">f4"), np.repeat(array, 2, 0)[::2]):
        assert save_tensor("emb", same) == save_tensor("emb", array)


def test_raw_bfloat16() -> None:
    values = np.array([[1.0, -2.5], [0.0, 3.0e38]], dtype=np.float32)
    raw = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    sample = in_memory(save_tensor("emb", raw, dtype="bfloat16", shape=(2, 2)))
    info = tensor_headers(sample, EMB)["emb"]
    assert (info.dtype, info.shape) == ("bfloat16", (2, 2))
    truncated = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    np.testing.assert_array_equal(read_tensor(sample, EMB, "emb"), truncated)
    empty = in_memory(save_tensor("emb", b"", dtype="bfloat16", shape=(0, 4)))
    assert read_tensor(empty, EMB, "emb").shape == (0, 4)


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load

    values = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn):
        tensor = values.to(dtype)
        for layout in (tensor, tensor.t().contiguous().t(), tensor.clone().requires_grad_(dtype.itemsize > 1)):
            found = load(save_tensor("emb", layout))["emb"]
            assert found.dtype == dtype and torch.equal(found.float(), tensor.float())
    sample = in_memory(save_tensor("emb", values.bfloat16()))
    np.testing.assert_array_equal(read_tensor(sample, EMB, "emb"), values.bfloat16().float().numpy())
    float8 = in_memory(save_tensor("emb", values.to(torch.float8_e4m3fn)))
    with pytest.raises(ArlError, match="float8_e4m3fn"):
        read_tensor(float8, EMB, "emb")


@pytest.mark.parametrize(
    ("array", "dtype", "shape"),
    [
        (np.array(["a"], dtype=object), None, None),
        (np.zeros(2, dtype=complex), None, None),
        (b"123", "bfloat16", (1,)),
        (b"1234", "no such type", (1,)),
    ],
)
def test_arrays_without_a_safetensors_form(array: object, dtype: str | None, shape: tuple[int, ...] | None) -> None:
    with pytest.raises(ArlError, match="tensor 'emb'"):
        save_tensor("emb", array, dtype, shape)
    with pytest.raises(TypeError):
        save_tensor("emb", b"raw bytes alone")


@quiet
@given(st.lists(any_array, min_size=1, max_size=3), st.binary(max_size=700))
def test_bytes_at_the_offset_are_the_array(tmp_path: Path, found: list[np.ndarray], before: bytes) -> None:
    path = tmp_path / "emb.tar"
    write_shard(path, [(f"k{i}", {"wav": before, EMB: save_tensor("emb", array)}) for i, array in enumerate(found)])
    for sample, array in zip(read_shard(path), found, strict=True):
        reference = tensor_reference(sample, EMB, "emb")
        assert Path(reference["path"]).is_absolute() and reference["shape"] == list(array.shape)
        assert reference["dtype"] == array.dtype.name
        json.dumps(reference)
        np.testing.assert_array_equal(read_in_place(reference), array)


def test_a_reference_into_a_joined_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_shard(tmp_path / "emb.tar", [("a", {EMB: save_tensor("emb", array)})])
    write_shard(tmp_path / "text.tar", [("a", {"json": b"{}"})])
    monkeypatch.chdir(tmp_path)
    (sample,) = read_joined([Path("text.tar"), Path("emb.tar")])
    monkeypatch.chdir("/")
    with pytest.raises(ArlError):
        tensor_reference(sample, "json", "emb")
    monkeypatch.chdir(tmp_path)
    reference = tensor_reference(sample, EMB, "emb")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(read_in_place(reference), array)


def test_no_reference_without_a_file() -> None:
    data = save_tensor("emb", np.zeros((1, 2), dtype=np.float32))
    for offsets in ({}, {EMB: (Path("-"), 512, len(data))}):
        with pytest.raises(ArlError, match="in place"):
            tensor_reference(Sample("a", {EMB: data}, offsets), EMB, "emb")
    with pytest.raises(ArlError, match="no tensor 'other' in member 'emb.safetensors', only 'emb'"):
        tensor_reference(in_memory(data), EMB, "other")
    with pytest.raises(ArlError, match="no member 'feat.safetensors'"):
        tensor_reference(in_memory(data), "feat.safetensors", "emb")


@given(st.binary(max_size=60), st.integers(0, 80), st.integers(1, 255))
def test_a_damaged_header_is_one_error(noise: bytes, place: int, flip: int) -> None:
    good = bytearray(save_tensor("emb", np.zeros((2, 2), dtype=np.float32)))
    good[min(place, len(good) - 1)] ^= flip
    for data in (noise, bytes(good), bytes(good[:place])):
        try:
            found = tensor_headers(in_memory(data), EMB)
        except ArlError as error:
            assert "sample 'a': member 'emb.safetensors' is not safetensors" in str(error)
        else:
            assert all(info.start + info.size <= len(data) for info in found.values())


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32"},
        [],
    ],
)
def test_headers_that_lie(entry: object) -> None:
    header = json.dumps({"emb": entry}).encode()
    with pytest.raises(ArlError, match="is not safetensors"):
        tensor_headers(in_memory(len(header).to_bytes(8, "little") + header + bytes(4)), EMB)


def test_every_type_of_the_table_is_one_of_safetensors() -> None:
    for dtype, item_bytes in DTYPES.values():
        sample = in_memory(save_tensor("emb", bytes(2 * item_bytes), dtype=dtype, shape=(2,)))
        assert tensor_headers(sample, EMB)["emb"].dtype == dtype


def test_torch_is_not_imported_for_numpy() -> None:
    code = "import sys, numpy; from arl.shards.columns import save_tensor; save_tensor('a', numpy.zeros(2))"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)
