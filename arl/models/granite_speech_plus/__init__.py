"""Granite Speech Plus: Granite Speech whose projector hears several layers of the conformer."""

from arl.models import Family
from arl.models.granite_speech import GraniteSpeech


class GraniteSpeechPlus(GraniteSpeech):
    name, takes, types = "granite-speech-plus", "Granite Speech Plus", ("granite_speech_plus",)
    model = "GraniteSpeechPlusForConditionalGeneration"


FAMILY: Family = GraniteSpeechPlus()
