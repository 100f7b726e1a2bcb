"""The vocabularies of a fresh LLM: characters of lower-case English, or subwords of given texts by byte-pair encoding
(Sennrich et al. 2016, arXiv 1508.07909).

    subword_tokenizer(Subwords(300, ("data/train",)))
"""

from collections.abc import Iterator, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from arl.errors import ArlError, UsageError
from arl.models import Subwords
from arl.shards import columns
from arl.shards.paths import expand
from arl.shards.reader import read_shard
from arl.shards.rows import Meta
from arl.text.letters import LETTERS
from arl.train.data import training_text

SPECIALS = ["<pad>", "<s>", "</s>", "<asr>", "<audio>"]
CHARACTERS = SPECIALS + list(LETTERS)
SPACE = "▁"


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character of lower-case English; in front <pad> 0, <s> 1, </s> 2, <asr> 3, <audio> 4."""
    tokenizer = Tokenizer(models.WordLevel({text: i for i, text in enumerate(CHARACTERS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return wrapped(tokenizer)


def subword_tokenizer(subwords: Subwords) -> PreTrainedTokenizerFast:
    """Pieces of words over the same letters, and the same tokens in front. UsageError for a size that does not hold the
    letters; ArlError for shards without transcripts, and for texts too few for the size."""
    letters = [SPACE, *LETTERS.strip()]
    if subwords.size <= len(SPECIALS) + len(letters):
        raise UsageError(f"--subwords {subwords.size}: the special tokens and the letters alone are "
                         f"{len(SPECIALS) + len(letters)}; some hundreds are usual")  # fmt: skip
    tokenizer = Tokenizer(models.BPE(unk_token="<pad>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(SPACE), decoders.Metaspace(SPACE)
    trainer = trainers.BpeTrainer(
        vocab_size=subwords.size, special_tokens=SPECIALS, initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(transcripts(subwords.texts), trainer)
    if (found := tokenizer.get_vocab_size()) < subwords.size:
        raise ArlError(f"--subwords {subwords.size}: the texts give only {found}: add --texts, or ask for fewer")
    return wrapped(tokenizer)


def transcripts(specs: Sequence[str]) -> Iterator[str]:
    """The transcripts of the shards, in the letters that are trained on. ArlError where a sample has none."""
    for path in expand(specs):
        for sample in read_shard(path):
            if columns.META not in sample.members:
                raise ArlError(f"{sample.where}: no transcript to make subwords of; give shards of `arl data`")
            yield training_text(Meta.of(sample).text, "characters")


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """As transformers has it, with the special tokens named."""
    tokenizer.add_special_tokens(SPECIALS)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
