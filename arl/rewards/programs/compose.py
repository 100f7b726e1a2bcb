"""From several programs' answers to one reward per hypothesis.

total = Σ weight · component. None in any program's answer excludes the hypothesis. Then the gates: a gate is a program
that returns 1 where it fired and 0 where not (any number but 0 counts as fired), and where it fired the total is at
most its value, the lowest of several. With `gates_set`, as in arXiv 2509.18569, the total is that value, also where it
was lower.
"""

import math
import operator
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from arl.errors import ArlError, UsageError
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.patience import TIMEOUT_S
from arl.rewards.programs.resolve import Program, ProgramSpec, resolve, split_value


@dataclass(frozen=True)
class Panel:
    """The programs of a run: weighted components first, then gates. Names are unique."""

    programs: tuple[ProgramSpec, ...]
    weights: tuple[float, ...]
    gate_values: tuple[float, ...]
    gates_set: bool = False

    @classmethod
    def parse(
        cls, components: Sequence[str], gates: Sequence[str] = (), child: bool = False, gates_set: bool = False
    ) -> "Panel":
        """Resolves `--with` and `--gate` specs. UsageError when there is no component or a gate has no value."""
        if not components:
            raise UsageError("--with is missing: name a reward program, such as --with wer")
        weighted = [split_value(spec) for spec in components]
        valued = [split_value(spec) for spec in gates]
        for spec, value in valued:
            if value is None:
                raise UsageError(f"--gate {spec}: a gate needs the reward it sets, such as --gate {spec}=-1")
        programs = [resolve(spec, child) for spec, _ in [*weighted, *valued]]
        return cls(
            tuple(_with_unique_names(programs)),
            tuple(1.0 if weight is None else weight for _, weight in weighted),
            tuple(value for _, value in valued if value is not None),
            gates_set,
        )

    def open(self, stack: ExitStack, timeout_s: float = TIMEOUT_S) -> list[Program]:
        """Starts every program; `stack` ends them. timeout_s: for one answer."""
        return [stack.enter_context(program.open(timeout_s)) for program in self.programs]

    def fingerprint(self) -> dict[str, Any]:
        """What makes the rewards, JSON-serialisable: programs with their hashes, weights and gate values.

        "gate" says whether gates set the reward, as all did in version 0.1, or bound it.
        """
        described = [program.fingerprint() for program in self.programs]
        n, kind = len(self.weights), "set" if self.gates_set else "bound"
        return {
            "with": [{**d, "weight": w} for d, w in zip(described[:n], self.weights, strict=True)],
            "gates": [{**d, "value": v, "gate": kind} for d, v in zip(described[n:], self.gate_values, strict=True)],
        }

    def total(self, answers: Sequence[Answer]) -> list[float | None]:
        """The rewards of one group [G] from its answers, one per program. ArlError when the sum overflows."""
        n = len(self.weights)
        columns = zip(*(answer.rewards for answer in answers), strict=True)
        return [None if None in values else self._one(values[:n], values[n:], answers[0].key) for values in columns]

    def _one(self, rewards: Sequence[Any], gates: Sequence[Any], key: str) -> float:
        fired = [value for value, gate in zip(self.gate_values, gates, strict=True) if gate]
        if fired and self.gates_set:
            return min(fired)
        total = min([sum(map(operator.mul, self.weights, rewards)), *fired])
        if not math.isfinite(total):
            raise ArlError(f"{key}: the weighted rewards {list(rewards)} do not add up to a finite number")
        return total


def _with_unique_names(programs: Sequence[ProgramSpec]) -> list[ProgramSpec]:
    """Renames the second `jq` to `jq-2`, and so on."""
    named: list[ProgramSpec] = []
    taken: set[str] = set()
    for program in programs:
        name, n = program.name, 1
        while name in taken:
            n += 1
            name = f"{program.name}-{n}"
        taken.add(name)
        named.append(replace(program, name=name))
    return named
