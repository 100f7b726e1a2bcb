"""The benchmark's scripts at toy sizes: they run, their sides agree, their tables and targets can be read. Untimed.

Left out: what starts an engine, a whole loop or TRL's environment.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from arl.losses.grpo import Grpo
from arl.shards.reader import read_shard
from arl.train.step import Compute, policy_backward
from benchmarks import (
    check_gpu,
    checkpoint,
    decode,
    gpu,
    growth,
    machine,
    measure,
    memory,
    rewards,
    rollout,
    run,
    shards,
    steps,
    trl_step,
    update,
)
from benchmarks import gpu_stages as stages
from benchmarks.command import rounded, target
from benchmarks.models import QWEN2_05B, QWEN2_7B, TINY, make_groups, make_model, make_pair, make_policy
from benchmarks.per_row import row_backward, row_batches, rows_of


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def gradients(model: torch.nn.Module) -> list[torch.Tensor]:
    found = [p.grad for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("budget", [1, 8192])
def test_the_per_row_side_is_the_same_step(budget: int) -> None:
    policy, reference = make_pair(TINY)
    groups = make_groups(TINY, 2, 12, 5, 3)
    groups[0].responses[1] = groups[0].responses[1][:2]  # ragged
    ours = policy_backward(policy, groups, Grpo(), reference, Compute(TINY.audio_token_id))["loss"]
    expected = gradients(policy)
    theirs = row_backward(policy, groups, Grpo(), reference, TINY.audio_token_id, token_budget=budget)
    assert theirs == pytest.approx(ours, abs=1e-5)
    for a, b in zip(gradients(policy), expected, strict=True):
        assert float((a - b).abs().max()) <= 1e-3 * float(b.abs().max())


def test_rows_are_batched_by_the_budget() -> None:
    rows = rows_of(make_groups(TINY, 2, 12, 5, 3))
    assert [len(batch) for batch in row_batches(rows, 3 * 16)] == [3, 3]
    assert sum(row.weight * len(row.response) for row in rows) == pytest.approx(1.0)


def test_shapes_count_their_parameters() -> None:
    assert make_model(TINY).num_parameters() == TINY.parameters
    assert QWEN2_05B.parameters == 494_032_768 and QWEN2_7B.parameters == 7_615_616_512


def test_a_policy_of_the_benchmark_is_one(tmp_path: Path) -> None:
    from arl.policy import Policy

    policy = Policy.open(make_policy(tmp_path / "policy", TINY))
    policy.verify()
    assert policy.audio_token_id == TINY.vocab


def test_update() -> None:
    found = update.measure_shape(TINY, update.grid(TINY, quick=True), quick=True)
    (cell,) = found["cells"]
    assert cell["gradient_difference"] < 1e-3 and cell["memory_mb"]["rows"] > 0
    assert cell["limit"] == pytest.approx(3 * 28 / (24 + 12))
    assert "24 / 4 / 3" in update.page({"models": [found]})
    cell |= {"P": 750, "R": 50, "G": update.AT_G}
    assert len(update.targets([found])) == 2


def test_growth() -> None:
    assert growth.slope([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2.0)
    found = growth.measure_axis(growth.tiny_axis(), repeats=1)
    assert len(found["cpu_s"]) == 2 and "exponent" in growth.page({"axes": [found]})
    assert all(axis.make(axis.values[0])[1].keys() == growth.BASE.keys() for axis in growth.AXES)


def test_shards(tmp_path: Path) -> None:
    found = shards.measure_in(tmp_path, n_shards=1, repeats=1, utterances=2)
    assert found["rows"]["write"]["ours_mb_s"]["median"] > 0
    assert "joined read, cached" in shards.page(found)


@pytest.mark.slow
def test_rewards(tmp_path: Path) -> None:
    groups = list(rewards.made(80))
    assert groups == list(rewards.made(80)) and {len(hypotheses) for _, _, hypotheses in groups} == {rewards.GROUP}
    rewards.write(tmp_path, groups)
    found = rewards.measure_in(tmp_path, groups, repeats=1)
    assert found["hypotheses"] == 960 and found["rates"]["one"]["median"] > 0
    assert "jiwer, WER alone" in rewards.page(found) and found["targets"][0]["wanted"] == "≥ 1667"
    columns = [sample.json("reward.json")["components"] for sample in read_shard(tmp_path / "reward" / "000000.tar")]
    assert all(row["wer"][0] == 1.0 and row["hallucination"][0] == 0.0 for row in columns)


def test_decode() -> None:
    from tests.tiny_tts import make_tiny_decoder

    found = decode.measure_clips(make_tiny_decoder(), 4, 2.0, 1)
    assert found["difference"] < 1e-5 and 0 <= found["padding"] < 0.2 and found["gain"]["median"] > 0
    assert "one by one" in decode.page(found) and found["targets"][0]["wanted"] == "≥ 4"


def test_the_gpu_script_without_an_engine() -> None:
    found = gpu.measure_shape(TINY, "cpu", gpu.Batch.random(2, 0.5, 1.0))
    assert set(found["seconds"]) == {"encode", "reward", "update"} and set(found["missing"]) == {"rollout"}
    assert found["rtf"] == pytest.approx(found["audio_s"] / found["step_s"])
    assert "without rollout" in gpu.page({"machine": machine.describe(), "models": [found]})


def test_the_gpu_check_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that needs no engine, each loss included; tests/engine/test_check_engine.py has an engine's life."""
    assert check_gpu.run("cpu", tmp_path / "out.json", ("attention", "update", "offload")) == 0
    found = json.loads((tmp_path / "out.json").read_text())["checks"]
    assert {f"update {name}" for name in check_gpu.NAMES} < set(found)
    assert found["attention float32"]["gradient_difference"] < 1e-4
    assert 1e-4 < found["attention bfloat16"]["gradient_difference"] < 0.1
    assert "diffro_reward" in found["update combined"]
    monkeypatch.setattr(check_gpu, "loss_of", lambda *_: 1 / 0)  # a check that fails is said, and the others go on
    capsys.readouterr()
    assert check_gpu.run("cpu", None, ("update grpo", "offload", "attention float32")) == 2
    said = capsys.readouterr().out
    assert said.count("FAILED: ZeroDivisionError") == 2 and "1 of 3 ok" in said
    assert [name for name, _ in check_gpu.checks("cpu", tmp_path)][-7:] == [
        "engine start", "engine parity", "engine release", "engine resume", "engine sync", "loop", "warm stages",
    ]  # fmt: skip


def test_the_gpu_stages_sum_the_gradients_of_bfloat16() -> None:
    """As on a GPU: the optimizer moves them into float32 sums, which the comparison has to read."""
    learner = stages.make_learner(TINY, "cpu", dtype="bfloat16")
    groups = make_groups(TINY, 2, 12, 5, 3)
    assert 0 <= stages.against_rows(learner, groups, "cpu")["norm_difference"] < 0.05
    assert {p.dtype for p in learner.model.parameters()} == {torch.bfloat16}


def test_memory_counts_what_a_learner_holds() -> None:
    parts = memory.parts_gb(QWEN2_7B, memory.Setup())
    assert parts["weights"] == pytest.approx(15.23, abs=0.01) and parts["host"] == 0
    offloaded = memory.parts_gb(QWEN2_7B, memory.Setup(offload=True))
    assert offloaded["host"] == pytest.approx(parts["optimizer"] + parts["reference"])
    halves = memory.parts_gb(QWEN2_7B, memory.Setup(gpus=2))
    assert halves["optimizer"] == pytest.approx(parts["optimizer"] / 2)


def test_the_performance_page_has_the_tables_of_the_formulas() -> None:
    assert memory.page() in (Path(memory.__file__).parent / "PERFORMANCE.md").read_text()


def test_measuring() -> None:
    order: list[str] = []

    def side(name: str, value: float) -> measure.Figures:
        order.append(name)
        return {"cpu_s": value}

    turns = measure.interleaved({"a": lambda: side("a", 6.0), "b": lambda: side("b", 2.0)}, 2)
    assert order == ["a", "b", "b", "a"]
    assert measure.ratios(turns, "a", "b") == {"median": 3.0, "low": 3.0, "high": 3.0, "n": 2}
    megabytes = measure.peak_memory_mb(lambda: bytearray(50_000_000).count(1))
    assert 45 < megabytes < 80
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        measure.peak_memory_mb(lambda: 1 / 0)


def test_the_page_of_all_letters(tmp_path: Path) -> None:
    """Pages are made from rounded JSON, so each is given its own shape of it."""
    figure = {"median": 2.0, "low": 1.0, "high": 3.0, "n": 3}
    seconds = {name: figure for name in ("cpu_s", "wall_s", "generation_cpu_s", "rest_cpu_s", "update_cpu_s",
                                         "save_cpu_s", "sync_cpu_s", "tokens_per_s")}  # fmt: skip
    stages = {stage: dict.fromkeys(steps.PHASES, 0.1) for stage in steps.STAGES}
    loop = {"stages": stages, "steps": 2, "step_s": figure, "share": figure, "overhead_s": figure}
    pair = {"cpu": figure, "wall": figure, "seconds": {"theirs": seconds, "ours": seconds}}
    ratios = {name: figure for name in ("cpu", "wall", "cpu_rest", "cpu_generation")}
    results = {
        "a": {"models": [{"model": "tiny", "words": "", "sizes": trl_step.Sizes().__dict__, "gradient_difference": 0.0,
                          "seconds": {"ours": seconds, "trl": seconds}, **ratios}], "trl": {"trl": "1"},
              "targets": [target("a: ratio", 5.0, 6.0)]},
        "c": {"models": [{"model": "tiny", "words": "", "sizes": rollout.Sizes(1, 2, 3, 4).__dict__,
                          "pairs": {"generate": pair}}], "targets": []},
        "d": {"cold": loop, "warm": loop, "speedup": {"step_s": 5.0, "overhead_s": 9.0}, "same_policy": True,
              "targets": [target("d: share", 0.04, 0.05, at_least=False)]},
        "i": {"size_gb": 1.9, "same": True, "targets": [],
              "paper": checkpoint.on_paper(dict.fromkeys(checkpoint.COMMANDS, 1e9)),
              "commands": {name: {"wall_s": 2.0, "cpu_s": 1.0, "peak_bytes": 1e9} for name in checkpoint.COMMANDS}},
    }  # fmt: skip
    for letter, result in results.items():
        run.merge(tmp_path, letter, result | {"took_s": 1.0, "quick": True})
    content = json.loads((tmp_path / run.RESULTS).read_text())
    page = (tmp_path / run.PAGE).read_text()
    assert list(content["results"]) == ["a", "c", "d", "i"] and "**no**" in page and "| yes |" in page
    assert all(f"## {letter}:" in page for letter in "acdi")
    assert "another machine" not in page
    elsewhere = run.make_page(content | {"machine": content["machine"] | {"cores": 99}})
    assert "99 cores" in elsewhere and elsewhere.count("Measured on another machine: ") == 4
    assert "| `arl init` | 2 | 1 | 1 | 16.2 |" in page  # the LLM of 15.2 GB, and 1 GB beside it


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    text = json.dumps(machine.describe())
    assert '"cores"' in text and (len(platform.node()) < 4 or platform.node() not in text)
    assert rounded({"x": [1.23456789]}) == {"x": [1.2346]}
