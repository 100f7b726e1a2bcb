"""OuteTTS 1.0 (0.6B, 1B): an LM over two levels of DAC's codes at 24 kHz, 150 a second, with words between them.

A response is `<|word_start|>word<|features|><|t_0.20|>…<|code|><|c1_7|><|c2_3|>…<|word_end|>` for each word. The prompt
is that of upstream's `version/v3/prompt_processor.py`; a voice is a speaker's file of upstream's, as its words need
the times of a recogniser: `--voice ann=speaker.json`.
"""

from arl.models import Family
from arl.models.codec_lm.family import CodecLm
from arl.models.codec_lm.voices import Asked, Reading, Voice
from arl.models.outetts.speaker import read_speaker


class OuteTts(CodecLm):
    name, takes, types = "outetts", "OuteTTS 1.0", ("llama", "qwen3")
    codes, ends = ("<|c1_{}|>", "<|c2_{}|>"), ("<|audio_end|>", "<|im_end|>")
    codec, levels = "dac", (0, 1)
    template = "<|im_start|>\n<|text_start|>{text}<|text_end|>\n<|audio_start|>\n"
    longest = 8192
    says_words = True

    def prompt(self, template: str, text: str, voice: Voice | None) -> str:
        begun = "" if voice is None else "\n<|word_start|>"
        return super().prompt(template, text, voice) + begun

    def voice(self, asked: Asked, reading: Reading) -> Voice:
        return read_speaker(asked)


FAMILY: Family = OuteTts()
