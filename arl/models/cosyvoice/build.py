"""A downloaded folder → a policy: the LM as a plain Qwen2 over the speech vocabulary, the rest in `frontend/`.

    frontend/  llm.safetensors, llm.json   what else llm.pt has (text embeddings, sos and task), and its names in order
               tokenizer.json              of texts
               speakers.*                  the voices
               speech_tokenizer_v2.onnx    where the folder has it: recordings become codes
               cosyvoice2.yaml, flow.safetensors, hift.safetensors

llm.pt says nothing that is left out, so that `arl export` writes it again, bit for bit.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from arl.errors import ArlError, UsageError
from arl.models import InitOptions
from arl.models.checkpoint import Checkpoint
from arl.models.cosyvoice import tokenizer as words
from arl.models.cosyvoice.layout import BIAS, DECODER, HEAD_OF_TEXT, MARKS, PLAIN, PREFIX, SPEECH, TEXT, Layout
from arl.models.cosyvoice.recording import Listener
from arl.models.cosyvoice.source import BLANK, LLM, SPEAKERS, Source, apart
from arl.models.cosyvoice.voices import Voice, from_info, from_tensors, save_voices
from arl.models.weights import read_pt
from arl.policy import Policy, part_digest, write_policy
from arl.train.load import causal_lm
from arl.train.probe import make_probe

NAMES, KEPT = "llm.json", "llm.safetensors"
OF_QWEN2 = (  # of CosyVoice-BlankEN's config.json
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_act",
    "rms_norm_eps", "rope_theta", "rope_parameters", "max_position_embeddings",
)  # fmt: skip


def build(
    family: str, layout: Layout, checkpoint: Checkpoint, out: Path, options: InitOptions,
    write_decoder: Callable[[Source, Path], None],
) -> Policy:  # fmt: skip
    """Writes the policy. write_decoder: (source, frontend) → the decoder's files.

    UsageError for an option that means nothing here; ArlError for what is no such folder.
    """
    if options.llm is not None or options.stack is not None or options.language is not None or options.hotwords:
        raise UsageError(f"{checkpoint.source}: {layout.title} has its own LLM and prompt: of the flags, --voice and "
                         "--instruction are for it")  # fmt: skip
    source = Source.open(Path(checkpoint.source), layout)
    tensors = source.tensors(LLM)
    config = config_of(source)
    check_names(source, tensors, config)
    tokenizer = words.text_tokenizer(source.folder / BLANK, layout)
    if tokenizer.get_vocab_size() > len(tensors[TEXT]):
        raise ArlError(f"{source.folder / BLANK}: a tokenizer of {tokenizer.get_vocab_size()} tokens for {LLM}'s "
                       f"{len(tensors[TEXT])} text embeddings: of another checkpoint")  # fmt: skip
    voices = voices_of(source, tokenizer, options.voices)
    made: dict[str, Any] = {
        "family": family, "task": "tts", "prompt_embeddings": True, "step": 0, "prompt": [],
        "audio_token_id": source.n_codes + layout.rows, "eos_token_id": layout.end_ids(source.n_codes),
        "acoustic_first": 0, "acoustic_codes": source.n_codes, "token_rate_hz": source.number("token_frame_rate"),
        "sample_rate": source.number("sample_rate"), "embedding_dim": config.hidden_size,
        "instruction": options.instruction,
    }  # fmt: skip

    def fill(folder: Path) -> None:
        write_llm(tensors, config, folder / "llm")
        words.speech_tokenizer(source.n_codes, layout.rows).save(str(folder / "llm" / words.FILE))
        frontend = folder / "frontend"
        frontend.mkdir()
        write_kept(tensors, frontend)
        tokenizer.save(str(frontend / words.FILE))
        save_voices(voices, frontend)
        if (source.folder / layout.tokenizer_onnx).is_file():
            shutil.copyfile(source.folder / layout.tokenizer_onnx, frontend / layout.tokenizer_onnx)
        write_decoder(source, frontend)
        shutil.copyfile(source.folder / layout.recipe, frontend / layout.recipe)
        made["frontend"] = part_digest(frontend)[:12]
        made["probe"] = make_probe(causal_lm(folder / "llm", "auto"), made["audio_token_id"])

    return write_policy(out, made, fill)


def config_of(source: Source) -> Qwen2Config:
    """The LM's configuration: CosyVoice-BlankEN's, over the speech vocabulary."""
    path = source.folder / BLANK / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        own = {name: found[name] for name in OF_QWEN2 if name in found}
        if found.get("model_type") != "qwen2":
            raise ValueError(f"model_type {found.get('model_type')!r}")
        ends = source.layout.end_ids(source.n_codes)
        return Qwen2Config(
            **own, vocab_size=source.n_codes + source.layout.rows, tie_word_embeddings=False, use_sliding_window=False,
            bos_token_id=None, pad_token_id=None, eos_token_id=ends,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArlError(f"{path}: no configuration of a Qwen2 ({error})") from error


def check_names(source: Source, tensors: Mapping[str, Tensor], config: Qwen2Config) -> None:
    """ArlError for the first tensor of llm.pt that is missing, too many, or of another shape or type than the rest."""
    path, layout, width = source.folder / LLM, source.layout, config.hidden_size
    check_version(source, tensors, config.vocab_size)
    with torch.device("meta"):
        plain = Qwen2ForCausalLM(config).state_dict()
    wanted = {upstream_name(name): list(tensor.shape) for name, tensor in plain.items()}
    own = {BIAS: [config.vocab_size], TEXT: [len(tensors.get(TEXT, [])), width], MARKS: [2, width]}
    wanted |= {name: own[name] for name in layout.tensors & own.keys()}
    odd = sorted(wanted.keys() - tensors.keys()) or sorted(tensors.keys() - wanted.keys() - {HEAD_OF_TEXT})
    if odd:
        problem = "is missing" if odd[0] in wanted else f"is none of {layout.title}'s"
        raise ArlError(f"{path}: tensor {odd[0]} {problem}{f', and {len(odd) - 1} more' if odd[1:] else ''}")
    for name, shape in wanted.items():
        if list(tensors[name].shape) != shape:
            raise ArlError(f"{path}: tensor {name} is {list(tensors[name].shape)}, not {shape}")
        if tensors[name].dtype != tensors[TEXT].dtype:
            raise ArlError(f"{path}: tensor {name} is {tensors[name].dtype}, and {TEXT} {tensors[TEXT].dtype}")


def check_version(source: Source, tensors: Mapping[str, Tensor], vocabulary: int) -> None:
    """ArlError for the llm.pt of another version than the recipe's."""
    for name in (SPEECH, DECODER):
        found = len(tensors[name]) if name in tensors else 0, BIAS in tensors
        if found != (vocabulary, source.layout.has_bias):
            ours, theirs = (f"{n} rows {'with' if bias else 'without'}" for n, bias in (
                found, (vocabulary, source.layout.has_bias)
            ))  # fmt: skip
            raise ArlError(f"{source.folder / LLM}: {name} has {ours} {BIAS}, and {source.layout.title} {theirs} it: "
                           "the file of another version")  # fmt: skip


def upstream_name(plain: str) -> str:
    """The name in llm.pt of a tensor of `llm/`."""
    own = {name: upstream for upstream, name in PLAIN.items()}
    return own.get(plain, PREFIX + plain.removeprefix("model."))


def write_llm(tensors: Mapping[str, Tensor], config: Qwen2Config, folder: Path) -> None:
    """The LM as a plain causal LM: layers, speech embeddings, head and its bias."""
    folder.mkdir()
    layers = {f"model.{name.removeprefix(PREFIX)}": t for name, t in tensors.items() if name.startswith(PREFIX)}
    layers.pop("model.embed_tokens.weight")
    own = layers | {plain: tensors[name] for name, plain in PLAIN.items() if name in tensors}
    save_file(apart(own), folder / "model.safetensors", {"format": "pt"})
    config.architectures, config.dtype = ["Qwen2ForCausalLM"], tensors[TEXT].dtype
    config.save_pretrained(folder)


def write_kept(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """What llm.pt has beside the LM, and its names in order; a tensor that is another's memory is named by that one."""
    owners: dict[tuple[int, tuple[int, ...]], str] = {}
    names: list[tuple[str, str | None]] = []
    for name, tensor in tensors.items():
        place = tensor.data_ptr(), tuple(tensor.shape)
        names.append((name, owners.get(place)))
        owners.setdefault(place, name)
    own = {name for name, owner in names if owner is None and name not in PLAIN}
    kept = {name: tensors[name] for name in sorted(own) if name == TEXT or not name.startswith(PREFIX)}
    save_file(apart(kept), folder / KEPT)
    (folder / NAMES).write_text(json.dumps(names, indent=0) + "\n")


def voices_of(source: Source, tokenizer: Any, given: tuple[str, ...]) -> list[Voice]:
    """Those of `--voice`, then those of spk2info.pt. ArlError where there are none, or one does not fit the codes."""
    path = source.folder / SPEAKERS
    own = from_info(read_pt(path), path) if path.is_file() else []
    voices = [voice_of(text, source, tokenizer) for text in given] + own
    if not voices:
        raise ArlError(f"{source.folder}: no voice, and no {SPEAKERS}: give --voice NAME=clip.wav:TRANSCRIPT")
    size = int(source.number("spk_embed_dim"))
    for voice in voices:
        if voice.codes and not 0 <= min(voice.codes) <= max(voice.codes) < source.n_codes:
            raise ArlError(f"{source.folder}: voice {voice.name!r} has code {max(voice.codes)}, of {source.n_codes}")
        if voice.speaker.shape != (size,):
            raise ArlError(
                f"{source.folder}: voice {voice.name!r} has a speaker vector {list(voice.speaker.shape)}, not [{size}]"
            )
    return voices


def voice_of(text: str, source: Source, tokenizer: Any) -> Voice:
    """`NAME=FILE:TRANSCRIPT`, a recording or a voice of ready tensors; without a transcript for cross-lingual prompts.
    UsageError for another form."""
    name, _, rest = text.partition("=")
    file, _, said = rest.partition(":")
    if not name or not file:
        raise UsageError(f"--voice {text}: write NAME=FILE:TRANSCRIPT")
    ids = words.text_ids(tokenizer, said.strip()) if said.strip() else []
    if not Path(file).is_file():
        raise UsageError(f"--voice {text}: there is no file {file}")
    if file.endswith(".safetensors"):
        return from_tensors(name, ids, Path(file))
    listener = Listener(source.folder, source.layout.tokenizer_onnx)
    return listener.voice(name, ids, Path(file), source.layout.mel_top_hz)
