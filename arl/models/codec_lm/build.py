"""An LM's folder and a codec → a policy. The LM stays as it is, text tokens and all; `arl export` gives it back.

The prompt is the family's, or the checkpoint's own chat template, rendered once with `{text}` where a text stands:
arl.json's "prompt_template". Its date, where the template writes one, is the template's own default.
"""

import hashlib
import json
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer

from arl.audio.io import load
from arl.errors import ArlError, UsageError
from arl.models import InitOptions
from arl.models.checkpoint import Checkpoint
from arl.models.codec_lm.codecs import CODECS, CodecFacts, copy_files
from arl.models.codec_lm.frame import Frame
from arl.models.codec_lm.voices import Asked, Reading, Voice, save_voices
from arl.policy import Policy, part_digest, write_policy
from arl.train.load import causal_lm, first_line
from arl.train.probe import make_probe

if TYPE_CHECKING:
    from arl.models.codec_lm.family import CodecLm

DATE = "26 Jul 2024"  # what Llama's template writes where it is told none
MARK = re.compile(r"<[^<>\s]+>")


def build(family: "CodecLm", checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
    """Writes the policy. UsageError without a codec, or for an option that means nothing here."""
    refuse_flags(family, checkpoint, options)
    folder, source = Path(checkpoint.source), Path(str(options.codec))
    facts = facts_of(family, source)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    first, frame = frame_in(family, tokenizer, folder, facts)
    template, language = template_of(family, folder), options.language or family.language
    check_tokens(template, tokenizer, folder)
    voices = voices_of(family, options, Listener(family, source, facts, frame), language)
    for voice in voices:
        check_tokens(voice.speech, tokenizer, folder)
    model = causal_lm(folder, "auto")
    ends, size = [tokenizer.token_to_id(end) for end in family.ends], model.config.vocab_size
    made: dict[str, Any] = {
        "family": family.name, "task": "tts", "step": 0, "prompt": [], "transcript": {"none": ""},
        "prompt_template": template, "audio_token_id": size, "eos_token_id": ends if ends[1:] else ends[0],
        "acoustic_first": first, "acoustic_codes": len(frame.levels) * frame.width,
        "token_rate_hz": len(frame.levels) * facts.frame_hz, "longest": family.longest,
        "sample_rate": facts.sample_rate, "embedding_dim": model.config.hidden_size, "probe": make_probe(model, size),
    } | ({"language": language} if language else {}) | ({"says_words": True} if family.says_words else {})  # fmt: skip

    def fill(place: Path) -> None:
        copy_files(folder, place / "llm")
        CODECS[family.codec].copy(source, place / "frontend")
        if voices:
            save_voices(voices, place / "frontend")
        digest = part_digest(place / "frontend")
        made["frontend"] = (hashlib.sha256(f"{digest} {language}".encode()).hexdigest() if language else digest)[:12]

    return write_policy(out, made, fill)


def refuse_flags(family: "CodecLm", checkpoint: Checkpoint, options: InitOptions) -> None:
    """UsageError without a codec, or for an option that means nothing here."""
    prompt = options.instruction is not None or options.hotwords or (options.language and not family.language)
    if options.llm is not None or options.stack is not None or prompt:
        also = " and --language" if family.language else ""
        raise UsageError(f"{checkpoint.source}: {family.takes} is its own LLM with its own prompt: of the flags, "
                         f"--codec, --voice{also} are for it")  # fmt: skip
    if options.codec is None:
        title = CODECS[family.codec].title
        raise UsageError(f"{checkpoint.source}: {family.takes} speaks through a codec: give --codec FOLDER ({title})")


def facts_of(family: "CodecLm", folder: Path) -> CodecFacts:
    """What the codec is. ArlError where it is another one, or of other levels than the LM's."""
    codec = CODECS[family.codec]
    try:
        facts = codec.facts(folder)
    except ArlError as error:
        raise ArlError(f"{error}; {family.takes}'s codec is a folder of {codec.title}") from error
    wanted = Frame(family.levels, 1, 1).per_level
    if facts.per_level != wanted:
        raise ArlError(f"{folder}: a frame of its levels has {list(facts.per_level)} codes, and {family.takes}'s "
                       f"{list(wanted)}: another {codec.title}")  # fmt: skip
    return facts


def frame_in(family: "CodecLm", tokenizer: Tokenizer, folder: Path, facts: CodecFacts) -> tuple[int, Frame]:
    """(id of the first code, how codes lie in the ids). ArlError where they are not there in a row."""
    first, places = tokenizer.token_to_id(family.token(0, 0)), len(family.levels)
    if first is not None and places > 1:
        width = (tokenizer.token_to_id(family.token(1, 0)) or first) - first
    else:
        width = next(n for n in range(1 << 20) if tokenizer.token_to_id(family.token(0, n)) is None)
    names = (family.token(place, code) for place in range(places) for code in range(width))
    if first is None or width < 1 or any(tokenizer.token_to_id(name) != id for id, name in enumerate(names, first)):
        raise ArlError(f"{folder}: its tokenizer has not the codes {family.token(0, 0)}, … in a row")
    if width < facts.size:
        raise ArlError(
            f"{folder}: its tokenizer has {width} codes, and the codec {facts.size}: they do not belong together"
        )
    return first, Frame(family.levels, width, facts.size)


def template_of(family: "CodecLm", folder: Path) -> str:
    """The prompt with `{text}` in it. ArlError where the folder has no chat template and the family needs one."""
    if family.template:
        return family.template
    from transformers import AutoTokenizer

    turns = [{"role": role, "content": content} for role, content in family.turns]
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        text = tokenizer.apply_chat_template(turns, tokenize=False, continue_final_message=True, date_string=DATE)
    except Exception as error:  # of jinja, or of any tokenizer
        raise ArlError(f"{folder}: no chat template that renders ({first_line(error)})") from error
    if str(text).count("{text}") != 1:
        raise ArlError(f"{folder}: its chat template does not write the text as it is: {json.dumps(text)[:80]}")
    return str(text)


def check_tokens(text: str, tokenizer: Tokenizer, folder: Path) -> None:
    """ArlError for a mark in the text that is no token."""
    missing = next((mark for mark in MARK.findall(text) if tokenizer.token_to_id(mark) is None), None)
    if missing is not None:
        raise ArlError(f"{folder}: its tokenizer has no {missing}, which its prompts need: another version")


def voices_of(family: "CodecLm", options: InitOptions, listener: "Listener", language: str) -> list[Voice]:
    """Those of `--voice`, in their order. UsageError for a name given twice."""
    asked = [Asked.of(text) for text in options.voices]
    names = [one.name for one in asked]
    if len(set(names)) < len(names):
        raise UsageError(f"--voice: two have the same name among {', '.join(names)}")
    reading = Reading(lambda text: family.words(text, language), listener.speech)
    return [family.voice(one, reading) for one in asked]


class Listener:
    """The codec, loaded where a recording is to be heard."""

    def __init__(self, family: "CodecLm", folder: Path, facts: CodecFacts, frame: Frame) -> None:
        self.family, self.folder, self.facts, self.frame = family, folder, facts, frame

    @cached_property
    def model(self) -> Any:
        return CODECS[self.family.codec].load(self.folder)

    @torch.no_grad()
    def speech(self, file: Path) -> str:
        """A recording in the LM's tokens, as text."""
        codes = CODECS[self.family.codec].codes(self.model, self.folder, load(file, self.facts.heard_rate))
        return self.family.speech(self.frame.numbers(codes), self.frame.width)
