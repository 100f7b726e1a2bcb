"""The engine's flags and environment on a GPU and for several replicas: what SGLang is told, without starting it."""

from pathlib import Path

import pytest

from arl.engine import flags
from arl.engine.flags import Replicas, server_environment, server_flags
from arl.engine.served_model import ServedModel
from arl.errors import ArlError, UsageError
from tests.tiny import make_tiny_policy


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy") / "policy") / "llm"


@pytest.fixture
def model(llm: Path) -> ServedModel:
    return ServedModel(llm, "000000-abc")


def words(model: ServedModel, device: str, replicas: Replicas = flags.ALONE) -> dict[str, str]:
    """Each flag with what follows it."""
    said = server_flags(model, 4, device, 1234, None, None, 0, replicas)
    return dict(zip(said, [*said[1:], ""], strict=True))


def test_a_gpu_gets_graphs_for_a_whole_shard_and_a_backend_for_its_dtype(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 utterances x 12 hypotheses; fa3 and flashinfer, SGLang's choices, take no float32."""
    said = words(model, "cuda:2")
    assert (said["--device"], said["--base-gpu-id"], said["--attention-backend"]) == ("cuda", "2", "triton")
    assert int(said["--cuda-graph-max-bs-decode"]) == int(said["--max-running-requests"]) >= 32 * 12
    assert "--enable-memory-saver" in said and "--tp-size" not in said
    monkeypatch.setattr(ServedModel, "dtype", "bfloat16")
    assert "--attention-backend" not in words(model, "cuda")
    assert words(model, "cpu")["--attention-backend"] == "torch_native"


def test_the_engine_gets_no_allocator_and_no_rank_of_a_stage(
    model: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SGLang's memory saver refuses expandable segments; its graphs are released only when it is told to."""
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "x")
    environment = server_environment(model, "cuda", tmp_path)
    assert not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "RANK", "WORLD_SIZE"} & environment.keys()
    assert environment["SGLANG_MEMORY_SAVER_CUDA_GRAPH"] == "1"


def test_replicas_are_sglangs_flags(model: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(model, "cuda", Replicas(tp=2, dp=4))
    assert (said["--tp-size"], said["--dp-size"]) == ("2", "4") and "--nnodes" not in said
    said = words(model, "cuda", Replicas(4, 1, 2, 1, "node0:5000"))
    assert (said["--nnodes"], said["--node-rank"], said["--dist-init-addr"]) == ("2", "1", "node0:5000")
    monkeypatch.setattr(flags.os, "sched_getaffinity", lambda _: {3, 4, 5, 6})
    monkeypatch.delenv("SGLANG_CPU_OMP_THREADS_BIND", raising=False)
    bound = server_environment(model, "cpu", tmp_path, 0, Replicas(tp=2, dp=1))["SGLANG_CPU_OMP_THREADS_BIND"]
    assert bound == "3,4|5,6"
    bound = server_environment(model, "cpu", tmp_path, 0, Replicas(2, 1, 2, 1, "a:1"))["SGLANG_CPU_OMP_THREADS_BIND"]
    assert bound == "3,4,5,6"  # of this node's process; SGLang wants a NUMA node for each of all else


@pytest.mark.parametrize(
    ("replicas", "says"),
    [
        (Replicas(tp=3), "attention heads cannot be divided"),
        (Replicas(tp=2, dp=2), "4 devices from cuda:1 on, this machine has 4"),
        (Replicas(dp=2, nnodes=2), "one engine a node"),
        (Replicas(tp=2, nnodes=2, node_rank=1), "--dist-init-addr"),
        (Replicas(tp=2, nnodes=2, node_rank=2, dist_init_addr="a:1"), "--node-rank below it"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch, replicas: Replicas, says: str
) -> None:
    monkeypatch.setattr(flags, "cuda_devices", lambda: 4)
    with pytest.raises(UsageError, match=says):
        replicas.check(model, "cuda:1")
    Replicas(tp=2).check(model, "cuda:1", lora_rank=8)
    with pytest.raises(UsageError, match="adapters into one replica only"):
        Replicas(dp=2).check(model, "cuda:1", lora_rank=8)


def test_frames_of_several_codes_need_whole_requests_one_device_and_no_graphs(llm: Path, tmp_path: Path) -> None:
    """A retracted request cannot be computed again; the predictor's codes go to the host at each step."""
    model = ServedModel(llm, "000000-abc", predictor_dir=tmp_path, predictor="p")
    assert "--disable-cuda-graph" in words(model, "cuda") and model.overrides["arl_predictor"] == str(tmp_path)
    environment = server_environment(model, "cpu", tmp_path)
    assert environment["SGLANG_INIT_NEW_TOKEN_RATIO"] == environment["SGLANG_MIN_NEW_TOKEN_RATIO_FACTOR"] == "1.0"
    for replicas, rank in ((Replicas(tp=2), 0), (flags.ALONE, 4)):
        with pytest.raises(UsageError, match="on one device, and with adapters merged"):
            replicas.check(model, "cpu", rank)
    with pytest.raises(ArlError, match="config.json's predictor is 'q', the engine serves 'p'"):
        ServedModel(llm, "000000-abc", predictor_dir=tmp_path, predictor="q").check_same(model.structure)
