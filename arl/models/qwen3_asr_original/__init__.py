"""Qwen3-ASR in Qwen's own layout (`Qwen/Qwen3-ASR-1.7B`), read as transformers' class: other names, the same model."""

from pathlib import Path
from typing import Any

from arl.models import Family
from arl.models.qwen3_asr import Qwen3Asr
from arl.models.speech_lm.family import ChatLm
from arl.models.speech_lm.prompt import Ask

FOREIGN = "model_type", "max_source_positions", "conv_chunksize", "rope_scaling"  # fields of other classes


class Qwen3AsrOriginal(ChatLm, Qwen3Asr):
    name, takes = "qwen3-asr-original", "Qwen3-ASR (Qwen's own layout)"
    key, prefix = "thinker_config", "thinker."
    renames = (
        ("model.", "model.language_model."), ("audio_tower.proj1.", "model.multi_modal_projector.linear_1."),
        ("audio_tower.proj2.", "model.multi_modal_projector.linear_2."), ("audio_tower.", "model.audio_tower."),
    )  # fmt: skip

    def class_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        parts = {part: {k: v for k, v in fields[part].items() if k not in FOREIGN} for part in PARTS}
        return {**fields, **parts, "model_type": "qwen3_asr"}

    def load_processor(self, folder: Path) -> Any:
        processor = super().load_processor(folder)
        processor.feature_extractor = self.transformers.Qwen3ASRFeatureExtractor.from_pretrained(folder)
        return processor

    def prompt(self, processor: Any, ask: Ask) -> str:
        request = self.request(ask)
        messages = [{"role": "system", "content": request["prompt"] or ""}, {"role": "user", "content": CLIP}]
        return self.rendered(processor, messages) + self.begun(request["language"])


PARTS, CLIP = ("audio_config", "text_config"), [{"type": "audio", "audio": ""}]
FAMILY: Family = Qwen3AsrOriginal()
