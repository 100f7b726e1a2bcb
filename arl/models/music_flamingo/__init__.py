"""Music Flamingo (`nvidia/music-flamingo-hf`): Audio Flamingo 3 with rotary time in its tower's output, and lyrics."""

from arl.models import Family
from arl.models.speech_lm.family import ChatLm


class MusicFlamingo(ChatLm):
    name, takes, types = "music-flamingo", "Music Flamingo", ("musicflamingo",)
    model, processor = "MusicFlamingoForConditionalGeneration", "MusicFlamingoProcessor"


FAMILY: Family = MusicFlamingo()
