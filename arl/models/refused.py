"""Why no family takes a checkpoint, by what its config.json says.

reason(Checkpoint("google/medasr"))       # "a CTC model: it has no LLM to train"
"""

from collections.abc import Collection, Iterator

from arl.models.checkpoint import Checkpoint

HYBRID = "its LLM mixes attention with recurrent layers, and a group's prompt cannot be shared in those"
STREAMING = "a streaming model: it adds audio to the text at every step, so there is no prompt to compute once"
SYNTHESIS = "a speech synthesis model: it hears nothing"
ENCODER_DECODER = "an encoder-decoder: its decoder attends to the audio in every layer; the engine serves causal LMs"
CTC = "a CTC model: it has no LLM to train"
TRANSDUCER = "a transducer: it has no LLM to train"
TEXT_LM = "a text LM: it hears nothing; give it as --llm beside an audio encoder"
TEXT_ENCODER = "a text encoder: it neither hears nor writes"
PER_LAYER = "its LLM takes an embedding of each token in every layer, which a prompt of embeddings does not have"
BY_TYPE = {
    "gemma3n": PER_LAYER, "nemotron_h_omni": HYBRID, "qwen3_next": HYBRID,
    "voxtral_realtime": STREAMING, "moonshine_streaming": STREAMING, "kyutai_speech_to_text": STREAMING,
    "nemotron_asr_streaming": STREAMING, "lasr_ctc": CTC, "parakeet_tdt": TRANSDUCER,
    "parakeet_rnnt": TRANSDUCER, "canary": ENCODER_DECODER, "cohere_asr": ENCODER_DECODER, "csm": SYNTHESIS,
    "dia": SYNTHESIS, "higgs_audio_v2": SYNTHESIS, "vibevoice": SYNTHESIS,
    "phi4mm": "Phi-4-multimodal with code of its own; take the revision for transformers (NAME@refs/pr/70)",
}  # fmt: skip
PICKLES = {  # a file that a layout without config.json has
    "model.pt": "its weights are a pickle, which can run code when it is read; take its layout for transformers",
    "pytorch_model.bin": "its weights are a pickle, which can run code when it is read; convert them to safetensors",
}


def reason(checkpoint: Checkpoint) -> str:
    """One clause for an error."""
    kind = checkpoint.model_type
    if not kind:
        folder = checkpoint.folder
        pickled = [why for name, why in PICKLES.items() if folder is not None and (folder / name).is_file()]
        return ", and ".join([checkpoint.what, *pickled[:1]])
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    found = next((why for names, why in known() if kind in names), None)
    if found is None and "auto_map" in checkpoint.config:
        return f"model_type {kind!r} needs code that comes with it (auto_map), and arl runs none"
    return found or checkpoint.what


def known() -> Iterator[tuple[Collection[str], str]]:
    """What transformers knows, by model_type."""
    from transformers.models.auto import modeling_auto as auto

    yield {*auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES, *auto.MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING_NAMES}, SYNTHESIS
    yield auto.MODEL_FOR_CTC_MAPPING_NAMES, CTC
    yield auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES, ENCODER_DECODER
    yield auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, TEXT_ENCODER
    yield auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, TEXT_LM
