"""The table of commands: every row leads to code that is there, and every command has a row."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from arl.runtime.stages import BY_NAME, CAN_BE_WARM, COMMANDS, STEP_FOLDERS, Command

CLI = Path(__file__).resolve().parents[2] / "arl" / "cli"
NOT_COMMANDS = {"__init__", "entry", "main", "options", "streams"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_row_names_a_module_with_its_function_and_modules_that_can_be_preloaded(command: Command) -> None:
    path = CLI / f"{command.module.removeprefix('arl.cli.')}.py"
    top = ast.parse(path.read_text()).body
    defined = {node.name for node in top if isinstance(node, ast.FunctionDef)}
    defined |= {ast.unparse(node.targets[0]) for node in top if isinstance(node, ast.Assign)}
    assert command.function in defined
    for name in command.preloads or ():
        assert importlib.util.find_spec(name) is not None


def test_names_and_folders_are_distinct() -> None:
    folders = [command.folder for command in COMMANDS if command.folder]
    assert len(BY_NAME) == len(COMMANDS) and len(set(folders)) == len(folders)


def test_the_loop_runs_its_stages_in_this_order_and_all_of_them_can_be_warm() -> None:
    assert list(STEP_FOLDERS.items()) == [
        ("rollout", "rollout"), ("decode", "wav"), ("reward", "reward"), ("update", "update"), ("sync", "sync"),
    ]  # fmt: skip
    assert STEP_FOLDERS.keys() <= set(CAN_BE_WARM)


def test_every_module_of_a_command_has_its_row() -> None:
    modules = {path.stem for path in CLI.glob("*.py")} - NOT_COMMANDS
    assert {command.module.removeprefix("arl.cli.") for command in COMMANDS} == modules


def test_the_table_is_light() -> None:
    program = (
        "import sys; import arl.runtime.stages; print({'typing', 'dataclasses', 'typer', 'json'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
