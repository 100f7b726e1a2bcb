"""How likely a clip has a label (an emotion, a style, an accent), by any audio classifier of transformers.

label_probabilities("superb/wav2vec2-base-superb-er", samples)        # {"neu": 0.91, "hap": 0.05, …}
"""

import numpy as np
import torch

from arl.audio.checkpoint import audio_model
from arl.errors import ArlError

SHORTEST_S = 0.1  # of a clip; less has no label


def label_probabilities(source: str, samples: np.ndarray, device: str = "cpu") -> dict[str, float]:
    """Of each label of a checkpoint, for float32 [n] at 16 kHz: the softmax of its scores, or where several labels may
    hold at once each one's sigmoid. ArlError as `audio_model`."""
    model, inputs = audio_model("AutoModelForAudioClassification", source, device)
    with torch.no_grad():
        scores = model(**inputs(samples)).logits[0].double()
    is_many = model.config.problem_type == "multi_label_classification"
    values = (scores.sigmoid() if is_many else scores.softmax(-1)).tolist()
    return {model.config.id2label[place]: value for place, value in enumerate(values)}


def labels_of(source: str, device: str = "cpu") -> list[str]:
    """The labels of a checkpoint, in its order."""
    names = audio_model("AutoModelForAudioClassification", source, device)[0].config.id2label
    return [names[place] for place in range(len(names))]


def matching(label: str, labels: list[str]) -> str | None:
    """The one of `labels` that is meant, whatever its case; None for none of them."""
    return next((known for known in labels if known.casefold() == label.casefold()), None)


def refused(label: str, labels: list[str], source: str) -> ArlError:
    """The error for a label that a checkpoint does not have."""
    return ArlError(f"{source}: no label {label!r}; it has {', '.join(labels)}")
