"""A small recogniser that reads acoustic tokens instead of audio: codes → letters, by CTC. A reward model for DiffRO.

Its first layer is a matrix, so that it reads soft or straight-through one-hots as well as codes, and a reward of its
output has a gradient in them (arl/losses/diffro.py). The layer behind it adds up STEM codes before anything nonlinear:
then that gradient says better what another code would change. Codes come 25 a second and fast speech has 20 letters a
second, so that each code has RATE steps of CTC. It is trained on what a policy learns from (`arl train-token-asr`) and
what a policy is trained to please: never the judge of one. Padding is masked: a batch gives what its rows give alone.

    asr = load(Path("token-asr")); asr.transcribe([[3, 700, 12, 12]])                  # ["no"]
    log_p = asr.text_log_probs(onehots, lengths, ["no"])                               # [1], differentiable in onehots

Left out: training (train.py).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.models.block import Block
from arl.models.token_asr.letters import N_LABELS, labels, spell
from arl.models.weights import fill, made_of, read_weights
from arl.policy import weights_digest
from arl.runtime.console import warn
from arl.text.letters import LETTERS, Unspoken

RATE = 2  # steps of CTC per code
STEM = 5  # codes
CONFIG, WEIGHTS = "config.json", "model.safetensors"
KIND = "token-asr"
ROWS = 32  # of a batch of `transcribe`


class TokenAsr(nn.Module):
    """codes: how many there are; width, heads, layers: of the blocks, each a convolution over 9 codes, attention and a
    feed-forward layer. The convolutions give places their order: there are no position embeddings."""

    def __init__(self, codes: int, width: int = 144, heads: int = 4, layers: int = 3) -> None:
        super().__init__()
        self.config = {"codes": codes, "width": width, "heads": heads, "layers": layers}
        self.table = nn.Embedding(codes, width)
        self.stem = nn.Conv1d(width, width, STEM, padding=STEM // 2)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ctc = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, RATE * N_LABELS))
        self.has_warned = False

    @property
    def n_codes(self) -> int:
        return self.table.num_embeddings

    def forward(self, onehots: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, C] floats, of whose rows lengths int64 [B], each ≥ 1, count → log-probabilities [B, RATE·T, 1 + 28],
        blank first; what is behind RATE·length means nothing. ArlError for another number of codes."""
        if onehots.shape[2] != self.n_codes:
            raise ArlError(f"one-hots of {onehots.shape[2]} codes for a token recogniser of {self.n_codes}")
        return self.read_rows(onehots @ self.table.weight, lengths)

    def read(self, codes: Tensor, lengths: Tensor) -> Tensor:
        """As forward, from codes int64 [B, T]: a look-up instead of a product."""
        return self.read_rows(self.table(codes), lengths)

    def read_rows(self, x: Tensor, lengths: Tensor) -> Tensor:
        """As forward, from rows of the table, or mixtures of them, [B, T, W]."""
        valid = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        x = (x + F.gelu(self.stem((x * valid).transpose(1, 2)).transpose(1, 2))) * valid
        for block in self.blocks:
            x = block(x, valid)
        return self.ctc(x).view(len(x), RATE * x.shape[1], -1).log_softmax(-1)

    def text_log_probs(self, onehots: Tensor, lengths: Tensor, texts: Sequence[str]) -> Tensor:
        """log P(text | codes) in nats [B], all of CTC's alignments; -inf where the codes are too few (`fits`)."""
        return -ctc_losses(self(onehots, lengths), lengths, texts)

    def rewards(self, onehots: Tensor, lengths: Tensor, texts: Sequence[str]) -> Tensor:
        """log P(text | codes) / letters of the text, [B]: a `Head` of arl/losses/heads.py."""
        return self.text_log_probs(onehots, lengths, texts) / letters_of(texts, onehots)

    def code_table(self) -> Tensor:
        """[C, W]: with it DiffRO makes one-hots of some hypotheses at a time."""
        return self.table.weight

    def rewards_of_rows(self, rows: Tensor, lengths: Tensor, texts: Sequence[str]) -> Tensor:
        """As `rewards`, from one-hots times the table [B, T, W]."""
        return -ctc_losses(self.read_rows(rows, lengths), lengths, texts) / letters_of(texts, rows)

    def fits(self, n_codes: int, text: str) -> bool:
        """Whether so many codes can be read as the text at all: not where it has other letters or digits, which is said
        once on stderr."""
        try:
            return n_codes >= fewest_codes(text)
        except Unspoken as error:
            if not self.has_warned:
                warn(f"texts that the token recogniser has no letters for get no reward of it: {error}")
            self.has_warned = True
            return False

    @torch.no_grad()
    def transcribe(self, codes: Sequence[Sequence[int]]) -> list[str]:
        """The best path of each list of codes, repeats and blanks removed; "" for an empty one."""
        texts = [""] * len(codes)
        order = sorted((place for place in range(len(codes)) if codes[place]), key=lambda place: len(codes[place]))
        for start in range(0, len(order), ROWS):
            places = order[start : start + ROWS]
            padded, lengths = pad([codes[place] for place in places])
            best = self.read(padded.to(self.table.weight.device), lengths.to(self.table.weight.device)).argmax(-1)
            for place, row, n in zip(places, best.cpu(), lengths.tolist(), strict=True):
                texts[place] = spell(row[: RATE * n])
        return texts


def pad(codes: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Lists of codes, none empty → (int64 [B, T], lengths int64 [B])."""
    rows = [torch.tensor(row, dtype=torch.long) for row in codes]
    return nn.utils.rnn.pad_sequence(rows, True), torch.tensor([len(row) for row in rows])


def fewest_codes(text: str) -> int:
    """The fewest codes that can be read as the text: a step per letter, and a blank between equal ones."""
    wanted = labels(text)
    steps = len(wanted) + sum(a == b for a, b in zip(wanted, wanted[1:], strict=False))
    return -(-steps // RATE)


def letters_of(texts: Sequence[str], like: Tensor) -> Tensor:
    """How many letters each text has, int64 [B], on the device of `like`."""
    return torch.tensor([len(labels(text)) for text in texts], device=like.device)


def ctc_losses(log_probs: Tensor, lengths: Tensor, texts: Sequence[str]) -> Tensor:
    """-log P(text | codes) of each row [B], from log-probabilities as `forward` gives them."""
    targets = [labels(text) for text in texts]
    flat = torch.tensor([label for target in targets for label in target], device=log_probs.device)
    sizes = torch.tensor([len(target) for target in targets], device=log_probs.device)
    return F.ctc_loss(log_probs.transpose(0, 1), flat, RATE * lengths, sizes, reduction="none")


def save(asr: TokenAsr, folder: Path, **fields: Any) -> None:
    """Writes config.json and model.safetensors; fields: further ones of config.json, JSON-serialisable."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(asr.state_dict(), folder / WEIGHTS)
    config = {**fields, "kind": KIND, "shape": asr.config, "letters": LETTERS, "steps_per_code": RATE}
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. ArlError where the folder holds no token recogniser of this kind."""
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ArlError(f"{folder}: no {CONFIG} and {WEIGHTS}: `arl train-token-asr -o {folder}` makes a recogniser")
    try:
        config = json.loads((folder / CONFIG).read_text())
    except ValueError as error:
        raise ArlError(f"{folder / CONFIG}: not JSON ({error})") from error
    wanted = {"kind": KIND, "letters": LETTERS, "steps_per_code": RATE}
    if (
        not isinstance(config, dict)
        or not wanted.items() <= config.items()
        or not isinstance(config.get("shape"), dict)
    ):
        raise ArlError(f"{folder}: not a token recogniser over these letters; train one with `arl train-token-asr`")
    return config


def load(folder: Path) -> TokenAsr:
    """Reads what `save` wrote: frozen, in evaluation mode. ArlError for a missing or mismatching file."""
    config = read_config(folder)
    asr = made_of(folder / CONFIG, "a recogniser's sizes", lambda _: TokenAsr(**config["shape"]))
    fill(asr, read_weights(folder / WEIGHTS), folder / WEIGHTS, folder / CONFIG)
    return asr.requires_grad_(False).eval()


def digest(folder: Path) -> str:
    """12 hex digits that name the recogniser: its weights and their shape. ArlError as `read_config`."""
    shape = read_config(folder)["shape"]
    return hashlib.sha256(json.dumps([weights_digest(folder), shape], sort_keys=True).encode()).hexdigest()[:12]
