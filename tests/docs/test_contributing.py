"""CONTRIBUTING's table of what an addition touches: each is made on a copy of the tree, and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from arl.shards.reader import read_shard
from arl.shards.rows import Meta
from arl.shards.writer import write_shard

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
ROW = re.compile(r"^\| (a [a-z ]+) \| (`.*`) \|$", re.MULTILINE)
TABLE = {name: re.findall(r"`([^`]+)`", files) for name, files in ROW.findall(PAGE)}

REWARD = """
from arl import reward

@reward
def toy(utterance):
    return [float(len(hyp.text)) for hyp in utterance.hyps]

if __name__ == "__main__":
    toy.main()
"""
LOSS = """
from dataclasses import dataclass
from arl.losses.grpo import Grpo
from arl.losses.spec import LossSpec

@dataclass(frozen=True)
class Toy(Grpo):
    clip_high: float = 0.5

LOSS = LossSpec(Toy)
"""
FAMILY = """
from arl.models import Family

class Toy(Family):
    name = "toy"
    takes = "toy checkpoint"
    parts = ("checkpoints",)

    def recognises(self, checkpoint):
        return checkpoint.config.get("model_type") == "toy"

    def build(self, checkpoint, out, options):
        out.mkdir()
        raise SystemExit("a toy is built")

FAMILY = Toy()
"""
STAGE = '''
import typer
from arl.cli import options

def toy(shards: options.Shards) -> None:
    """Count shards.

    Example: arl toy --shards emb/
    """
    from arl.shards.paths import joined_shards

    print(len(list(joined_shards(shards))))
'''


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the toolkit that may be changed."""
    for folder in ("arl", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`arl` of the copy."""
    return python(house, "from arl.cli.entry import main; main()", *arguments)


def python(house: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1", "ARL_WARM": "", "COLUMNS": "200"}
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=house, env=os.environ | own, capture_output=True, text=True, timeout=120)


def touched(house: Path) -> set[str]:
    """The files of the copy that differ from those of the tree, with the toy's name as NAME."""
    files = (path for folder in ("arl", "stages") for path in (house / folder).rglob("*") if path.is_file())
    own = {str(path.relative_to(house)): path for path in files if "__pycache__" not in path.parts}
    changed = {name for name, path in own.items() if not same(ROOT / name, path)}
    return {name.replace("toy", "NAME") for name in changed}


def same(a: Path, b: Path) -> bool:
    return a.is_file() and a.read_bytes() == b.read_bytes()


def add(house: Path, what: str, texts: Mapping[str, str]) -> None:
    """Writes an addition's new files and checks that the table names all that is touched."""
    for name, text in texts.items():
        (house / name).parent.mkdir(exist_ok=True)
        (house / name).write_text(text)
    assert touched(house) == set(TABLE[what])


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def test_the_table_is_whole() -> None:
    assert TABLE.keys() == {
        "a reward", "a loss", "a family", "a stage", "a panel of the report", "a data source",
    }  # fmt: skip


def test_a_reward(house: Path) -> None:
    add(house, "a reward", {"stages/reward/toy.py": REWARD})
    hyps = [{"text": text, "tokens": [1], "logprobs": [-1.0], "finish": "stop"} for text in ("a", "abc")]
    row = {"policy": "0-a", "temperature": 1.0, "hyps": hyps}
    members = {"json": b'{"text": "a", "lang": "en"}', "rollout.json": json.dumps(row).encode()}
    write_shard(house / "rollout" / "0.tar", [("u", members)])
    done = run(house, "reward", "--shards", "rollout", "--with", "toy", "-o", "reward")
    assert done.returncode == 0, done.stderr
    assert '"toy":[1.0,3.0]' in run(house, "cat", "--json", "reward").stdout


def test_a_loss(house: Path) -> None:
    add(house, "a loss", {"arl/losses/toy.py": LOSS, "arl/losses/toy.md": "# toy\n"})
    assert "toy" in run(house, "update", "--help").stdout
    code = (
        "from arl.losses.registry import make_loss; from arl.losses.settings import LossSettings;"
        "print(make_loss(LossSettings(loss='toy')))"
    )
    done = python(house, code)
    assert "Toy(" in done.stdout and "clip_high=0.5" in done.stdout, done.stderr


def test_a_family(house: Path) -> None:
    add(house, "a family", {"arl/models/toy/__init__.py": FAMILY})
    checkpoint = house / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "toy"}')
    done = run(house, "init", "--from", "checkpoint", "-o", "policy")
    assert "a toy is built" in done.stderr, done.stderr


def test_a_stage(house: Path) -> None:
    row = 'Command("mine", "arl.cli.mine:mine"),'
    change(house / "arl/runtime/stages.py", row, row + '\n    Command("toy", "arl.cli.toy:toy", STAGES, folder="toy"),')
    add(house, "a stage", {"arl/cli/toy.py": STAGE})
    assert "toy" in run(house, "--help").stdout
    write_shard(house / "emb" / "0.tar", [])
    done = run(house, "toy", "--shards", "emb")
    assert done.stdout.strip() == "1", done.stderr


def test_a_panel_of_the_report(house: Path) -> None:
    pytest.importorskip("matplotlib")
    last = 'Panel(partial(draw_curve, "length", "tokens"), ("length",)),'
    change(
        house / "arl/evaluation/panels.py", last, last + '\n    Panel(partial(draw_curve, "lr", "toy rate"), ("lr",)),'
    )
    add(house, "a panel of the report", {})
    folder = house / "run" / "step-000001" / "update"
    folder.mkdir(parents=True)
    line = {"shard": "0", "policy": "0-a", "reward": 1.0, "lr": 0.5}
    (folder / "stage.jsonl").write_text(json.dumps(line) + "\n")
    done = run(house, "report", "--run", "run", "--plot", "curve.svg")
    assert "toy rate" in (house / "curve.svg").read_text(), done.stderr


SOURCE = """
from arl.data.corpora.utterance import DEFAULTS, Corpus, CorpusUtterance, SourceOptions


def corpus(word: str, options: SourceOptions = DEFAULTS) -> Corpus:
    return Corpus("toys", lambda scratch: [CorpusUtterance("t", word, None)], identity=word)
"""


def test_a_data_source(house: Path) -> None:
    command = house / "arl/cli/data.py"
    change(command, "    audio_root: Annotated[", "    toy: str | None = None,\n    audio_root: Annotated[")
    change(command, '"synthetic": synthetic, ', '"synthetic": synthetic, "toy": toy, ')
    add(house, "a data source", {"arl/data/corpora/toy.py": SOURCE})
    done = run(house, "data", "--toy", "hello there", "-o", "texts")
    assert "1 utterances, 1 texts" in done.stderr, done.stderr
    (sample,) = read_shard(house / "texts" / "000000.tar")
    assert Meta.of(sample).text == "hello there"
