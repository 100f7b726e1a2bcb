"""`make check-gpu`'s checks of an engine's life, on the engine of these tests."""

from pathlib import Path

import pytest
from engine_place import Place

from arl.engine.client import Engine
from arl.policy import Policy
from benchmarks import check_engine
from benchmarks.check_engine import Served

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def with_probe(folder: Path) -> Policy:
    import torch

    from arl.train.load import load_llm
    from arl.train.probe import make_probe

    policy = Policy.open(folder)
    policy.fields["probe"] = make_probe(load_llm(policy.llm_dir, torch.device("cpu")), policy.audio_token_id)
    return policy


def test_the_checks_of_an_engine(engine: Engine, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = [with_probe(folder) for folder in (place.policy, place.next_policy)]
    served = Served("cpu", policies, place.audio[:2], place.state, engine)
    parity = served.parity()
    assert parity["tokens"] > 8 and parity["difference_mean"] < 1e-4
    monkeypatch.setitem(check_engine.PARITY, "float32", 0.0)
    with pytest.raises(RuntimeError, match="sampled tokens differ"):
        served.parity()
    assert served.release() == {}
    assert served.resume()["probe_mean"] < 1e-4
    assert served.sync()["probe_mean"] < 1e-4 and engine.version() == policies[1].version
    with pytest.raises(RuntimeError, match="no engine"):
        Served("cpu", policies, [], place.state).release()
