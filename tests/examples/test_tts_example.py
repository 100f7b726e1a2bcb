"""The embedded default of synthesis: what is shipped, what its loop practises on and is judged by."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from arl.cli.data import data
from arl.data.corpora.synthetic import texts as drawn
from arl.models.qwen2_flow import decoder
from arl.models.qwen2_flow.prompts import load_voices
from arl.models.token_asr import model as token_asr
from arl.policy import Policy
from examples.tts.train import texts
from tests.examples.tables import ROOT

EXAMPLE = ROOT / "examples/tts"


def test_what_is_shipped_fits_together() -> None:
    start = Policy.open(EXAMPLE / "start")
    start.verify()
    assert sum(path.stat().st_size for path in start.path.rglob("*") if path.is_file()) < 20e6
    assert len(load_voices(start.frontend_dir)) == 2
    n_codes = start.fields["acoustic_codes"]
    assert decoder.load(start.frontend_dir).flow.config.codes == n_codes
    assert token_asr.load(EXAMPLE / "token-asr").n_codes == n_codes
    told = [(EXAMPLE / "texts" / f"{name}.txt").read_text().splitlines() for name in ("train", "test")]
    assert [len(set(lines)) for lines in told] == [768, 200] and not set(told[0]) & set(told[1])


@pytest.mark.registry
def test_texts_are_prompts_that_nothing_was_trained_on(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(data)
    prompts = drawn(9, 0, 2000, 0)
    known = {"a": prompts[:60], "b": prompts[60:120]}
    for name, lines in known.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
        words = ["--texts", f"{tmp_path}/{name}.txt", "-o", f"{tmp_path}/{name}", "--batch", "30"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    texts([str(tmp_path / name) for name in known], tmp_path / "texts", train=60, test=20)
    train, test = ((tmp_path / "texts" / f"{name}.txt").read_text().splitlines() for name in ("train", "test"))
    assert len(set(train)) == 60 and len(set(test)) == 20 and not set(train) & set(test)
    assert not (set(train) | set(test)) & {*known["a"], *known["b"]}
    for text in train + test:
        assert 15 <= len(text) <= 60 and min(map(len, text.split())) > 1
        assert sum(word in ("two", "three", "twenty", "hundred") for word in text.split()) < 2
