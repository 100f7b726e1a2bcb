"""An LM's folder and a codec → a policy. The LM stays as it is, text tokens and all; `arl export` gives it back.

The prompt is the checkpoint's own chat template, rendered once with `{text}` where a text stands: arl.json's
"prompt_template". Its date, where the template writes one, is the template's own default.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from arl.errors import ArlError, UsageError
from arl.models import InitOptions
from arl.models.checkpoint import Checkpoint
from arl.policy import Policy, part_digest, write_policy
from arl.train.load import causal_lm, first_line
from arl.train.probe import make_probe

if TYPE_CHECKING:
    from arl.models.codec_lm.family import CodecLm

COPIED = "*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"
DATE = "26 Jul 2024"  # what Llama's template writes where it is told none


def build(family: "CodecLm", checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
    """Writes the policy. UsageError without a codec, or for an option that means nothing here."""
    if options.llm is not None or options.stack is not None or options.asks:
        raise UsageError(f"{checkpoint.source}: {family.takes} is its own LLM with its own prompt: of the flags, "
                         "--codec is for it")  # fmt: skip
    if options.codec is None:
        raise UsageError(
            f"{checkpoint.source}: {family.takes} speaks through a codec: give --codec FOLDER ({family.codec})"
        )
    folder, codec = Path(checkpoint.source), codec_of(family, Path(options.codec))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    first, n_codes = codes_in(family, tokenizer, folder)
    model = causal_lm(folder, "auto")
    end, size = tokenizer.token_to_id(family.end), model.config.vocab_size
    made: dict[str, Any] = {
        "family": family.name, "task": "tts", "step": 0, "prompt": [], "transcript": {"none": ""},
        "prompt_template": template_of(family, folder), "audio_token_id": size, "eos_token_id": end,
        "acoustic_first": first, "acoustic_codes": n_codes, "token_rate_hz": family.rate_hz, "longest": family.longest,
        "sample_rate": codec["sampling_rate"], "embedding_dim": model.config.hidden_size,
        "probe": make_probe(model, size),
    }  # fmt: skip

    def fill(place: Path) -> None:
        copy(folder, place / "llm")
        copy(Path(str(options.codec)), place / "frontend")
        made["frontend"] = part_digest(place / "frontend")[:12]

    return write_policy(out, made, fill)


def copy(source: Path, target: Path) -> None:
    """The files of a checkpoint, but for pickles and code."""
    target.mkdir()
    for file in sorted({file for pattern in COPIED for file in source.glob(pattern)}):
        shutil.copyfile(file, target / file.name)


def codec_of(family: "CodecLm", folder: Path) -> dict[str, Any]:
    """The codec's config.json. ArlError where it is another codec, or its weights are no safetensors."""
    found = Checkpoint(str(folder))
    if found.model_type != family.codec_type:
        raise ArlError(f"{folder}: {found.what}; {family.takes}'s codec is a folder of {family.codec}")
    if not any(folder.glob("*.safetensors")):
        raise ArlError(f"{folder}: no *.safetensors weights of {family.codec}")
    return found.config


def codes_in(family: "CodecLm", tokenizer: Tokenizer, folder: Path) -> tuple[int, int]:
    """(id of code 0, number of codes). ArlError where they are not there in a row."""
    first, n = tokenizer.token_to_id(family.code.format(0)), 0
    while first is not None and tokenizer.token_to_id(family.code.format(n)) == first + n:
        n += 1
    if first is None or tokenizer.token_to_id(family.code.format(n)) is not None:
        raise ArlError(f"{folder}: its tokenizer has not the codes {family.code.format(0)}, … in a row")
    return first, n


def template_of(family: "CodecLm", folder: Path) -> str:
    """The prompt with `{text}` in it. ArlError where the folder has no chat template."""
    from transformers import AutoTokenizer

    turns = [{"role": role, "content": content} for role, content in family.turns]
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        text = tokenizer.apply_chat_template(turns, tokenize=False, continue_final_message=True, date_string=DATE)
    except Exception as error:  # of jinja, or of any tokenizer
        raise ArlError(f"{folder}: no chat template that renders ({first_line(error)})") from error
    if str(text).count("{text}") != 1:
        raise ArlError(f"{folder}: its chat template does not write the text as it is: {json.dumps(text)[:80]}")
    return str(text)
