"""The house: which package may import which. No circle between files or packages, and nothing imports upwards.

Every import that can run counts, those inside functions too; `if TYPE_CHECKING` does not run.
"""

import ast
import functools
import statistics
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (  # from the ground; packages of one layer may not import each other, except as PEERS says
    ("errors",),
    ("text",),
    ("shards",),
    ("adapter", "policy"),
    ("runtime",),
    ("rewards",),
    ("audio", "engine", "losses", "planning"),
    ("train", "data"),
    ("models",),
    ("evaluation",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}
UPWARDS = {  # (file, package): why this import may run upwards
    ("arl/__init__.py", "rewards"): "`from arl import reward` is what a reward program writes",
    ("arl/runtime/warm/worker.py", "cli"): "a warm worker runs whole command lines",
}
PEERS: dict[tuple[str, str], str] = {}
INSIDE_FUNCTIONS = 120
LOOSE = {"__init__.py", "__main__.py", "adapter.py", "errors.py", "policy.py"}


def module_of(path: Path) -> str:
    """`arl/shards/__init__.py` → `arl.shards`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted((ROOT / "arl").rglob("*.py"))}


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Each module's syntax tree."""
    return {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def imports(tree: ast.AST, is_inside: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Each import statement that can run, and whether it stands in a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, is_inside
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        else:
            yield from imports(node, is_inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(tree: ast.AST) -> set[str]:
    """The modules of arl that a file imports."""
    found = set()
    for node, _ in imports(tree):
        if isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else str(node.module) for name in full}
        else:
            found |= {alias.name for alias in node.names}
    return found & FILES.keys()


def package(module: str) -> str:
    """`arl.shards.reader` → `shards`."""
    return module.split(".")[1] if "." in module else ""


@functools.cache
def module_graph() -> dict[str, set[str]]:
    """What each module imports of arl."""
    return {name: imported(tree) - {name} for name, tree in trees().items()}


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " -> ".join(reversed(error.args[1])))


def test_no_circle_between_files() -> None:
    assert_no_circle({name: targets for name, targets in module_graph().items() if name != "arl"})


def test_no_circle_between_packages() -> None:
    graph: dict[str, set[str]] = {}
    for name, targets in module_graph().items():
        if name != "arl":
            file, own = str(FILES[name].relative_to(ROOT)), package(name)
            targets_of = {package(target) for target in targets} - {own, ""}
            graph.setdefault(own, set()).update(target for target in targets_of if (file, target) not in UPWARDS)
    assert_no_circle(graph)


def test_nothing_imports_upwards() -> None:
    found = {
        (str(FILES[name].relative_to(ROOT)), package(target))
        for name, targets in module_graph().items()
        for target in targets
        if package(target) and package(target) != package(name)
        and LEVEL[package(target)] >= LEVEL.get(package(name), -1)
    }  # fmt: skip
    allowed = UPWARDS.keys() | PEERS.keys()
    assert found - allowed == set()
    assert allowed - found == set(), "an exception that is no longer needed"


def test_every_package_has_its_layer() -> None:
    assert {package(name) for name in FILES} - {""} == LEVEL.keys()
    assert {path.name for path in (ROOT / "arl").glob("*.py")} == LOOSE


def test_few_imports_stand_inside_functions() -> None:
    inside = [node for tree in trees().values() for node, is_inside in imports(tree) if is_inside]
    assert len(inside) <= INSIDE_FUNCTIONS


def test_files_and_functions_are_short() -> None:
    assert [name for name, path in FILES.items() if len(path.read_text().split("\n")) > 301] == []
    functions = [n for tree in trees().values() for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    assert statistics.median(n.end_lineno - n.lineno + 1 for n in functions if n.end_lineno) < 10
