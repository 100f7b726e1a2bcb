"""The base of the families of a plain LM and a codec: what a family says of itself, and the same doing for all."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.errors import UsageError
from arl.models import DecodeSettings, Encoder, Family, InitOptions, Part, Synthesiser
from arl.models.checkpoint import Checkpoint
from arl.models.codec_lm.voices import Asked, Reading, Voice
from arl.policy import Policy

if TYPE_CHECKING:
    import torch


class CodecLm(Family):
    """types: the LM's model_type. codec: its name in `codecs.CODECS`. levels: of the codec, the level of each place of
    a frame. codes: the token of a code at each place, `{}` its number. ends: the tokens that end a response, the one of
    training first. template: the prompt, `{text}` where the text stands; "": the checkpoint's own chat template makes
    it of `turns`, whose last is continued. joint: between a voice's text and the text. longest: of a prompt and its
    response, tokens. language: of the texts where the LM reads phonemes, unless `arl init --language` says another; "":
    it reads letters. says_words: responses have words between the codes, which recordings do not teach."""

    parts: tuple[Part, ...] = ("checkpoints", "decoder")
    takes_codec = takes_voices = True
    types: tuple[str, ...] = ()
    codec = ""
    levels: tuple[int, ...] = (0,)
    codes: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    template = ""
    turns: tuple[tuple[str, str], ...] = ()
    joint = ""
    longest = 0
    language = ""
    says_words = False

    def token(self, place: int, code: int) -> str:
        """The LM's token of a code at a place of a frame."""
        return self.codes[place].format(code)

    def words(self, text: str, language: str) -> str:
        """A text as the LM reads it."""
        return text

    def prompt(self, template: str, text: str, voice: Voice | None) -> str:
        """The prompt of a text in the LM's writing: the speech of a voice is continued."""
        if voice is None:
            return template.replace("{text}", text)
        return template.replace("{text}", voice.text + self.joint + text) + voice.speech

    def voice(self, asked: Asked, reading: Reading) -> Voice:
        """What `--voice` asks for. UsageError for another form than the family's."""
        if asked.file is None or not asked.said.strip():
            raise UsageError(f"--voice {asked.name}: {self.takes} wants NAME=FILE:TRANSCRIPT, a recording and its text")
        return Voice(asked.name, reading.words(asked.said), reading.speech(asked.file))

    def speech(self, numbers: Sequence[int], width: int) -> str:
        """Numbers of whole frames (`Frame`) in the LM's tokens, as text."""
        return "".join(self.token(*divmod(number, width)) for number in numbers)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        folder = checkpoint.folder
        file = folder / "tokenizer.json" if folder is not None else None
        if checkpoint.model_type not in self.types or file is None or not file.is_file():
            return False
        names, text = (self.token(0, 0), *self.ends), file.read_text(encoding="utf-8")
        return all(f'"{name}"' in text for name in names)

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        return self.computing.build.build(self, checkpoint, out, options)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.TextEncoding(self, policy, device)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        return self.computing.decode.CodecSynthesis(self, policy, device)

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.codec_lm import build, decode, encode

        return SimpleNamespace(build=build, decode=decode, encode=encode)
