"""Speech synthesis: a Qwen2 over characters and acoustic tokens; conditional flow matching to mel; a vocoder."""
