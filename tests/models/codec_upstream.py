"""What the codecs' own classes and upstream's own code make of a recording and of a text, written out once more.

Sources: Llasa's model card; `neutts/neutts.py` of neuphonic/neutts 1.2.0; `outetts/version/v3/prompt_processor.py` of
edwko/OuteTTS 0.4.4; Orpheus' notebooks, and `orpheus_tts/decoder.py` of canopyai/Orpheus-TTS.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from arl.audio.io import load
from arl.policy import load_tokenizer

SAID = "one two "


def ids_of(folder: Path, text: str) -> list[int]:
    """By the folder's tokenizer, without specials of its own."""
    return tokenizer_of(folder).encode(text, add_special_tokens=False).ids


@cache
def tokenizer_of(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


@torch.no_grad()
def heard(place: Path, codec: str) -> list[Tensor]:
    """The codes of each level of ann.flac, by the codec's own class."""
    import snac
    import transformers

    wave = torch.from_numpy(load(place / "ann.flac", 24_000 if codec in ("snac", "dac") else 16_000))
    if codec == "snac":
        model = snac.SNAC.from_pretrained(str(place / codec))
        return [level[0] for level in model.encode(wave[None, None])]
    if codec == "dac":
        padded = torch.nn.functional.pad(wave, (0, -len(wave) % 320))
        return list(
            transformers.DacModel.from_pretrained(place / codec).eval().encode(padded[None, None]).audio_codes[0]
        )
    kind = {"xcodec2": "Xcodec2", "neucodec": "NeuCodec"}[codec]
    features = getattr(transformers, f"{kind}FeatureExtractor").from_pretrained(place / codec)
    model = getattr(transformers, f"{kind}Model").from_pretrained(place / codec).eval()
    return list(model.encode(**features(wave, sampling_rate=16_000, return_tensors="pt")).audio_codes[0])


def orpheus_row(levels: Sequence[Tensor]) -> list[int]:
    """As upstream's notebooks put SNAC's levels in a row, from 0."""
    row = []
    for i in range(len(levels[0])):
        row += [
            levels[0][i], levels[1][2 * i] + 4096, levels[2][4 * i] + 2 * 4096, levels[2][4 * i + 1] + 3 * 4096,
            levels[1][2 * i + 1] + 4 * 4096, levels[2][4 * i + 2] + 5 * 4096, levels[2][4 * i + 3] + 6 * 4096,
        ]  # fmt: skip
    return [int(number) for number in row]


def literal_prompt(place: Path, name: str, text: str, voice: str) -> list[int]:
    """What upstream's own code makes of a text."""
    folder = place / name
    if name == "llasa":
        from transformers import AutoTokenizer

        said, codes = (SAID, heard(place, "xcodec2")[0]) if voice == "ann" else ("", [])
        asked = f"<|TEXT_UNDERSTANDING_START|>{said + text}<|TEXT_UNDERSTANDING_END|>"
        begun = "<|SPEECH_GENERATION_START|>" + "".join(f"<|s_{int(code)}|>" for code in codes)
        turns = [
            {"role": "user", "content": "Convert the text to speech:" + asked},
            {"role": "assistant", "content": begun},
        ]
        return AutoTokenizer.from_pretrained(folder).apply_chat_template(
            turns, tokenize=True, continue_final_message=True, date_string="26 Jul 2024", return_dict=False
        )
    if name == "neutts":
        said, codes = ("ONE TWO ", heard(place, "neucodec")[0]) if voice == "ann" else ("", [])
        return ids_of(
            folder,
            f"user: Convert the text to speech:<|TEXT_PROMPT_START|>{said}{text.upper()}<|TEXT_PROMPT_END|>\n"
            "assistant:<|SPEECH_GENERATION_START|>" + "".join(f"<|speech_{int(code)}|>" for code in codes),
        )
    if name == "outetts":
        said, codes = "", ""
        if voice == "ann":
            said = "One two. "
            codes = (
                "<|word_start|>One<|features|><|t_0.20|><|energy_1|><|spectral_centroid_0|><|pitch_2|><|code|>"
                "<|c1_7|><|c2_5|><|c1_8|><|c2_6|><|word_end|>\n"
                "<|word_start|>two.<|features|><|t_1.50|><|energy_0|><|spectral_centroid_2|><|pitch_0|><|code|>"
                "<|c1_9|><|c2_1023|><|word_end|>\n<|word_start|>"
            )
        return ids_of(folder, f"<|im_start|>\n<|text_start|>{said}{text}<|text_end|>\n<|audio_start|>\n{codes}")
    custom = [ids_of(folder, f"<custom_token_{number}>")[0] for number in range(11)]
    bos, end = ids_of(folder, "<|begin_of_text|><|eot_id|>")

    def turn(said: str) -> list[int]:
        return [custom[3], bos, *ids_of(folder, said), end, custom[4], custom[5], custom[1]]

    if voice == "tara":
        return turn(f"tara: {text}")
    codes = orpheus_row(heard(place, "snac")) if voice == "ann" else None
    before = [*turn(SAID), *(custom[10] + code for code in codes), custom[2], custom[6]] if codes else []
    return [*before, *turn(text)]
