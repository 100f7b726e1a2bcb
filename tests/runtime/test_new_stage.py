"""A stage is one file in arl/cli/ and one row of the table: a toy one is added to a copy of the package, and runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arl.shards.columns import dumps
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard

ARL = Path(__file__).resolve().parents[2] / "arl"
ROW = """    Command(
        "shout", "arl.cli.shout:shout", STAGES, folder="loud", column="shout.json", is_in_step=True,
        preloads=("arl.shards.writer",),
    ),
"""
STAGE = '''
"""`arl shout`: texts in capitals."""

from arl.cli import options
from arl.runtime.stage import StageRun, default_out
from arl.shards.columns import META, dumps
from arl.shards.paths import joined_shards
from arl.shards.reader import read_joined


def shout(shards: options.Shards, out: options.Out = None) -> None:
    """Write each text in capitals.

    Example: arl shout --shards data/
    """
    run = StageRun("shout", out or default_out("loud", shards), {}, shards)
    for name, inputs in run.pending(joined_shards(shards)):
        with run.shard(name, inputs) as shard:
            for sample in read_joined(inputs):
                shard.write(sample.key, {"shout.json": dumps(sample.json(META)["text"].upper())})
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the package with the toy stage in it, and a shard of one text."""
    shutil.copytree(ARL, tmp_path / "code" / "arl", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "code" / "arl" / "cli" / "shout.py").write_text(STAGE)
    table = tmp_path / "code" / "arl" / "runtime" / "stages.py"
    text = table.read_text()
    assert text.count('    Command("mine"') == 1
    table.write_text(text.replace('    Command("mine"', ROW + '    Command("mine"'))
    write_shard(tmp_path / "data" / "000000.tar", [("a", {"json": dumps({"text": "one", "lang": "en"})})])
    return tmp_path


def arl(place: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARL_")}
    environment |= {"PYTHONPATH": str(place / "code"), "NO_COLOR": "1"}
    command = [sys.executable, "-P", "-c", "from arl.cli.entry import main; main()", *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_stage_has_its_help_its_worker_and_its_place_in_a_step(place: Path) -> None:
    assert "shout" in arl(place, "--help")
    assert "arl shout --shards data/" in arl(place, "shout", "--help")
    arl(place, "shout", "--shards", "data/")
    (sample,) = read_shard(place / "loud" / "000000.tar")
    assert sample.json("shout.json") == "ONE"
    arl(place, "warm", "start", "shout")
    try:
        arl(place, "shout", "--shards", "data/", "-o", "again")
        (worker,) = json.loads(arl(place, "warm", "status", "--json"))["workers"]
        assert (worker["stage"], worker["jobs"]) == ("shout", 1)
    finally:
        arl(place, "warm", "stop")
    assert (place / "again" / "000000.tar").read_bytes() == (place / "loud" / "000000.tar").read_bytes()
