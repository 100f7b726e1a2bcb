"""What `arl check` says of its targets: shards to the last byte, reward programs against their contract.

for target, problem in problems(["rollout/"], join=["reward/"]): ...
"""

import os
import stat
from collections.abc import Iterator, Sequence

from arl.errors import ArlError, UsageError
from arl.rewards.programs.checker import check_program
from arl.shards.checks import Listen, shard_problems
from arl.shards.paths import STDIN, SUFFIX, expand, expand_braces, match_sources


def problems(
    targets: Sequence[str], join: Sequence[str], listen: Listen | None = None
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """(target, one-line problem) of each target in turn. listen: decodes a waveform, as in `shard_problems`."""
    if join:
        programs = [target for target in targets if not names_shards(target)]
        if programs:
            raise UsageError(f"{programs[0]}: --join joins shards, and this is none")
        try:
            groups = [group for _, group in match_sources([expand(targets), *(expand([source]) for source in join)])]
        except UsageError:
            raise
        except ArlError as error:
            yield targets[0], str(error)
            return
        yield from ((str(group[0]), problem) for group in groups for problem in shard_problems(group, listen))
        return
    for target in targets:
        try:
            if names_shards(target):
                for path in expand([target]):
                    yield from ((target, problem) for problem in shard_problems([path], listen))
            else:
                check_program(target)
        except UsageError:
            raise
        except ArlError as error:
            yield target, str(error)


def names_shards(target: str) -> bool:
    """Whether a target of `arl check` means shards: a folder, a .tar, a brace list of them, or `-`."""
    try:
        words = list(expand_braces(target))
    except UsageError:
        words = [target]
    return any(word == STDIN or word.endswith((SUFFIX, "/")) or os.path.isdir(word) or _is_pipe(word) for word in words)


def _is_pipe(word: str) -> bool:
    """A pipe by name, as the shell's `<(command)` gives."""
    return os.path.exists(word) and stat.S_ISFIFO(os.stat(word).st_mode)
