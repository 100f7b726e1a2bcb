"""New sentences from the words of recorded ones, on the encoder's features: aligned data augmentation (Lam et al. 2021,
arXiv 2104.01393), with the words of any clip.

    python -m examples.asr.spliced runs/v/data/human runs/v/features/human --policy runs/v/policy \
      --data runs/v/data/spliced --features runs/v/features/spliced

A small LLM learns a few thousand texts by heart, and then recites instead of listening. The projector's CTC head says
where each word of a clip is; a spliced utterance is runs of one to four words from clips of neighbouring shards, one
behind another, as many words as a clip of the shard has. For each shard one of the same name and number of utterances.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torchaudio.functional import forced_align

from arl.errors import ArlError
from arl.models.whisper_qwen2.frontend import load_weights, read_shapes
from arl.policy import Policy, load_tokenizer
from arl.shards import columns
from arl.shards.paths import expand
from arl.shards.reader import read_joined
from arl.shards.writer import write_shard
from arl.train.data import read_clip, training_text

LONGEST_RUN = 4  # words
POOL = 4  # neighbouring shards that words are taken from
BLANK = 0
FEATURES_HZ = 50


@dataclass
class Words:
    """A clip cut at its words: as many texts as pieces of features [T, D], whose lengths are multiples of the stack."""

    texts: list[str]
    pieces: list[Tensor]
    prompt: bytes


class Aligner:
    """The projector and tokenizer of a policy that was trained with --ctc."""

    def __init__(self, policy: Policy) -> None:
        _, self.projector = read_shapes(policy.frontend_dir)
        load_weights(self.projector, policy.frontend_dir / "projector.safetensors")
        self.projector.float().eval()
        self.tokenizer: Any = load_tokenizer(policy.llm_dir)
        self.text_kind = policy.given("text")

    @torch.no_grad()
    def cut(self, text: str, features: Tensor) -> tuple[list[str], list[Tensor]] | None:
        """None where the clip is too short for its text, or has none."""
        words = training_text(text, self.text_kind).split()
        tokens, owner = [], []
        for number, word in enumerate(words):
            ids = self.tokenizer.encode((" " if number else "") + word, add_special_tokens=False).ids
            tokens += ids
            owner += [number] * len(ids)
        stack = self.projector.stack
        n_frames = len(features) // stack
        repeats = sum(one == other for one, other in zip(tokens, tokens[1:], strict=False))
        if not tokens or n_frames < len(tokens) + repeats:
            return None
        embeddings = self.projector(features[None].float(), torch.tensor([n_frames]))
        log_probs = self.projector.ctc(embeddings).log_softmax(-1)
        path, _ = forced_align(log_probs, torch.tensor([tokens]), blank=BLANK)
        bounds = word_bounds(path[0].tolist(), owner)
        cuts = [0, *(stack * bound for bound in bounds), stack * n_frames]
        return words, [features[low:high] for low, high in zip(cuts, cuts[1:], strict=False)]


def word_bounds(path: Sequence[int], owner: Sequence[int]) -> list[int]:
    """The frames between which words change, one less than words: half-way between the last frame of a word's last
    token and the first of the next word's.

    path: the token of each frame, or the blank; owner: the word of each token, in the path's order.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    place, before = -1, BLANK
    for frame, token in enumerate(path):
        if token != BLANK:
            place += token != before
            first.setdefault(owner[place], frame)
            last[owner[place]] = frame
        before = token
    return [(last[word] + 1 + first[word + 1]) // 2 for word in range(owner[-1])]


def spliced(pool: Sequence[Words], n_words: int, rng: random.Random) -> Words:
    """Runs of words of the pool's clips until there are `n_words`."""
    texts: list[str] = []
    pieces: list[Tensor] = []
    while len(texts) < n_words:
        clip = rng.choice(pool)
        length = min(rng.randint(1, LONGEST_RUN), len(clip.texts), n_words - len(texts))
        start = rng.randint(0, len(clip.texts) - length)
        texts += clip.texts[start : start + length]
        pieces += clip.pieces[start : start + length]
    return Words(texts, pieces, pool[0].prompt)


def read_words(data: Path, features: Path, aligner: Aligner) -> list[Words]:
    """The clips of a shard that could be cut."""
    found = []
    for sample in read_joined([features, data]):
        if columns.FEAT in sample.members:
            cut = aligner.cut(sample.json(columns.META)["text"], read_clip(sample, columns.FEAT, "feat"))
            if cut:
                words, pieces = cut
                found.append(Words(words, pieces, sample.members[columns.PROMPT]))
    return found


def members(words: Words) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Of the shard of texts, and of that of features."""
    clip = torch.cat(words.pieces)
    meta = {"text": " ".join(words.texts), "lang": "en", "duration_s": len(clip) / FEATURES_HZ}
    found = {columns.FEAT: columns.save_tensor("feat", clip), columns.PROMPT: words.prompt}
    return {columns.META: columns.dumps(meta)}, found


def pools(data: Path, features: Path, aligner: Aligner) -> Iterator[tuple[str, list[Words], list[Words]]]:
    """Each shard's name, its own clips, and those of it and its neighbours."""
    names = [path.name for path in expand([data])]
    kept: dict[str, list[Words]] = {}
    for place, name in enumerate(names):
        near = [names[(place + step) % len(names)] for step in range(min(POOL, len(names)))]
        kept = {one: kept.get(one) or read_words(data / one, features / one, aligner) for one in near}
        yield name, kept[name], [words for one in near for words in kept[one]]


def main(
    texts: Annotated[Path, typer.Argument(help="Folder of shards with transcripts.")],
    clips: Annotated[Path, typer.Argument(help="Folder of their feature shards.")],
    policy: Annotated[Path, typer.Option(help="Whose CTC head finds the words.")],
    data: Annotated[Path, typer.Option(help="Folder to write texts to.")],
    features: Annotated[Path, typer.Option(help="Folder to write features to.")],
    seed: int = 0,
) -> None:
    aligner = Aligner(Policy.open(policy))
    for name, own, pool in pools(texts, clips, aligner):
        rows = []
        for number, words in enumerate(own):
            key = f"{Path(name).stem}-{number:03d}"
            rows.append((key, *members(spliced(pool, len(words.texts), random.Random(f"{seed} {name} {number}")))))
        write_shard(data / name, [(key, text) for key, text, _ in rows])
        write_shard(features / name, [(key, clip) for key, _, clip in rows])


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"spliced: {error}")
