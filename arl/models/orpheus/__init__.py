"""Orpheus 3B (Canopy Labs): a Llama over SNAC's three levels at 24 kHz, 7 tokens per frame, 82 a second.

A frame is a code of the first level, then twice one of the second with two of the third. Each of the 7 places has 4096
tokens of its own, from `<custom_token_10>`. Prompts are those of upstream's notebooks; a voice is a name that the
checkpoint knows (`--voice tara`), or a recording in front of the prompt, for the pretrained checkpoint.
"""

from arl.models import Family
from arl.models.codec_lm.family import CodecLm
from arl.models.codec_lm.voices import Asked, Reading, Voice

FIRST, WIDTH = 10, 4096  # of the codes' custom tokens; codes of a codebook


class Orpheus(CodecLm):
    name, takes, types = "orpheus", "Orpheus", ("llama",)
    ends = "<custom_token_2>", "<custom_token_6>"  # of speech, of the turn
    codec, levels = "snac", (0, 1, 2, 2, 1, 2, 2)
    template = "<custom_token_3><|begin_of_text|>{text}<|eot_id|><custom_token_4><custom_token_5><custom_token_1>"
    longest = 8192

    def token(self, place: int, code: int) -> str:
        return f"<custom_token_{FIRST + WIDTH * place + code}>"

    def prompt(self, template: str, text: str, voice: Voice | None) -> str:
        if voice is not None and not voice.speech:
            return template.replace("{text}", f"{voice.name}: {text}")
        before = "" if voice is None else template.replace("{text}", voice.text) + voice.speech + "".join(self.ends)
        return before + template.replace("{text}", text)

    def voice(self, asked: Asked, reading: Reading) -> Voice:
        return super().voice(asked, reading) if asked.file or asked.said else Voice(asked.name)


FAMILY: Family = Orpheus()
