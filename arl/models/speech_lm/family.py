"""The base of the families of speech LLMs: what a family says of itself, and the same doing for all.

class Qwen3Asr(SpeechLm):
    name, takes, types = "qwen3-asr", "Qwen3-ASR", ("qwen3_asr",)
    model, processor = "Qwen3ASRForConditionalGeneration", "Qwen3ASRProcessor"
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.errors import ArlError
from arl.models import Encoder, Family, InitOptions, Part
from arl.models.checkpoint import CONFIG, Checkpoint
from arl.models.speech_lm.prompt import Ask
from arl.policy import Policy

if TYPE_CHECKING:
    import numpy as np
    import torch

LONGEST_S = 1200.0  # where a family says nothing of its own: what its LLM's context is trained with


class SpeechLm(Family):
    """A family whose model is a class of transformers: audio tower + projector + causal LM.

    types: config.json's model_type. model, processor: names of transformers' classes. key: where config.json keeps the
    class's configuration, "" for the top; prefix: of its tensors on the disk; renames: how
    such a name begins behind the prefix, and in the class. text_type: model_type of the plain LLM
    where the class has one of its own. dropped: fields of the LLM's configuration that the plain one does without.
    not_text: what lies in the decoder and is not the LLM's. captured: the module in the decoder that gets the input
    embeddings, "" for the decoder itself. unused: parts of the configuration that recognition does without, and the
    field that says how many layers they have. adapter: folder of a LoRA that recognition uses, merged into `llm/`.
    transcript: how a hypothesis' text becomes a transcript (arl/text/transcript.py). takes_…: whether the prompt has a
    place for an instruction, a language, hotwords.
    """

    parts: tuple[Part, ...] = ("checkpoints",)
    types: tuple[str, ...] = ()
    model = processor = ""
    key = prefix = text_type = captured = ""
    renames: tuple[tuple[str, str], ...] = ()
    adapter: str | None = None
    dropped: Collection[str] = ()
    not_text: tuple[str, ...] = ()
    unused: Mapping[str, str] = {}
    transcript: Mapping[str, str] = {}
    takes_instruction = True
    takes_language = takes_hotwords = False

    # What a family may say by a method of its own.

    def inputs(self, processor: Any, wave: "np.ndarray", ask: Ask) -> Mapping[str, Any]:
        """The class's inputs for one clip, wave float32 [n]: by the processor's own request for transcription."""
        return processor.apply_transcription_request(audio=wave, **self.request(ask))

    def request(self, ask: Ask) -> dict[str, Any]:
        """Arguments of the processor's `apply_transcription_request`."""
        return {"prompt": ask.instruction}

    def before(self, ask: Ask) -> str | None:
        """What the model writes in front of a transcript, so that supervised training teaches it; None: nothing."""
        return None

    def kept(self, fields: Mapping[str, Any], frames: int) -> int:
        """How many of a clip's embeddings, the first ones, are the prompt's. fields: config.json."""
        return frames

    def longest_s(self, processor: Any) -> float:
        """The longest clip, seconds; what the processor would cut in silence is refused."""
        return float(getattr(processor, "max_audio_len", LONGEST_S))

    def class_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of config.json as the class has them."""
        return {name: value for name, value in fields.items() if name != "auto_map"}

    # The same for all.

    def recognises(self, checkpoint: Checkpoint) -> bool:
        levels = {"thinker_config"} & checkpoint.config.keys()
        return checkpoint.model_type in self.types and levels == set(filter(None, [self.key]))

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        return self.computing.build.build(self, checkpoint, out, options)

    def export(self, policy: Policy, out: Path) -> None:
        self.computing.export.export(policy, out)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.SpeechLmEncoding(self, policy, device)

    def renamed(self, name: str) -> str:
        """A tensor's name behind the prefix, by the first of `renames` that fits."""
        short = name.removeprefix(self.prefix)
        begin, new = next((pair for pair in self.renames if short.startswith(pair[0])), ("", ""))
        return new + short.removeprefix(begin)

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.speech_lm import build, encode, export

        return SimpleNamespace(build=build, encode=encode, export=export)

    @property
    def transformers(self) -> Any:
        """The package, which is slow to import."""
        import transformers

        return transformers

    @property
    def model_class(self) -> Any:
        """transformers' class of the whole model."""
        return getattr(self.transformers, self.model)

    def fields(self, folder: Path) -> dict[str, Any]:
        """config.json, at the level of the class."""
        fields: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return fields[self.key] if self.key else fields

    def config(self, folder: Path) -> Any:
        """The class's configuration, read from config.json; no code of the checkpoint is run."""
        fields = self.fields(folder)
        try:
            return self.model_class.config_class.from_dict(self.class_fields(fields))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArlError(f"{folder / CONFIG}: no configuration of {self.model} ({error})") from error

    def text_config(self, config: Any) -> Any:
        """The configuration of the LLM as a plain causal LM."""
        own = config.get_text_config()
        fields = {name: value for name, value in own.to_dict().items() if name not in self.dropped}
        if not self.text_type:
            return type(own).from_dict(fields)
        plain = self.transformers.CONFIG_MAPPING[self.text_type]
        known = {*plain().to_dict(), *plain.attribute_map} - {"model_type", "architectures"}
        rope = fields.get("rope_parameters") or {}
        if rope.pop("mrope_section", None):  # positions of three rows, equal where there is no picture
            rope["rope_type"] = "default"
            rope.pop("type", None)
            rope.pop("mrope_interleaved", None)
        return plain(**{name: value for name, value in fields.items() if name in known})

    def load_processor(self, folder: Path) -> Any:
        """The checkpoint's processor. ArlError where its files are missing."""
        try:
            return getattr(self.transformers, self.processor).from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise ArlError(f"{folder}: no files of {self.processor} ({line})") from error

    def audio_token_id(self, config: Any) -> int:
        """The placeholder in the class's input ids."""
        return int(config.audio_token_id)


class ChatLm(SpeechLm):
    """A family without a request for transcription of its own: a chat of one turn by the checkpoint's template.

    instruction: what the turn says. An instruction of the user's that has the audio token in it is the whole prompt.
    """

    instruction = "Transcribe the speech into text."
    system: str = ""

    def inputs(self, processor: Any, wave: "np.ndarray", ask: Ask) -> Mapping[str, Any]:
        """By the processor's own way from text and audio to inputs."""
        is_whole = processor.audio_token in (ask.instruction or "")
        text = ask.instruction if is_whole else self.prompt(processor, ask)
        return processor(text=[text], audio=[wave], return_tensors="pt")

    def prompt(self, processor: Any, ask: Ask) -> str:
        """The chat by the checkpoint's template, up to where the answer begins."""
        messages = [{"role": "user", "content": self.content(processor, self.said(ask))}]
        system = [{"role": "system", "content": self.as_content(self.system)}] if self.system else []
        return self.rendered(processor, system + messages)

    def rendered(self, processor: Any, messages: list[dict[str, Any]]) -> str:
        """The template is the processor's or, where it has none, the tokenizer's."""
        owner = processor if getattr(processor, "chat_template", None) else processor.tokenizer
        return owner.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def said(self, ask: Ask) -> str:
        """The words of the turn."""
        keywords = f" Keywords: {', '.join(ask.keywords)}" if ask.keywords else ""
        return (ask.instruction or self.instruction) + keywords

    def content(self, processor: Any, said: str) -> Any:
        """The turn as the template takes it: the clip, then the words."""
        return [{"type": "audio"}, *self.as_content(said)]

    def as_content(self, said: str) -> Any:
        """Words as the template takes them."""
        return [{"type": "text", "text": said}]
