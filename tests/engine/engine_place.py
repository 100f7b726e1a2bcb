"""What the engine's tests share: policies, a shard of embeddings, and transformers' log-probabilities."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.engine.client import Engine
from arl.engine.state import EngineInfo
from tests.tiny import AUDIO, HIDDEN, PROMPT


@dataclass(frozen=True)
class Place:
    """What the tests share: two policies of the same shape, and references to embeddings of 5 to 40 frames."""

    folder: Path
    state: Path
    policy: Path
    next_policy: Path
    audio: list[dict[str, Any]]


@dataclass(frozen=True)
class Running:
    """The engine, its client, and what each of the two starters was told."""

    client: Engine
    started: list[EngineInfo]


def write_embeddings(path: Path) -> list[dict[str, Any]]:
    """A shard of random embeddings, and a reference to each."""
    import numpy as np

    from arl.shards import columns
    from arl.shards.reader import read_shard
    from arl.shards.writer import ShardWriter

    random = np.random.default_rng(0)
    with ShardWriter(path) as shard:
        for index, frames in enumerate((20, 5, 33, 40, 12, 20, 7, 25)):
            embedding = (0.3 * random.standard_normal((frames, HIDDEN))).astype(np.float32)
            members = {columns.EMB: columns.save_tensor("emb", embedding)}
            shard.write(f"utt{index}", {**members, columns.PROMPT: columns.dumps({"input_ids": PROMPT})})
    return [columns.tensor_reference(sample, columns.EMB, "emb") for sample in read_shard(path)]


def hugging_face_logprobs(
    llm_dir: Path, prompt: list[int], audio: list[dict[str, Any]], tokens: list[int], temperature: float = 1.0
) -> Any:
    """The same log-probabilities by transformers, teacher-forced: [len(tokens)], float32."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(llm_dir, dtype=torch.float32).eval()
    clips = iter(audio)
    rows = []
    with torch.no_grad():
        for token in [*prompt, *tokens]:
            if token != AUDIO or len(rows) >= len(prompt):
                rows.append(model.get_input_embeddings()(torch.tensor([token])))
                continue
            clip = next(clips)
            count = clip["shape"][0] * clip["shape"][1]
            raw = np.fromfile(clip["path"], dtype=np.float32, count=count, offset=clip["offset"])
            rows.append(torch.from_numpy(raw.reshape(clip["shape"])))
        embeddings = torch.cat(rows)
        logits = model(inputs_embeds=embeddings[None]).logits[0]
    logprobs = (logits / temperature).log_softmax(-1)[-len(tokens) - 1 : -1]
    return logprobs.gather(1, torch.tensor(tokens)[:, None]).squeeze(1)
