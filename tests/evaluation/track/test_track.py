"""`arl report --track`: each library gets every step and evaluation, read back by its own reader."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arl.errors import ArlError, UsageError
from arl.evaluation.track import track, trackers
from arl.evaluation.track.metrics import points
from arl.shards.record import StageRecord, append_record


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two steps, evaluated at the start and at the end."""
    run = tmp_path / "mine"
    for step in (1, 2):
        folder = run / f"step-{step:06d}"
        for stage, figures in (
            ("reward", {"component_means": {"wer": 0.5}, "hypotheses": 4, "metric_means": {"similarity": 0.8}}),
            ("update", {"reward": step / 2, "reward_wer": 0.75, "kl": 0.01, "self_check": float("nan")}),
        ):
            (folder / stage).mkdir(parents=True)
            append_record(folder / stage, StageRecord(stage, "0", 1, {"run": 2.0}, 1.0, "0-a", figures=figures))
    for name, wer in (("000000", 0.5), ("000002", 0.25), ("final", 0.25)):
        (run / "eval" / name).mkdir(parents=True)
        (run / "eval" / name / "summary.json").write_text(json.dumps({"wer": wer, "policy": "0-a", "sets": {}}))
    return run


def test_points(run: Path) -> None:
    found = dict(points(run))
    assert list(found) == [0, 1, 2] and found[0] == {"eval/wer": 0.5} and found[2]["eval/wer"] == 0.25
    expected = {"train/reward": 0.5, "train/sample_wer": 0.25, "train/kl": 0.01, "reward/wer": 0.5,
                "watched/similarity": 0.8, "seconds/update": 2.0}  # fmt: skip
    assert expected.items() <= found[1].items() and "train/self_check" not in found[1]
    assert [number for number, _ in points(run, 1)] == [0, 1] and [number for number, _ in points(run, 2)] == [2]
    assert list(points(run, 9)) == []


def test_tensorboard(run: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert track(run, "tensorboard", 1) == 2 and track(run, "tensorboard", 2) == 1
    folder = run / "track" / "tensorboard"
    values: dict[str, dict[int, float]] = {}
    for path in folder.glob("*tfevents*"):
        events = EventAccumulator(str(path), size_guidance={"tensors": 0, "scalars": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            values.setdefault(tag, {}).update(
                {event.step: float(event.tensor_proto.float_val[0]) for event in events.Tensors(tag)}
            )
    assert values["train/reward"] == {1: 0.5, 2: 1.0} and values["eval/wer"] == {0: 0.5, 2: 0.25}


@pytest.mark.slow
def test_wandb_offline(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert track(run, "wandb") == 3
    name = (run / "track" / "wandb-id").read_text().strip()
    (path,) = (run / "track").rglob(f"*{name}.wandb")
    assert sorted(history_of(path)) == [(0.0, None, 0.5), (1.0, 0.5, None), (2.0, 1.0, 0.25)]


def history_of(path: Path) -> list[tuple[float, float | None, float | None]]:
    """(step, train/reward, eval/wer) of each line of history, by W&B's own messages."""
    from wandb.proto import wandb_internal_pb2

    lines = []
    for data in written(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            line = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            lines.append((line["step"], line.get("train/reward"), line.get("eval/wer")))
    return lines


def written(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: seven bytes, then LevelDB's log, blocks of 32 KiB of (checksum, size, type)."""
    data, at, whole = path.read_bytes(), 7, b""
    while at < len(data):
        left = (1 << 15) - at % (1 << 15)
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield whole
            whole = b""


def test_trackio_is_asked_by_its_own_names(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackio itself pins an older Pillow than this environment has."""
    said: list[Any] = []
    own = SimpleNamespace(log=lambda values, step: said.append((step, values)), finish=lambda: said.append("finish"))
    library = SimpleNamespace(init=lambda **words: said.append(words) or own)
    monkeypatch.setitem(sys.modules, "trackio", library)
    monkeypatch.delitem(sys.modules, "arl.evaluation.track.trackio", raising=False)
    track(run, "trackio")
    monkeypatch.delitem(sys.modules, "arl.evaluation.track.trackio")
    assert said[0] == {"project": "arl", "name": "mine", "resume": "allow", "embed": False}
    assert said[1] == (0, {"eval/wer": 0.5}) and [one[0] for one in said[1:4]] == [0, 1, 2] and said[4] == "finish"


def test_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trackers() == ["tensorboard", "trackio", "wandb"]
    with pytest.raises(UsageError, match="--track comet: of tensorboard"):
        track(run, "comet")
    with pytest.raises(ArlError, match="no finished step"):
        track(tmp_path, "tensorboard")
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.delitem(sys.modules, "arl.evaluation.track.trackio", raising=False)
    with pytest.raises(ArlError, match=r"pip install 'arl\[trackio\]'"):
        track(run, "trackio")
