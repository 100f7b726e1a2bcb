"""Whisper's greedy transcripts on windows as long as the clips: a third of the cost of 30 s, for a whole corpus.

On short windows Whisper may repeat itself: take what it is sure of, or the best prefix of its transcript.

    heard = transcripts({"a": wave})      # {"a": Transcript("Get out of here.", -0.2, True)}
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from arl.audio.io import SAMPLE_RATE
from arl.audio.judge import Judge

BATCH = 48
ENCODED_HZ = 50
LEAST_S, MOST_S, TAIL_S = 2, 30, 0.5


class Transcript(NamedTuple):
    """What was heard, the mean log-probability of its tokens, and whether it came to its end."""

    text: str
    log_prob: float
    is_whole: bool


def transcripts(waves: Mapping[str, np.ndarray], tokens: int = 8, tokens_per_s: int = 6) -> dict[str, Transcript]:
    """float32 [n] at 16 kHz each → what Whisper tiny.en hears, in at most `tokens` and `tokens_per_s` more a second."""
    judge = Judge.load(None)
    encoder: Any = judge.model.model.encoder
    table = encoder.embed_positions
    by_length = sorted(waves, key=lambda clip: len(waves[clip]))
    found: dict[str, Transcript] = {}
    try:
        for start in range(0, len(by_length), BATCH):
            clips = by_length[start : start + BATCH]
            longest_s = len(waves[clips[-1]]) / SAMPLE_RATE
            n_frames = int(min(MOST_S, max(LEAST_S, longest_s + TAIL_S)) * ENCODED_HZ)
            encoder.embed_positions = torch.nn.Embedding.from_pretrained(table.weight.data[:n_frames].clone())
            judge.model.config.max_source_positions = n_frames
            batch = judge.features([waves[clip] for clip in clips], sampling_rate=SAMPLE_RATE, return_tensors="pt")
            with torch.inference_mode():
                out = judge.model.generate(
                    batch.input_features[:, :, : 2 * n_frames], max_new_tokens=int(tokens + tokens_per_s * longest_s),
                    do_sample=False, return_dict_in_generate=True, output_scores=True,
                )  # fmt: skip
            texts = judge.tokenizer.batch_decode(out.sequences, skip_special_tokens=True)
            found.update(zip(clips, map(Transcript, texts, *scores(judge, out)), strict=True))
    finally:  # the judge is kept for whoever loads it next
        encoder.embed_positions = table
        judge.model.config.max_source_positions = table.weight.shape[0]
    return found


def scores(judge: Judge, out: Any) -> tuple[list[float], list[bool]]:
    """The mean over each row's tokens up to its first stop token, which pads the row too, and whether there is one."""
    of_steps = judge.model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
    is_stop = out.sequences[:, -of_steps.shape[1] :] == judge.model.generation_config.eos_token_id
    counts = is_stop.cumsum(1) - is_stop.long() == 0
    means = (of_steps.nan_to_num(neginf=0.0) * counts).sum(1) / counts.sum(1)
    return means.tolist(), is_stop.any(1).tolist()
