"""Training of the token recogniser on pairs of codes and text, with noise on the codes.

A policy's samples are not recordings: codes are wrong, missing or doubled. So the recogniser hears its training pairs
that way, too, and its reward does not collapse at the first wrong code. Besides, codes are mixed with others: DiffRO
asks what a little of another code would do, and a recogniser that has heard whole codes only does not know.

    asr = train_token_asr(pairs, codes=729, recipe=Recipe(steps=2000))
    figures = score(asr, held_out)                                                     # {"wer": …, "cer": …, …}
"""

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from arl.models.token_asr.letters import labels
from arl.models.token_asr.model import TokenAsr, ctc_losses, fewest_codes, pad
from arl.runtime.console import progress
from arl.text.letters import readable
from arl.text.wer import Errors, word_errors
from arl.train.schedule import Schedule

Pair = tuple[list[int], str]  # codes, text
WARM_UP = 0.1  # of the steps
MIXED = 5.0  # codes that are mixed with another, per code that `noise` may replace
JITTER = 0.2  # of a length, where batches of similar lengths are made


@dataclass(frozen=True)
class Recipe:
    """steps of AdamW with a cosine schedule; batch: utterances; noise: the largest share of codes that is replaced;
    MIXED times as many are mixed."""

    steps: int = 2000
    lr: float = 2e-3
    batch: int = 32
    noise: float = 0.15
    seed: int = 0


def split(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """(to train on, held out): the `share` of the texts, at least one, whose seeded hashes come first; so that no text
    is in both. A share of 0 holds none out."""
    texts = [readable(text) for _, text in pairs]
    digests = {hashlib.sha256(f"{seed}/{text}".encode()).digest(): text for text in set(texts)}
    out = {digests[key] for key in sorted(digests)[: math.ceil(share * len(digests))]}
    kept: list[Pair] = []
    held: list[Pair] = []
    for pair, text in zip(pairs, texts, strict=True):
        (held if text in out else kept).append(pair)
    return kept, held


def noisy(pair: Pair, n_codes: int, noise: float, rng: random.Random) -> list[int]:
    """The codes with a random share of them, up to `noise`, replaced by any code, half as many left out, and half as
    many said twice; as they are where too few would be left for the text."""
    codes, rate = pair[0], rng.uniform(0, noise)
    heard: list[int] = []
    for code in codes:
        draw = rng.random()
        if draw < rate:
            heard.append(rng.randrange(n_codes))
        elif draw >= 1.5 * rate:
            heard += [code] * (2 if draw < 2 * rate else 1)
    return heard if len(heard) >= fewest_codes(pair[1]) else codes


def mixed(asr: TokenAsr, codes: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Rows of the table for codes int64 [B, T], [B, T, W]: a random share of them between theirs and another's."""
    draws = torch.rand(3, *codes.shape, generator=generator).to(codes.device)
    weight = (draws[0] * (draws[1] < share))[..., None]
    others = (draws[2] * asr.n_codes).long().clamp_max(asr.n_codes - 1)
    return (1 - weight) * asr.table(codes) + weight * asr.table(others)


def batches(pairs: Sequence[Pair], size: int, rng: random.Random) -> Iterator[list[Pair]]:
    """Batches without end: epoch after epoch in random order, pairs of similar lengths together."""
    while True:
        order = sorted(pairs, key=lambda pair: len(pair[0]) * rng.uniform(1 - JITTER, 1 + JITTER))
        cut = [order[start : start + size] for start in range(0, len(order), size)]
        rng.shuffle(cut)
        yield from cut


def train_token_asr(
    pairs: Sequence[Pair], codes: int, recipe: Recipe, device: str | torch.device = "cpu",
    start: TokenAsr | None = None, **shape: int,
) -> TokenAsr:  # fmt: skip
    """A frozen recogniser. Each pair must fit (`fewest_codes`); equal seeds, pairs and threads give equal weights.
    start: trained on, in place; else a new one of this shape."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    asr = (start or TokenAsr(codes, **shape)).requires_grad_(True).train().to(device)
    optimizer = torch.optim.AdamW(asr.parameters(), lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.01)
    source, generator = batches(pairs, recipe.batch, rng), torch.Generator().manual_seed(recipe.seed)
    rate = Schedule(recipe.lr, WARM_UP * recipe.steps, "cosine", recipe.steps)
    with progress("token-asr", recipe.steps) as bar:
        for step in range(recipe.steps):
            chosen = next(source)
            texts = [text for _, text in chosen]
            heard = [noisy(pair, codes, recipe.noise, rng) for pair in chosen]
            padded, lengths = (x.to(device) for x in pad(heard))
            rows = mixed(asr, padded, MIXED * recipe.noise, generator)
            losses = ctc_losses(asr.read_rows(rows, lengths), lengths, texts)
            loss = (losses / torch.tensor([len(labels(text)) for text in texts], device=losses.device)).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(asr.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate.at(step)
            optimizer.step()
            optimizer.zero_grad()
            bar.advance(1, f"ctc {float(loss.detach()):.3f}")
    return asr.requires_grad_(False).eval()


def score(asr: TokenAsr, pairs: Sequence[Pair]) -> dict[str, float]:
    """Word and character error rates (spaces count) of the best paths; a recogniser is no judge of itself on a
    policy's samples, but here the codes are recordings'. Words of Mandarin are syllables."""
    words, letters, n_letters = Errors(), 0, 0
    for (_, text), heard in zip(pairs, asr.transcribe([codes for codes, _ in pairs]), strict=True):
        words += word_errors(readable(text), heard, "en")
        letters += Levenshtein.distance(readable(text), heard)
        n_letters += len(readable(text))
    return {
        "wer": words.rate, "cer": letters / n_letters, "words": words.length, "utterances": len(pairs),
    }  # fmt: skip
