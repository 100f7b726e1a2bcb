"""Training of the speech tokenizer: recognition (CTC) and the mel spectrogram behind the quantisation.

codec = train_codec(mels, texts, steps=3000, seed=0)     # mels: [2T, 80] each, texts in lower-case letters
"""

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.qwen2_flow.codec import CTC_RATE, Codec
from arl.models.qwen2_flow.mel import FRAMES_PER_CODE
from arl.models.token_asr.letters import labels, spell
from arl.runtime.console import progress
from arl.train.schedule import Schedule

MEL_WEIGHT = 1.0
FRAMES_PER_BATCH = 2400  # codes, padding included
MASKS, MASK_FRAMES = 2, 12
WARM_UP = 0.1  # of the steps


def codec_losses(codec: Codec, mels: Sequence[Tensor], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(CTC per character, mean absolute error of the mels), means over the batch."""
    lengths = torch.tensor([len(mel) // FRAMES_PER_CODE for mel in mels])
    padded = nn.utils.rnn.pad_sequence([mel[: FRAMES_PER_CODE * n] for mel, n in zip(mels, lengths, strict=True)], True)
    heard = masked(padded, lengths) if codec.training else padded
    steps, valid = codec.quantise(heard, lengths)
    log_probs, again = codec.heads_of(steps, valid)
    targets = [torch.tensor(labels(text)) for text in texts]
    ctc = F.ctc_loss(
        log_probs.transpose(0, 1), torch.cat(targets), CTC_RATE * lengths, torch.tensor([len(x) for x in targets]),
        blank=0, zero_infinity=True,
    )  # fmt: skip
    frames = valid.repeat_interleave(FRAMES_PER_CODE, 1)
    mel = ((again - padded).abs() * frames).sum() / frames.sum() / padded.shape[2]
    return ctc, mel


def masked(mels: Tensor, lengths: Tensor) -> Tensor:
    """Each clip with MASKS spans of up to MASK_FRAMES frames, and a band of mels, at the clip's mean."""
    changed = mels.clone()
    for row, n in zip(changed, (FRAMES_PER_CODE * lengths).tolist(), strict=True):
        level = row[:n].mean()
        for _ in range(MASKS):
            width = random.randrange(MASK_FRAMES + 1)
            start = random.randrange(max(1, n - width))
            row[start : start + width] = level
        low, width = random.randrange(mels.shape[2]), random.randrange(12)
        row[:, low : low + width] = level
    return changed


def batches(mels: Sequence[Tensor], rng: random.Random) -> list[list[int]]:
    """An epoch: clips of similar length together, at most FRAMES_PER_BATCH codes a batch, in random order."""
    order = sorted(range(len(mels)), key=lambda i: len(mels[i]) * rng.uniform(0.8, 1.2))
    found: list[list[int]] = [[]]
    for index in order:
        longest = max([len(mels[i]) for i in found[-1]] + [len(mels[index])]) // FRAMES_PER_CODE
        if found[-1] and longest * (len(found[-1]) + 1) > FRAMES_PER_BATCH:
            found.append([])
        found[-1].append(index)
    rng.shuffle(found)
    return found


def train_codec(
    mels: Sequence[Tensor], texts: Sequence[str], steps: int, seed: int = 0, lr: float = 2e-3, **shape: int
) -> Codec:
    """A tokenizer after so many AdamW steps with a cosine schedule, warmed up for a tenth."""
    torch.manual_seed(seed)
    random.seed(seed)
    rng = random.Random(seed)
    codec = Codec(**shape).train()
    optimizer = torch.optim.AdamW(codec.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.02)
    rate = Schedule(lr, WARM_UP * steps, "cosine", steps)
    queue: list[list[int]] = []
    with progress("codec", steps) as bar:
        for step in range(steps):
            queue = queue or batches(mels, rng)
            chosen = queue.pop()
            ctc, mel = codec_losses(codec, [mels[i] for i in chosen], [texts[i] for i in chosen])
            (ctc + MEL_WEIGHT * mel).backward()
            nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate.at(step)
            optimizer.step()
            optimizer.zero_grad()
            bar.advance(1, f"ctc {ctc.item():.3f} mel {mel.item():.3f}")
    return codec.requires_grad_(False).eval()


def heard(codec: Codec, mels: Sequence[Tensor]) -> list[str]:
    """What the recognition head reads behind the codes, greedily."""
    texts = []
    for mel in mels:
        lengths = torch.tensor([len(mel) // FRAMES_PER_CODE])
        with torch.no_grad():
            log_probs, _ = codec.heads_of(*codec.quantise(mel[None, : FRAMES_PER_CODE * int(lengths)], lengths))
        texts.append(spell(log_probs[0].argmax(-1)))
    return texts
