"""`arl report --html`: what the page says of a run, and that it says nothing else."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from arl.cli.main import make_app
from arl.errors import ArlError
from arl.evaluation.page import build
from arl.evaluation.page.compared import compared, newest
from arl.evaluation.page.curves import Series, charts, thinned
from arl.evaluation.page.examples import examples
from arl.evaluation.page.history import history, mean_interval
from arl.evaluation.page.making import making
from arl.evaluation.page.spectrogram import TOP, levels, mel, pitch_line
from arl.evaluation.page.verdict import verdict
from arl.evaluation.page.watch import watch
from arl.shards.reader import read_shard
from tests.evaluation.page.conftest import STEPS, add_steps, tone


@pytest.fixture
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five megabytes less to write and search."""
    monkeypatch.setattr(build, "plotly_script", lambda: "/* plotly */")


def page(run: Path, out: Path, **more: bool) -> str:
    build.write_page(run, out / "report.html", **more)
    return (out / "report.html").read_text()


def test_the_headline_is_the_paired_change_of_held_out_errors(recognition_run: Path) -> None:
    found, steps = compared(recognition_run), history(recognition_run)
    assert found is not None
    head = verdict(found, steps)
    assert head.title == f"Word errors fell by {-100 * found.result['relative']:.1f} %" and head.tone == "better"
    assert (head.label, head.before, head.after) == ("WER", "63.64 %", "9.09 %")
    assert "On 4 held-out utterances, after 8 steps" in head.detail and "another seed" in head.detail
    assert "On short" not in head.detail
    found.result["sets"] = {"short": found.result, "long": {**found.result, "relative": 0.031}}
    by_set = verdict(found, steps).detail
    assert "On short: relative change \N{MINUS SIGN}85.7 % (" in by_set
    assert "On long: relative change +3.1 % (" in by_set
    found.result["metrics"]["wer"]["change_high"] = 0.01
    assert verdict(found, steps).title == "Word errors: no reliable change"
    assert "may be chance" in verdict(found, steps).detail
    assert verdict(None, steps).title == "8 steps done" and verdict(None, []).title == "No step is finished yet"


def test_synthesis_is_judged_by_what_was_heard(synthesis_run: Path) -> None:
    found = compared(synthesis_run)
    head = verdict(found, history(synthesis_run))
    assert head.label == "WER" and head.title == "Word errors: no reliable change" and "points" in head.detail


def test_the_newest_evaluation_is_of_the_latest_policy(tmp_path: Path) -> None:
    for name, policy in (("000000", "000000-a"), ("000004", "000004-b"), ("final", "000004-b")):
        (tmp_path / "eval" / name).mkdir(parents=True)
        (tmp_path / "eval" / name / "summary.json").write_text(json.dumps({"policy": policy}))
    assert newest(tmp_path) == tmp_path / "eval" / "final"
    (tmp_path / "eval" / "000008").mkdir()
    (tmp_path / "eval" / "000008" / "summary.json").write_text('{"policy": "000008-c"}')
    assert newest(tmp_path) == tmp_path / "eval" / "000008"
    assert newest(tmp_path / "nothing") is None


def test_curves_have_intervals_over_groups_and_alarms(recognition_run: Path, synthesis_run: Path) -> None:
    steps = history(recognition_run)
    expected = mean_interval([0.45, 0.45, 0.45])
    assert steps[0].components["wer"] == expected and len(steps[0].rewards) == 6
    assert steps[0].no_variance == pytest.approx(1 / 3) and steps[0].memory_mb["update"] == 250
    half = 1.96 * np.std([0.2, 0.4, 0.9], ddof=1) / np.sqrt(3)
    assert mean_interval([0.2, 0.4, 0.9]).low == pytest.approx(0.5 - half)
    held_out = {0: {"wer": 0.5, "wer_low": 0.4, "wer_high": 0.7}}
    drawn = {chart.name: chart for chart in charts(steps, held_out, [(8, "it falls")])}
    assert drawn.keys() == {"wer", "reward", "distribution", "watched", "kl", "entropy", "length", "gradient", "groups",
                            "seconds", "memory"}  # fmt: skip
    points, samples = drawn["wer"].series
    assert (points.y, points.low, points.high) == ([50], [40], [70]) and samples.y[0] == pytest.approx(55)
    assert drawn["watched"].marks == drawn["reward"].marks == [(8, "it falls")] and not drawn["kl"].marks
    first, last = drawn["distribution"].series
    assert sum(filter(None, first.y)) == pytest.approx(100) and first.name == "steps 1 to 4"
    names = [series.name for series in charts(history(synthesis_run), {})[0].series]
    assert names == ["total", "asr", "duration"]


def test_a_long_curve_is_thinned_to_its_ends() -> None:
    values = [float(n) for n in range(10_001)]
    long = thinned(Series("kl", values, values, values, []))
    assert len(long.x) <= 402 and (long.x[0], long.x[-1]) == (0, 10_000) and long.y == long.low == long.x
    short = Series("kl", [1.0, 2.0], [3.0, None], [], [], "bars")
    assert thinned(short) == short


def test_examples_are_ranked_by_change_with_their_audio(recognition_run: Path, tmp_path: Path) -> None:
    found = compared(recognition_run)
    assert found is not None
    shown = examples(found, [])
    assert [one.key for one in shown.better] == ["u0", "u1", "u3"] and not shown.worse
    assert shown.counts == {"better": 3, "worse": 0, "same": 1} and shown.better[0].errors == (4, 0)
    kinds = [[kind for _, kind in word.cells] for word in shown.better[1].words]
    assert kinds == [["equal", "substitute", "equal"], ["equal"] * 3, ["equal", "delete", "delete"]]
    (player,) = shown.better[0].players
    first = next(read_shard(recognition_run / "data" / "test" / "0.tar"))
    assert player.seconds == 0.5 and player.uri == data_uri("audio/flac", first.members["flac"])
    moved = tmp_path / "moved"
    shutil.copytree(recognition_run, moved)
    (moved / "data").rename(tmp_path / "elsewhere")
    found = compared(moved)
    assert found is not None
    assert "--shards" in examples(found, []).better[0].players[0].problem
    assert examples(found, [str(tmp_path / "elsewhere" / "test")]).better[0].players[0].uri


def data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_synthesis_plays_both_versions_with_spectrogram_and_pitch(synthesis_run: Path) -> None:
    from PIL import Image

    found = compared(synthesis_run)
    assert found is not None
    shown = examples(found, [])
    assert [one.key for one in shown.better] == ["u0", "u1"] and [one.key for one in shown.worse] == ["u2"]
    before, after = shown.better[0].players
    assert (before.label, after.label) == ("before", "after") and before.uri != after.uri
    picture = Image.open(io.BytesIO(base64.b64decode(before.picture.partition(",")[2])))
    assert picture.size[1] == 80 and abs(picture.size[0] - 52) <= 2
    loudest = levels(tone(1000.0))[:, 20:30].mean(1).argmax()
    assert abs((1 - loudest / 80) * TOP - mel(1000.0)) < 2 * TOP / 80
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", after.pitch)]
    assert abs(np.median(heights) - 100 * (1 - mel(180.0) / TOP)) < 1
    assert pitch_line(np.zeros(8000, np.float32)) == ""


def test_the_page_says_how_the_run_was_made(recognition_run: Path) -> None:
    made = making(recognition_run)
    assert [command.where for command in made.commands][:1] == ["step-000001/rollout"]
    assert made.commands[-1].where == "eval/final" and all(one.line.startswith("arl") for one in made.commands)
    assert len(made.steps) == 4 * STEPS and made.versions["arl"] and len(made.versions["python"]) == 1


def test_the_page_holds_all_of_it_and_loads_nothing(
    recognition_run: Path, synthesis_run: Path, tmp_path: Path, without_plotly: None
) -> None:
    text = page(recognition_run, tmp_path)
    assert "speaker similarity falls" in text and "sha256 0f0f0f0f0f0f" in text and "63.64 %" in text
    assert "&lt;/script&gt;&lt;b&gt;bold" in text and "<b>bold" not in text
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', text)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "https:" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert 'data-reload="0"' in text and 'data-reload="20"' in page(recognition_run, tmp_path, is_running=True)
    speech = page(synthesis_run, tmp_path)
    assert "## Voices" in speech and "data:image/png" in speech and "## Voices" not in text


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArlError, match="no such run"):
        page(tmp_path / "nothing", tmp_path)
    with pytest.raises(ArlError, match="no finished step"):
        page(tmp_path, tmp_path)
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(ArlError, match=r"arl\[page\]"):
        build.plotly_script()


def test_watching_writes_again_when_the_run_grows(tmp_path: Path) -> None:
    add_steps(tmp_path, ["wer"])
    written: list[bool] = []

    def write(is_running: bool) -> None:
        written.append(is_running)
        if len(written) == 2:
            (tmp_path / "eval" / "final").mkdir(parents=True)
        name = "eval/final/summary.json" if len(written) == 2 else "step-000001/update/stage.jsonl"
        with (tmp_path / name).open("a") as stream:
            stream.write("\n")

    watch(tmp_path, write, look_s=0)
    assert written == [True, True, False]


def test_the_command(recognition_run: Path, tmp_path: Path, without_plotly: None) -> None:
    def report(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(make_app(), ["report", *words])
        return done.exit_code, done.output + str(done.exception)

    out = tmp_path / "new" / "page.html"
    code, said = report("--html", str(recognition_run), "-o", str(out))
    assert code == 0 and str(out) in said and out.stat().st_size > 10_000
    for words, problem in ((["--html"], "name one run"), ([str(tmp_path), "--watch"], "are of --html"),
                           (["--html", str(tmp_path), "--step", "1"], "whole run")):  # fmt: skip
        code, said = report(*words)
        assert code != 0 and problem in said


def test_texts_have_contrast_in_both_themes() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    style = (build.HERE / "style.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in
                   (style.split("@media")[0], style.split(':root[data-theme="dark"] {')[1]))  # fmt: skip
    pairs = [("ink", "bg"), ("quiet", "bg"), ("quiet", "card"), ("accent", "bg"), ("ink", "code"), ("quiet", "code"),
             *((name, other) for name in ("good", "bad") for other in ("bg", "card")),
             *((name, f"{name}-soft") for name in ("bad", "warn", "info"))]  # fmt: skip
    for theme in (light, dark):
        poor = [pair for pair in pairs if contrast(*(theme[name] for name in pair)) < 4.5]
        assert not poor


def contrast(one: str, other: str) -> float:
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
