"""Tables of metrics: numbers, cells, Markdown."""

import pytest

from arl.evaluation.metric import Metric
from arl.evaluation.render import Grid, change_cells, markdown, markdown_table, print_blocks

MOS = Metric("mos", "MOS", lambda row: row["mos"], lambda row: 1, form=".1f")
CHANGE = {"a": 3.0, "b": None, "change": None, "change_low": None, "change_high": None}


def test_numbers_of_a_metric() -> None:
    wer = Metric("wer", "WER", lambda row: row["errors"], lambda row: row["words"], factor=100)
    assert (wer.number(0.125), wer.number(0.125, "+"), wer.number(None)) == ("12.50", "+12.50", "-")
    assert (wer.span(0.1, 0.2), wer.span(-0.1, 0.2, "+"), wer.span(None, None)) == (
        "10.00 … 20.00",
        "-10.00 … +20.00",
        "",
    )
    assert MOS.number(3.14) == "3.1"


def test_a_p_value_is_shown_where_there_is_a_test() -> None:
    assert change_cells(MOS, CHANGE) == ["3.0", "-", "-", "", ""]
    assert (
        change_cells(MOS, CHANGE | {"p": None})[-1] == "-" and change_cells(MOS, CHANGE | {"p": 0.0312})[-1] == "0.031"
    )


def test_markdown() -> None:
    grid = Grid(["", "value"], [["a|b", "1"]])
    assert markdown("Speech", ["2 texts", grid]) == (
        "# Speech\n\n2 texts.\n\n|  | value |\n| --- | ---: |\n| a\\|b | 1 |\n"
    )
    assert markdown_table(["x", "y"], [["1", "two  \n words"]]) == "| x | y |\n| --- | --- |\n| 1 | two words |"


def test_a_pipe_gets_no_lines_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_blocks(["[b]all[/b]", Grid(["%", "A"], [["[x]", "1.00"]], widths=[5, 6])])
    assert capsys.readouterr().out.splitlines() == ["[b]all[/b]", "%           A", "[x]      1.00"]
