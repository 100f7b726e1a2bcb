"""What a stage does with the resident engine, without one: whose memory it takes, and where it is described."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arl.engine import server, session
from arl.engine.client import Engine
from arl.engine.connection import Connection
from arl.engine.served_model import ServedModel
from arl.engine.state import EngineInfo, remember
from arl.engine.sync_stage import sync_policy
from arl.errors import ArlError
from arl.policy import Policy
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


def test_a_policy_without_a_probe_starts_no_engine(tmp_path: Path) -> None:
    """`arl sync` started one, could not prove it, and left it running."""
    policy, engine = make_tiny_policy(tmp_path / "policy"), tmp_path / "engine"
    fields = json.loads((policy / "arl.json").read_text())
    del fields["probe"]
    (policy / "arl.json").write_text(json.dumps(fields))
    with pytest.raises(ArlError, match="arl.json has no probe"):
        sync_policy(policy, engine)
    assert server.status(engine) is None


def test_an_engine_on_another_gpu_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update on cuda:0 waited a minute for the memory of an engine on cuda:1, which it had released."""
    fields = {name: "x" for name in ("api_key", "policy", "version", "log", "dtype", "temporary")}
    numbers = dict.fromkeys(("pid", "pgid", "started", "port", "audio_token_id", "eos_token_id"), 1)
    info = EngineInfo("ready", device="cuda:1", tp=2, **fields, **numbers)  # type: ignore[arg-type]
    assert [info.uses(name) for name in ("cuda", "cuda:1", "cuda:2", "cuda:3", "cpu")] == [
        False,
        True,
        True,
        False,
        False,
    ]
    released: list[str] = []
    monkeypatch.setenv("ARL_WARM", str(tmp_path / "warm"))
    monkeypatch.setenv("ARL_ENGINE", str(tmp_path / "engine"))
    for name in ("status", "connect"):
        monkeypatch.setattr(session.server, name, lambda folder: info if folder == tmp_path / "other" else None)
    monkeypatch.setattr(session, "_release", lambda _, device: released.append(device))
    (tmp_path / "other").mkdir(mode=0o700)
    remember(tmp_path / "other")  # started with --engine: neither the default nor ARL_ENGINE
    for device in ("cuda:0", "cuda:2"):
        session.put_to_sleep(device)
    assert released == ["cuda:2"]


def test_an_engine_on_several_nodes_answers_on_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGLang has a server there that knows /health alone: a start waited for /ready until it gave up."""
    fields = {name: "x" for name in ("api_key", "policy", "version", "log", "dtype", "temporary")}
    numbers = dict.fromkeys(("pid", "pgid", "started", "port", "audio_token_id", "eos_token_id"), 1)
    info = EngineInfo("ready", device="cuda", tp=4, nnodes=2, node_rank=1, **fields, **numbers)  # type: ignore[arg-type]
    asked: list[str] = []

    def call(self: Connection, method: str, path: str, *_: object, **__: object) -> dict[str, Any]:
        asked.append(path)
        return {}

    monkeypatch.setattr(Connection, "call", call)
    assert info.devices == 2 and Engine(info).is_ready() and asked == ["/health"]
    monkeypatch.setattr(session.server, "read_info", lambda folder: info)
    with pytest.raises(ArlError, match="node 1 of the 2 of an engine, which answers on node 0"):
        session.server.connect(tmp_path)
    shown = session.describe(tmp_path)
    assert shown is not None and shown["state"] == "ready" and asked == ["/health"]


def test_a_replica_that_does_not_compute_the_policy_is_named(tmp_path: Path) -> None:
    policy = Policy.open(make_tiny_policy(tmp_path / "policy"))
    policy.fields["probe"] = {"tokens": [1, 2, 3], "logprobs": [-1.0, -2.0]}

    class Replicated:
        served = SimpleNamespace(dp=2, dtype="float32")
        said = [policy.version, policy.version]

        def versions(self) -> list[str]:
            return self.said

        async def __aenter__(self) -> "Replicated":
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def score(self, ids: list[int], audio: list, tokens: list[int], replica: int) -> list[float]:
            return [-1.0, -2.0 - replica]

    client: Any = Replicated()
    with pytest.raises(ArlError, match="replica 1 of the engine's log-probs .* by 5.00e-01"):
        session.prove(client, policy, 0.0)
    assert session.prove(client, policy, 0.6) == {"probe_mean": 0.5, "probe_max": 1.0}
    client.said = [policy.version, "000000-other"]
    with pytest.raises(ArlError, match="replica 1 of the engine says it serves 000000-other"):
        session.prove(client, policy, 0.6)
