"""The summary of `arl mine` for people: a row for each set, and why an utterance is in it."""

from pathlib import Path
from typing import Any

from rich.table import Table

from arl.runtime.console import stdout_console


def show(folder: Path, record: dict[str, Any]) -> None:
    """The summary as a table for people, on stdout."""
    table = Table(title=f"{folder}: of {record['pool']['utterances']} utterances")
    for name in ("set", "qualify", "chosen", "minutes", "words", "joined", "with keywords", "shards"):
        table.add_column(name, justify="left" if name == "set" else "right")
    for name, figures in sorted(record["sets"].items(), key=lambda item: ("+" in item[0], item[0])):
        counts = {**figures, "minutes": f"{60 * figures['hours']:.1f}"}
        shown = ("qualified", "utterances", "minutes", "words", "concatenated", "with_keywords", "shards")
        table.add_row(name, *(str(counts[each]) for each in shown))
    console = stdout_console()
    console.print(table)
    for name, why in rules_in_words(record["arguments"]).items():
        if name in record["sets"]:
            console.print(f"{name}: {why}")


def rules_in_words(arguments: dict[str, Any]) -> dict[str, str]:
    """Why an utterance is in a set, with the thresholds used."""
    rules = ", ".join(arguments["rules"])
    rare = f"a word of {arguments['letters']} letters or more that stands in at most {arguments['rare']} text(s)"
    return {
        "D0": f"drawn at random, seed {arguments['seed']}",
        "D1": f"systems disagree by more than {arguments['disagree']:g}"
        + (f", or a rule fires: {rules}" * bool(rules)),
        "D2": f"longer than {arguments['longer_s']:g} s",
        "D3": f"a word of {arguments['keywords']}" if arguments["keywords"] else rare,
    }
