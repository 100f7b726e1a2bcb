"""What a request or a checkpoint can do wrong: a clear error each time, and the engine lives."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_place import Place

from arl.engine.client import UNDEFINED, Engine, GroupFailed
from arl.engine.served_model import ServedModel
from arl.errors import ArlError
from arl.policy import Policy
from tests.tiny import HIDDEN, PROMPT, make_tiny_policy

pytestmark = pytest.mark.engine


def ask(engine: Engine, prompt: list[int], audio: list[dict[str, Any]], **options: Any) -> Any:
    async def one() -> Any:
        async with engine:
            return await engine.generate_group(prompt, audio, **{"seeds": [1], "max_new_tokens": 4, **options})

    return asyncio.run(one())


@pytest.fixture
def broken(place: Place, tmp_path: Path) -> dict[str, dict[str, Any]]:
    good = place.audio[0]
    bad_numbers = np.full((20, HIDDEN), np.nan, dtype=np.float32)
    (tmp_path / "nan.tar").write_bytes(bad_numbers.tobytes())
    (tmp_path / "raw.bin").write_bytes(bytes(bad_numbers.nbytes))
    return {
        "missing": {**good, "path": str(tmp_path / "none.tar")},
        "short": {**good, "offset": Path(good["path"]).stat().st_size - 8},
        "wide": {**good, "shape": [10, 2 * HIDDEN]},
        "empty": {**good, "shape": [0, HIDDEN]},
        "dtype": {**good, "dtype": "float64"},
        "nan": {**good, "path": str(tmp_path / "nan.tar"), "offset": 0},
        "suffix": {**good, "path": str(tmp_path / "raw.bin"), "offset": 0},
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "No such file"),
        ("short", "ends before"),
        ("wide", "the model wants"),
        ("empty", "the model wants"),
        ("dtype", "float64"),
        ("nan", "NaN"),
        ("suffix", "not a .tar"),
    ],
)
def test_a_bad_reference_fails_its_group_only(
    engine: Engine, broken: dict, place: Place, name: str, message: str
) -> None:
    with pytest.raises(GroupFailed, match=message):
        ask(engine, PROMPT, [broken[name]])
    assert len(ask(engine, PROMPT, [place.audio[0]]).hypotheses) == 1


@pytest.mark.parametrize(
    ("prompt", "clips", "options"),
    [
        (PROMPT, 0, {}),
        ([6, 7], 1, {}),
        (PROMPT, 2, {}),
        ([*PROMPT, 4000], 1, {}),
        ([*PROMPT, -3], 1, {}),
        (PROMPT, 1, {"seeds": []}),
        (PROMPT * 20, 20, {}),
        (PROMPT, 1, {"top_p": 0.0}),
        (PROMPT, 1, {"temperature": -1.0}),
    ],
    ids=[
        "no clip",
        "no placeholder",
        "clips",
        "token id",
        "negative id",
        "no seed",
        "too long",
        "top-p",
        "temperature",
    ],
)
def test_a_bad_request_fails_its_group_only(
    engine: Engine, place: Place, prompt: list[int], clips: int, options: dict
) -> None:
    with pytest.raises(GroupFailed):
        ask(engine, prompt, [place.audio[3]] * clips, **options)
    assert len(ask(engine, PROMPT, [place.audio[0]]).hypotheses) == 1


def test_other_shapes_are_refused_before_they_reach_the_engine(engine: Engine, place: Place, tmp_path: Path) -> None:
    version, wanted = engine.version(), ask(engine, PROMPT, place.audio[:1]).hypotheses[0].tokens
    other = Policy.open(make_tiny_policy(tmp_path / "wide", hidden=2 * HIDDEN))
    with pytest.raises(ArlError, match="tensor model.*keeps its weights"):
        engine.update_weights(ServedModel.of(other))
    with pytest.raises(ArlError, match="no \\*.safetensors"):
        engine.update_weights(ServedModel(tmp_path, "x"))
    half = tmp_path / "half"
    shutil.copytree(place.next_policy / "llm", half)
    weights = half / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ArlError, match="not a whole safetensors"):
        engine.update_weights(ServedModel(half, "x"))
    assert engine.version() == version
    assert ask(engine, PROMPT, place.audio[:1]).hypotheses[0].tokens == wanted


def test_a_load_that_breaks_off_is_marked_and_repaired(engine: Engine, place: Place, tmp_path: Path) -> None:
    other = Policy.open(make_tiny_policy(tmp_path / "wide", hidden=2 * HIDDEN))
    served = place.state / "weights.json"
    honest = served.read_text()
    served.write_text(json.dumps(ServedModel.of(other).structure))  # so that the wrong shape gets through
    try:
        with pytest.raises(ArlError, match="unusable until"):
            engine.update_weights(ServedModel.of(other))
        assert engine.version() == UNDEFINED
    finally:
        served.write_text(honest)
    policy = Policy.open(place.next_policy)
    engine.update_weights(ServedModel.of(policy))
    assert engine.version() == policy.version
    assert len(ask(engine, PROMPT, [place.audio[0]]).hypotheses) == 1
