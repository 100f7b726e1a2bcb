"""What a stage does with the resident engine, without one: whose memory it takes, and where it is described."""

from pathlib import Path

import pytest

from arl.engine import session
from arl.engine.served_model import ServedModel
from tests.tiny import make_tiny_policy


@pytest.mark.parametrize(("stage", "wanted"), [("update", ["cuda:1"]), ("encode", ["cuda:1"]), ("rollout", [])])
def test_a_stage_that_does_not_use_the_engine_has_it_release_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, wanted: list[str]
) -> None:
    """The order of calls only: the machine of this test has no GPU."""
    slept: list[str] = []
    monkeypatch.setenv("ARL_WARM", str(tmp_path / "warm"))
    monkeypatch.setattr(session, "put_to_sleep", slept.append)
    with session.hold_device(stage, "cpu"):
        assert slept == []
    with session.hold_device(stage, "cuda:1"):
        assert slept == wanted


def test_no_engine_has_no_description(tmp_path: Path) -> None:
    assert session.describe(tmp_path) is None


def test_a_served_model_reads_its_files_once(tmp_path: Path) -> None:
    policy = make_tiny_policy(tmp_path / "policy")
    model = ServedModel(policy / "llm", "000000-abc")
    before = (model.dtype, model.architecture, model.cache_bytes_per_token, model.structure)
    assert before[:2] == ("float32", "ArlQwen2ForCausalLM")
    for file in (policy / "llm").iterdir():
        file.unlink()
    assert (model.dtype, model.architecture, model.cache_bytes_per_token, model.structure) == before
