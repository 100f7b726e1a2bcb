"""A family that is not in the tree: one folder with one file, which a test adds beside the others and runs.

It takes checkpoints whose config.json has model_type "toy-asr"; an embedding is the loudness of 1/10 s on all H axes.
"""

from pathlib import Path

SOURCE = '''"""Toy: the loudness of each tenth of a second as embeddings."""

from arl.audio.clips import load_shard
from arl.models import Family
from arl.shards.columns import EMB, EMB_TENSOR, save_tensor
from arl.shards.rows import Prompt

RATE, HOP = 16000, 1600


class Toy(Family):
    name = "toy-asr"
    takes = "toy"
    parts = ("checkpoints",)

    def recognises(self, checkpoint):
        return checkpoint.model_type == self.name

    def build(self, checkpoint, out, options):
        from arl.policy import write_policy
        from tests.tiny import AUDIO, EOS, PROMPT, save_model, save_tokenizer

        def fill(folder):
            save_model(folder / "llm", options.seed, "qwen2", checkpoint.config["hidden"], 1, 0.2)
            save_tokenizer(folder / "llm")

        fields = {"audio_token_id": AUDIO, "eos_token_id": EOS, "prompt": PROMPT, "embedding_rate_hz": RATE / HOP}
        fields |= {"embedding_dim": checkpoint.config["hidden"], "family": self.name, "step": 0, "frontend": "toy"}
        return write_policy(out, fields, fill)

    def encoder(self, policy, device, features):
        return Loudness(policy)


class Loudness:
    def __init__(self, policy):
        self.policy = policy

    def read(self, samples):
        return load_shard(samples, RATE)

    def encode(self, clips, batch_s, budget):
        import torch

        for clip in clips:
            steps = torch.from_numpy(clip.wave[: len(clip.wave) // HOP * HOP]).view(-1, HOP).std(1)
            emb = save_tensor(EMB_TENSOR, steps[:, None].repeat(1, self.policy.embedding_dim))
            yield clip.key, {EMB: emb} | Prompt(self.policy.prompt).members(), len(clip.wave) / RATE

    def sleep(self):
        """Nothing is on the device."""


FAMILY = Toy()
'''


def write_toy_family(packages: Path) -> None:
    """Writes the folder `toy_asr` into a folder of families."""
    (packages / "toy_asr").mkdir(parents=True)
    (packages / "toy_asr" / "__init__.py").write_text(SOURCE)
