"""Audio files in and out: see `arl.audio.io`."""
