"""One real engine for all tests of this folder, started by two starters at once, on a tiny random policy."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/tiny.py

from tiny import AUDIO, HIDDEN, PROMPT, make_tiny_policy

from arl.engine.client import Engine
from arl.engine.server import connect, start, stop
from arl.engine.state import EngineInfo


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


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("engine")
    policy = make_tiny_policy(folder / "policy", seed=0)
    next_policy = make_tiny_policy(folder / "next", seed=1, step=1)
    return Place(folder, folder / "state", policy, next_policy, write_embeddings(folder / "emb" / "000000.tar"))


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


@pytest.fixture(scope="session")
def running(place: Place) -> Any:
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(start, place.policy, place.state, device="cpu") for _ in range(2)]
        infos = [job.result() for job in started]
    yield Running(Engine(connect(place.state)), infos)
    stop(place.state)


@pytest.fixture
def engine(running: Running, place: Place) -> Engine:
    """The engine, serving the first policy whatever the test before did."""
    from arl.policy import Policy

    policy = Policy.open(place.policy)
    if running.client.version() != policy.version:
        running.client.update_weights(policy.llm_dir, policy.version)
    return running.client


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
