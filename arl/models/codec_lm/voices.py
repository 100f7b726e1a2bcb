"""The voices of a policy of a plain LM and a codec: recordings that the speech continues, as the LM reads them.

    voices = load_voices(policy.frontend_dir); family.prompt(template, "hello", voices["ann"])

The file in `frontend/` is NAMES: {name: {"text": …, "speech": …}}. No torch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from arl.errors import ArlError, UsageError
from arl.shards.rows.form import is_name, is_text

NAMES = "voice_prompts.json"
NO_VOICE = "none"  # the name of no voice: the LM takes whichever it likes


@dataclass(frozen=True)
class Voice:
    """text: what its recording says, in the LM's own writing; speech: the recording in the LM's tokens, as text. Both
    empty: a voice that the checkpoint knows by its name."""

    name: str
    text: str = ""
    speech: str = ""


@dataclass(frozen=True)
class Asked:
    """`--voice NAME=FILE:TRANSCRIPT`, as far as it was given."""

    name: str
    file: Path | None
    said: str

    @classmethod
    def of(cls, text: str) -> "Asked":
        """UsageError for no name, the name of no voice, and a file that is not there."""
        name, _, rest = text.partition("=")
        file, _, said = rest.partition(":")
        if not is_name(name) or name == NO_VOICE:
            raise UsageError(f"--voice {text}: write NAME=FILE:TRANSCRIPT; {NO_VOICE} is the name of no voice")
        if file and not Path(file).is_file():
            raise UsageError(f"--voice {text}: there is no file {file}")
        return cls(name, Path(file) if file else None, said)


@dataclass(frozen=True)
class Reading:
    """What makes a voice of a recording. words: a text in the LM's writing; speech: a recording in its tokens."""

    words: Callable[[str], str]
    speech: Callable[[Path], str]


def save_voices(voices: Sequence[Voice], frontend_dir: Path) -> None:
    rows = {voice.name: {"text": voice.text, "speech": voice.speech} for voice in voices}
    (frontend_dir / NAMES).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_voices(frontend_dir: Path) -> dict[str, Voice]:
    """The voices of a policy by name, in the file's order; {} where it has none. ArlError where the file is damaged."""
    path = frontend_dir / NAMES
    if not path.is_file():
        return {}
    try:
        voices = [Voice(name, **row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()]
        if not all(map(is_text, (value for voice in voices for value in asdict(voice).values()))):
            raise ValueError("not a text")
    except (ValueError, TypeError, AttributeError) as error:
        raise ArlError(f"{path}: no voices ({error}): take the policy from its source again") from error
    return {voice.name: voice for voice in voices}


def chosen(voices: Mapping[str, Voice], asked: str | None, speaker: str) -> Voice | None:
    """The voice of a text: the one asked for, else its speaker's, else the first; None where there are none.
    UsageError for one that the policy does not have."""
    if asked == NO_VOICE:
        return None
    if asked is not None and asked not in voices:
        raise UsageError(f"--voice {asked}: the policy has {', '.join((*voices, NO_VOICE))}")
    return voices.get(asked or speaker, next(iter(voices.values()), None))
