"""Tiny random checkpoints of transformers' speech LLMs in the layout that real ones have on the disk.

    folder = make_checkpoint("qwen3-asr", tmp_path / "checkpoint")

transformers' own `save_pretrained` names the tensors of several classes as no real checkpoint does, so the files are
written here: the names of ON_DISK, two shards and an index, a tokenizer, the family's processor, a chat template of
the tests' own, and generation defaults that must not reach a rollout.
"""

import base64
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096}  # fmt: skip
LETTERS = [chr(code) for code in range(33, 127)]
WHISPER = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "d_model": 32}
BEYOND = 330  # a placeholder beyond the vocabulary of 320
SPECIALS = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<audio>", "<bos>", "<eos>"]
PAD, BOS, EOS, START, END, AUDIO, AUDIO_BOS, AUDIO_EOS = range(8)
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'audio' %}<bos><audio><eos>{% elif c['type'] == 'keywords' %}"
    "({{ c['keywords'] | join(', ') }}){% elif c['type'] == 'language' %}[{{ c['language'] }}]{% else %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(**named: str) -> Any:
    """Letters and the specials; named: special tokens by the names that a processor asks for, and `beyond`, one whose
    id lies beyond the model's vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = [*SPECIALS, *LETTERS, " ", "\n", *"语音转写成热词列表中英日文：，。"]
    vocabulary = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
    beyond = named.pop("beyond", None)
    if beyond:
        vocabulary[beyond] = BEYOND
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    fast.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    fast.decoder = decoders.Fuse()
    fast.add_special_tokens([*SPECIALS, *filter(None, [beyond])])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", bos_token="<s>", eos_token="<|im_end|>", extra_special_tokens=named
    )


def whisper_features(bins: int = 16, seconds: int = 30) -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=bins, chunk_length=seconds)


def qwen3_asr() -> tuple[Any, Any]:
    from transformers import Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor

    audio = {"num_mel_bins": 16, "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2,
             "encoder_ffn_dim": 64, "output_dim": 64, "downsample_hidden_size": 8, "n_window": 50,
             "n_window_infer": 200}  # fmt: skip
    text = {**TEXT, "model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True}
    config = Qwen3ASRConfig(audio_config=audio, text_config=text, audio_token_id=AUDIO, pad_token_id=PAD,
                            eos_token_id=[EOS, END], timestamp_token_id=9, tie_word_embeddings=True)  # fmt: skip
    words = tokenizer(audio_token="<audio>", audio_bos_token="<bos>", audio_eos_token="<eos>")
    return config, Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(feature_size=16), words, chat_template=CHAT)


def qwen2_audio() -> tuple[Any, Any]:
    from transformers import Qwen2AudioConfig, Qwen2AudioProcessor

    audio = {"num_mel_bins": 16, **WHISPER, "max_source_positions": 1500}
    config = Qwen2AudioConfig(audio_config=audio, text_config={**TEXT, "model_type": "qwen2"}, audio_token_index=AUDIO)
    words = tokenizer(audio_token="<audio>", audio_bos_token="<bos>", audio_eos_token="<eos>")
    return config, Qwen2AudioProcessor(whisper_features(), words, chat_template=CHAT)


def qwen25_omni() -> tuple[Any, Any]:
    from transformers import (
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerConfig,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    audio = {"num_mel_bins": 16, **WHISPER, "max_source_positions": 1500, "n_window": 100, "output_dim": 64}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = Qwen2_5OmniThinkerConfig(
        audio_config=audio, vision_config=vision, text_config={**TEXT, "rope_parameters": rope},
        audio_token_index=AUDIO, image_token_index=8, video_token_index=9, audio_start_token_id=6, audio_end_token_id=7,
        vision_start_token_id=10, vision_end_token_id=11,
    )  # fmt: skip
    words = tokenizer(
        audio_token="<audio>", audio_bos_token="<bos>", audio_eos_token="<eos>", image_token="!", video_token='"',
        vision_bos_token="#", vision_eos_token="$",
    )  # fmt: skip
    parts = Qwen2VLImageProcessor(), Qwen2VLVideoProcessor(), whisper_features(seconds=60), words
    return config, Qwen2_5OmniProcessor(*parts, chat_template=CHAT)


def qwen3_omni() -> tuple[Any, Any]:
    """Its experts lie one by one on the disk, and in one tensor in the class."""
    from transformers import Qwen3OmniMoeProcessor, Qwen3OmniMoeThinkerConfig

    _, processor = qwen25_omni()
    audio = {"num_mel_bins": 16, **WHISPER, "output_dim": 64, "downsample_hidden_size": 8, "n_window_infer": 200}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64,
              "deepstack_visual_indexes": [0], "num_position_embeddings": 16}  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
    config = Qwen3OmniMoeThinkerConfig(
        audio_config=audio, vision_config=vision, text_config={**TEXT, **experts, "rope_parameters": rope},
        audio_token_id=AUDIO, image_token_id=8, video_token_id=9, audio_start_token_id=6, vision_start_token_id=10,
    )  # fmt: skip
    parts = processor.image_processor, processor.video_processor, whisper_features(seconds=60), processor.tokenizer
    return config, Qwen3OmniMoeProcessor(*parts, chat_template=CHAT)


def fun_asr_nano() -> tuple[Any, Any]:
    from transformers import FunAsrNanoConfig, FunAsrNanoFeatureExtractor, FunAsrNanoProcessor

    audio = {"num_mel_bins": 16, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
             "num_hidden_layers": 3, "num_timestamp_prediction_layers": 1}  # fmt: skip
    adaptor = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1,
               "projector_hidden_size": 48}  # fmt: skip
    text = {**TEXT, "model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True}
    config = FunAsrNanoConfig(audio_config=audio, adaptor_config=adaptor, text_config=text, audio_token_id=AUDIO)
    features = FunAsrNanoFeatureExtractor(feature_size=16)
    return config, FunAsrNanoProcessor(features, tokenizer(), chat_template=CHAT, audio_token="<audio>")


def granite(kind: str = "GraniteSpeech", **encoder: Any) -> tuple[Any, Any]:
    import transformers

    encoder = {"input_dim": 160, "num_layers": 2, "hidden_dim": 32, "feedforward_mult": 2, "num_heads": 2,
               "dim_head": 16, "output_dim": 8, "context_size": 50, **encoder}  # fmt: skip
    heard = 32 * (1 + len(encoder.get("cat_hidden_layers") or ()))
    projector = {"model_type": "blip_2_qformer", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                 "intermediate_size": 32, "encoder_hidden_size": heard}  # fmt: skip
    text = {**TEXT, "model_type": "granite", "embedding_multiplier": 12.0, "logits_scaling": 8.0,
            "residual_multiplier": 0.22, "attention_multiplier": 0.05, "tie_word_embeddings": True}  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        text_config=text, encoder_config=encoder, projector_config=projector, audio_token_index=BEYOND,
        has_lora_adapter=kind == "GraniteSpeech", tie_word_embeddings=True,
    )  # fmt: skip
    features = transformers.GraniteSpeechFeatureExtractor()
    return config, transformers.GraniteSpeechProcessor(features, tokenizer(beyond="<|audio|>"), "<|audio|>", CHAT)


def granite_plus() -> tuple[Any, Any]:
    return granite("GraniteSpeechPlus", cat_hidden_layers=[1])


def glm_asr() -> tuple[Any, Any]:
    from transformers import GlmAsrConfig, GlmAsrProcessor

    audio = {"num_mel_bins": 16, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip
    config = GlmAsrConfig(audio_config=audio, text_config={**TEXT, "model_type": "llama"}, audio_token_id=AUDIO)
    return config, GlmAsrProcessor(whisper_features(), tokenizer(), chat_template=CHAT, audio_token="<audio>")


def flamingo(kind: str = "AudioFlamingo3", **named: Any) -> tuple[Any, Any]:
    import transformers

    audio = {"num_mel_bins": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
             "hidden_size": 32, "model_type": "audioflamingo3_encoder"}  # fmt: skip
    text = {**TEXT, "model_type": "qwen2"}
    config = getattr(transformers, f"{kind}Config")(audio_config=audio, text_config=text, audio_token_id=AUDIO, **named)
    processor = getattr(transformers, f"{kind}Processor")
    return config, processor(whisper_features(), tokenizer(), chat_template=CHAT, audio_token="<audio>")


def music_flamingo() -> tuple[Any, Any]:
    rope = {"rope_type": "default", "rope_theta": 1200.0, "partial_rotary_factor": 0.5}
    named = {"audio_bos_token_id": AUDIO_BOS, "audio_eos_token_id": AUDIO_EOS, "head_dim": 32}
    return flamingo("MusicFlamingo", rope_parameters=rope, **named)


def vibevoice() -> tuple[Any, Any]:
    from transformers import VibeVoiceAcousticTokenizerFeatureExtractor, VibeVoiceAsrConfig, VibeVoiceAsrProcessor

    tower = {"hidden_size": 8, "num_filters": 2, "depths": [1, 1, 1, 1, 1, 1, 1], "model_type":
             "vibevoice_acoustic_tokenizer_encoder"}  # fmt: skip
    config = VibeVoiceAsrConfig(
        acoustic_tokenizer_encoder_config=tower, semantic_tokenizer_encoder_config=dict(tower),
        text_config={**TEXT, "model_type": "qwen2"}, audio_token_id=AUDIO, audio_bos_token_id=AUDIO_BOS,
        audio_eos_token_id=AUDIO_EOS,
    )  # fmt: skip
    chat = CHAT.replace("<bos><audio>", "<|AUDIO_DURATION|> s: <bos><audio>")
    processor = VibeVoiceAsrProcessor(
        VibeVoiceAcousticTokenizerFeatureExtractor(), tokenizer(), chat_template=chat, audio_token="<audio>",
        audio_bos_token="<bos>", audio_eos_token="<eos>",
    )  # fmt: skip
    return config, processor


def phi4() -> tuple[Any, Any]:
    from transformers import (
        Phi4MultimodalConfig,
        Phi4MultimodalFeatureExtractor,
        Phi4MultimodalImageProcessor,
        Phi4MultimodalProcessor,
    )

    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 28, "crop_size": 28, "image_token_id": 8}  # fmt: skip
    audio = {"hidden_size": 32, "intermediate_size": 32, "num_blocks": 2, "num_attention_heads": 2,
             "ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32, "input_size": 16,
             "nemo_conv_channels": 32, "audio_token_id": AUDIO}  # fmt: skip
    config = Phi4MultimodalConfig(**TEXT, vision_config=vision, audio_config=audio, pad_token_id=PAD, bos_token_id=BOS,
                                  eos_token_id=[EOS, END])  # fmt: skip
    words = tokenizer(audio_token="<audio>", image_token="!")
    words.audio_token_id, words.image_token_id = AUDIO, 8
    features = Phi4MultimodalFeatureExtractor(feature_size=16)
    return config, Phi4MultimodalProcessor(Phi4MultimodalImageProcessor(), features, words, chat_template=CHAT)


def voxtral() -> tuple[Any, Any]:
    from transformers import VoxtralConfig, VoxtralProcessor
    from transformers.tokenization_mistral_common import MistralCommonBackend

    audio = {"num_mel_bins": 16, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2,
             "num_attention_heads": 2, "max_source_positions": 1500}  # fmt: skip
    config = VoxtralConfig(audio_config=audio, text_config={**TEXT, "model_type": "llama"}, audio_token_id=24)
    folder = tempfile.TemporaryDirectory()
    (Path(folder.name) / "tekken.json").write_text(json.dumps(tekken()))
    words = MistralCommonBackend.from_pretrained(folder.name)
    words.folder = folder  # its file is copied when it is saved
    return config, VoxtralProcessor(whisper_features(), words)


def tekken() -> dict[str, Any]:
    """Mistral's tokenizer file over bytes, 64 specials in front."""
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    named = {token["rank"]: token["token_str"] for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS}
    named |= {24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 34: "[TRANSCRIBE]"}
    specials = [{"rank": i, "token_str": str(named.get(i, f"<SPECIAL_{i}>")), "is_control": True} for i in range(64)]
    singles = [{"rank": i, "token_bytes": base64.b64encode(bytes([i])).decode(), "token_str": None} for i in range(256)]
    config = {"pattern": r"\s+|\S+", "num_vocab_tokens": 256, "default_vocab_size": 320,
              "default_num_special_tokens": 64, "version": "v7"}  # fmt: skip
    spectrogram = {"num_mel_bins": 16, "hop_length": 160, "window_size": 400}
    audio = {"sampling_rate": 16000, "frame_rate": 12.5, "audio_encoding_config": spectrogram, "chunk_length_s": 30.0}
    return {"config": config, "vocab": singles, "special_tokens": specials, "audio": audio}


MAKERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen3-asr": qwen3_asr, "qwen2.5-omni": qwen25_omni, "qwen2-audio": qwen2_audio, "fun-asr-nano": fun_asr_nano,
    "granite-speech": granite, "granite-speech-plus": granite_plus, "glm-asr": glm_asr, "audio-flamingo-3": flamingo,
    "music-flamingo": music_flamingo, "vibevoice-asr": vibevoice, "phi-4-multimodal": phi4,
    "voxtral": voxtral, "qwen3-asr-original": qwen3_asr, "qwen3-omni": qwen3_omni,
}  # fmt: skip
OLD = [("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head."), ("model.", "")]
ON_DISK: dict[str, list[tuple[str, str]]] = {  # (beginning of a name in the class, on the disk), first match
    **dict.fromkeys(("qwen2-audio", "audio-flamingo-3", "music-flamingo", "glm-asr", "voxtral", "vibevoice-asr"), OLD),
    **dict.fromkeys(("granite-speech", "granite-speech-plus"), OLD),
    **dict.fromkeys(("qwen2.5-omni", "qwen3-omni"), [("", "thinker.")]),
    "qwen3-asr-original": [
        ("model.language_model.", "thinker.model."),
        ("lm_head.", "thinker.lm_head."),
        ("model.multi_modal_projector.linear_1.", "thinker.audio_tower.proj1."),
        ("model.multi_modal_projector.linear_2.", "thinker.audio_tower.proj2."),
        ("model.", "thinker."),
    ],
}


def make_checkpoint(family: str, folder: Path, *, seed: int = 0, dtype: str = "float32", shards: int = 2) -> Path:
    """Writes the checkpoint of a family."""
    import torch
    from safetensors.torch import save_file

    from arl.models import families

    config, processor = MAKERS[family]()
    torch.manual_seed(seed)
    model = families()[family].model_class(config).eval().to(getattr(torch, dtype))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.02 if "norm" in name else 0.1))
    folder.mkdir(parents=True)
    save_config(model, folder)
    processor.save_pretrained(folder)
    if family == "qwen3-asr-original":
        as_qwen_has_it(folder)
    state = {on_disk(family, name): tensor.contiguous() for name, tensor in state_on_disk(model).items()}
    names = sorted(state)
    numbers = {name: i * shards // len(names) + 1 for i, name in enumerate(names)}
    files = {name: f"model-{number:05d}-of-{shards:05d}.safetensors" for name, number in numbers.items()}
    for file in sorted(set(files.values())):
        part = {name: state[name] for name in names if files[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    size = sum(tensor.nbytes for tensor in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    defaults = {"do_sample": True, "temperature": 0.01, "repetition_penalty": 1.5, "eos_token_id": [EOS, END]}
    (folder / "generation_config.json").write_text(json.dumps(defaults))
    (folder / "README.md").write_text("A checkpoint of the tests.\n")
    return folder


def save_config(model: Any, folder: Path) -> None:
    from transformers import Qwen2_5OmniConfig, Qwen3OmniMoeConfig

    config = model.config
    config.architectures = [type(model).__name__]
    config.dtype = next(model.parameters()).dtype
    if config.model_type == "qwen2_5_omni_thinker":
        config = Qwen2_5OmniConfig(thinker_config=config.to_dict())
    if config.model_type == "qwen3_omni_moe_thinker":
        config = Qwen3OmniMoeConfig(thinker_config=config.to_dict())
    config.save_pretrained(folder)


def as_qwen_has_it(folder: Path) -> None:
    """The other files of Qwen3-ASR in Qwen's own layout."""
    fields = json.loads((folder / "config.json").read_text())
    fields["audio_config"] |= {"model_type": "qwen3_asr_audio_encoder", "max_source_positions": 1500}
    fields["text_config"]["model_type"] = "qwen3_asr_text"
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_asr", "thinker_config": fields}))
    (folder / "processor_config.json").unlink()
    whisper_features().save_pretrained(folder)


def state_on_disk(model: Any) -> dict[str, Any]:
    """A tied head is not stored, experts are stored one by one."""
    from transformers.core_model_loading import revert_weight_conversion

    state = {name: tensor for name, tensor in model.state_dict().items() if name not in model.all_tied_weights_keys}
    is_mixture = any("experts" in name for name in state)
    return revert_weight_conversion(model, state) if is_mixture else state


def on_disk(family: str, name: str) -> str:
    for begin, stored in ON_DISK.get(family, []):
        if name.startswith(begin):
            return stored + name.removeprefix(begin)
    return name
