"""The transcript in what a model wrote: some write a language, time stamps or quotes around it.

A policy's arl.json names the rule ("transcript"), which its family gave:

    {"after": "<asr_text>"}            what follows the marker; all of it where there is none
    {"json": "Content"}                the field of each object of a JSON list, joined by spaces
    {"quoted": "The … audio is|…"}     what follows one of the openings, without the quotes around it
    {"none": ""}                       nothing: what was written is speech

The tokens of the hypothesis stay whole: they are what is trained on.
"""

import json
from collections.abc import Mapping


def transcript(text: str, rule: Mapping[str, str]) -> str:
    """The words that were recognised; `text` itself where the rule finds nothing of its form."""
    for kind, argument in rule.items():
        text = KINDS[kind](text, argument)
    return text


def after(text: str, marker: str) -> str:
    return text.partition(marker)[2].strip() if marker in text else text


def json_field(text: str, name: str) -> str:
    """A list that was cut off keeps the objects before the cut."""
    start = text.find("[")
    if start < 0:
        return text
    position, contents = start + 1, []
    while True:
        while position < len(text) and text[position] in " \n\t,":
            position += 1
        try:
            found, position = json.JSONDecoder().raw_decode(text, position)
        except ValueError:
            break
        if isinstance(found, dict):
            contents.append(str(found.get(name, "")).strip())
    return " ".join(content for content in contents if content) if contents or text[position:].startswith("]") else text


def quoted(text: str, openings: str) -> str:
    stripped = text.strip()
    opening = next((one for one in openings.split("|") if stripped.startswith(one)), None)
    if opening is None:
        return text
    inner = stripped.removeprefix(opening).strip().removesuffix(".").strip()
    is_quoted = len(inner) >= 2 and inner[0] == inner[-1] and inner[0] in "'\""
    return inner[1:-1].strip() if is_quoted else inner


def none(text: str, argument: str) -> str:
    return ""


KINDS = {"none": none, "after": after, "json": json_field, "quoted": quoted}
