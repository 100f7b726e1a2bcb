"""Full and read-only disks, closed and full outputs: one line and an exit code, and nothing half-written."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from arl.cli.streams import Commands
from arl.data.corpora.data_stage import Selection, make_shards
from arl.errors import ArlError
from arl.evaluation.folder import write
from arl.rewards.reward_stage import RewardOptions, score_rollouts
from arl.runtime.stage import StageRun
from arl.shards.columns import META, ROLLOUT, dumps
from arl.shards.durable import refuse_unwritable, write_folder
from arl.shards.record import RECORD, StageRecord, append_record
from arl.shards.writer import write_shard
from tests.small_disk import Disk, small_disk

HYP = {"text": "one", "tokens": [5], "logprobs": [-1.0], "finish": "stop"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


def raised(error: BaseException) -> BaseException | None:
    """What a command that raises it ends with."""
    app = typer.Typer(cls=Commands)

    @app.command()
    def command() -> None:
        raise error

    app.command("other")(command)
    return CliRunner().invoke(app, ["command"]).exception


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "Disk full"), "Disk full; make room, or choose another place"),
        (OSError(errno.ENOSPC, "Disk full", "a/b"), "a/b: Disk full; make room, or choose another place"),
        (OSError(errno.EROFS, "Read-only", "a"), "a: Read-only; choose another place"),
        (
            OSError(errno.EIO, "Input/output error", "a"),
            "a: Input/output error; the disk is failing, or was taken away",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: Permission denied"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), "a -> b: Invalid cross-device link"),
        (OSError("said by a library"), "said by a library"),
        (TimeoutError(), "TimeoutError"),
        (EOFError("no more"), "a file ends before its content does (no more)"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe"),  # not that of standard output
    ],
)
def test_the_systems_errors_are_one_line(error: BaseException, line: str) -> None:
    found = raised(error)
    assert isinstance(found, ArlError) and str(found) == line


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        ("> /dev/full", "1", "No space left on device; make room"),
        (">&-", "0", ""),
        (">&- 2>&- <&-", "0", ""),
        ("| true", "0", ""),
        ("2> /dev/full", "0", ""),
    ],
)
def test_outputs_that_take_nothing(tmp_path: Path, redirection: str, code: str, words: str) -> None:
    write_shard(tmp_path / "a.tar", [(f"k{number}", {"json": dumps({"text": "x" * 5000})}) for number in range(60)])
    command = f"{sys.executable} -c 'from arl.cli.entry import main; main()' cat {tmp_path}/a.tar"
    script = f"set -o pipefail; exec 3>&1; {{ {command}; echo $? >&3; }} {redirection}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.stdout.splitlines()[-1] == code
    assert len(lines) == bool(words) and all(line.startswith("arl: ") and words in line for line in lines)


def rollouts(folder: Path, samples: int = 1) -> list[str]:
    write_shard(folder / "rollout" / "0.tar", [
        (f"k{n}", {META: dumps({"text": "one"}),
                   ROLLOUT: dumps({"policy": "a", "temperature": 1, "hyps": [HYP, HYP]})}) for n in range(samples)
    ])  # fmt: skip
    return [str(folder / "rollout")]


def test_a_full_disk_leaves_nothing_half_written(disk: Disk, tmp_path: Path) -> None:
    shards, texts = rollouts(tmp_path, 300), tmp_path / "texts"
    texts.write_text("".join(f"line {number} of many words\n" for number in range(400)))

    def save(folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"a": np.zeros(100_000)}, folder / "a.safetensors")

    for write_it in (
        lambda out: write_shard(out / "0.tar", [("k", {"bin": bytes(300_000)})]),
        lambda out: write_folder(out, save),
        lambda out: write_folder(out, lambda folder: (folder / "x").write_bytes(bytes(300_000))),
        lambda out: write(out, [{"key": "a" * 300_000}], {}),
        lambda out: make_shards({"texts": texts}, out, Selection()),
        lambda out: score_rollouts(shards, out, RewardOptions(["wer"])),
    ):
        with pytest.raises(ArlError, match=r"cannot be written \(No space left on device; make room") as caught:
            write_it(disk.path / "out")
        assert "\n" not in str(caught.value) and str(disk.path / "out") in str(caught.value)
        assert disk.files() == []
    disk.fill()
    with pytest.raises(ArlError, match=f"{RECORD}: cannot be written"):
        append_record(disk.path, StageRecord("rollout", "0", 1, {}, 1.0))


def test_a_read_only_output_is_found_before_the_work(disk: Disk, tmp_path: Path, monkeypatch) -> None:
    shards, out = rollouts(tmp_path), disk.path / "out"
    score_rollouts(shards, out, RewardOptions(["wer"]))
    disk.make_read_only()
    monkeypatch.setattr("arl.rewards.reward_stage.write_scores", lambda *_: pytest.fail("scored"))
    score_rollouts(shards, out, RewardOptions(["wer"]))  # is there already
    with pytest.raises(ArlError, match=f"{out}: cannot be written, as {out} is read-only"):
        score_rollouts(shards, out, RewardOptions(["wer"]), force=True)
    for path in (disk.path / "new", disk.path / "new" / "deep"):
        with pytest.raises(ArlError, match="is read-only or no folder; give another --out"):
            refuse_unwritable(path)
    with pytest.raises(OSError, match="Read-only"):
        StageRun("reward", disk.path / "new", {})
