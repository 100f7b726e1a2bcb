"""Audio Flamingo 3 (`nvidia/audio-flamingo-3-hf`): Whisper's tower in windows of 30 s, Qwen2; 25 embeddings a second.

It likes to answer in a sentence, `The spoken content of the audio is "…".`; the transcript is what it quotes.
"""

from arl.models import Family
from arl.models.speech_lm.family import SpeechLm

OPENINGS = "The spoken content of the audio is|The transcription of the audio is|The content of the input audio is"


class AudioFlamingo3(SpeechLm):
    name, takes, types = "audio-flamingo-3", "Audio Flamingo 3", ("audioflamingo3",)
    model, processor = "AudioFlamingo3ForConditionalGeneration", "AudioFlamingo3Processor"
    transcript = {"quoted": OPENINGS}


FAMILY: Family = AudioFlamingo3()
