"""`make bench`: all scripts, one after another, into one page and one JSON file with the machine's description.

    python -m benchmarks.run [--quick] [--only a,d] [--threads N] [-o FOLDER]

Every script is a process of its own. A script that fails is named and the others go on; the exit code is then 1. With
--only, the figures of the other letters stay as they are in FOLDER/results.json. The full run belongs to an otherwise
idle machine and goes to benchmarks/; a quick look goes to .bench/quick.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.command import Result, rounded, scratch, table
from benchmarks.machine import describe

SCRIPTS = {
    "a": "trl_step", "b": "update", "c": "rollout", "d": "steps", "e": "shards", "f": "growth", "g": "rewards",
    "h": "decode", "i": "checkpoint",
}  # fmt: skip
PAGE, RESULTS = "RESULTS.md", "results.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under three minutes: a look, not a result")
    parser.add_argument("--only", default=",".join(SCRIPTS), help="letters, with commas")
    parser.add_argument("--threads", type=int, help="CPU threads of each side")
    parser.add_argument("--out", "-o", type=Path, help="folder of the page and the JSON file")
    given = parser.parse_args()
    letters = given.only.split(",")
    if unknown := set(letters) - set(SCRIPTS):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; letters are {', '.join(SCRIPTS)}")
    out = given.out or (scratch() / "quick" if given.quick else Path(__file__).resolve().parent)
    out.mkdir(parents=True, exist_ok=True)
    options = [*(["--quick"] if given.quick else []), *(["--threads", str(given.threads)] if given.threads else [])]
    failed = [letter for letter in letters if not run_one(letter, options, out)]
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_one(letter: str, options: list[str], out: Path) -> bool:
    """Runs a script and puts its figures into the files; False when it fails."""
    began, part = time.monotonic(), scratch() / f"{letter}.json"
    print(f"bench: {letter}: {SCRIPTS[letter]} …", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{SCRIPTS[letter]}", "--json", str(part), *options]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        return False
    result = json.loads(part.read_text())
    part.unlink()
    merge(out, letter, result | {"took_s": time.monotonic() - began, "quick": "--quick" in options})
    print(f"bench: {letter}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return True


def merge(out: Path, letter: str, result: Result) -> None:
    """Replaces one letter in results.json and writes the page anew."""
    path, machine = out / RESULTS, rounded(describe())
    before = json.loads(path.read_text()) if path.is_file() else {"machine": machine, "results": {}}
    results = {each: {"machine": before["machine"], **found} for each, found in before["results"].items()}
    results[letter] = result | {"machine": machine}
    first = min(results)
    content = {"machine": results[first]["machine"], "results": dict(sorted(results.items()))}
    path.write_text(json.dumps(rounded(content), indent=1, sort_keys=True) + "\n")
    (out / PAGE).write_text(make_page(content))


def words(machine: Result) -> str:
    """A machine's description as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; {machine.get('gpu', 'no GPU')}; " \
           f"{machine['system']}, Python {machine['python']}, {versions}."  # fmt: skip


def make_page(content: Result) -> str:
    """The whole page from results.json. A letter that was measured on another machine says so."""
    machine, results = content["machine"], content["results"]
    parts = [
        "# Benchmark", "Made by `make bench` (benchmarks/run.py); the numbers behind it are in results.json.",
        words(machine),
        "Every ratio is taken within a turn in which both sides ran, and is given as the median over the turns with "
        "the lowest and the highest in brackets. CPU seconds are user + system time of all processes of a side.",
    ]  # fmt: skip
    if any(result["quick"] for result in results.values()):
        parts.append("**Parts of this page are from a quick run: a look, not a result.**")
    targets = [target for result in results.values() for target in result["targets"]]
    if targets:
        rows = [[t["what"], f"{t['value']:.3g}", t["wanted"], "yes" if t["held"] else "**no**"] for t in targets]
        parts += ["## Targets", table(["", "measured", "wanted", "held"], rows)]
    for letter, result in results.items():
        parts.append(importlib.import_module(f"benchmarks.{SCRIPTS[letter]}").page(result))
        if result.get("machine", machine) != machine:
            parts.append(f"Measured on another machine: {words(result['machine'])}")
    took = ", ".join(f"{letter} {result['took_s']:.0f} s" for letter, result in results.items())
    return "\n\n".join([*parts, f"Time taken: {took}."]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
