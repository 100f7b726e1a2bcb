"""Entry point `sglang.srt.plugins`: what arl changes inside SGLang (hooks.py).

Loaded by every SGLang process on the machine, so it imports nothing and does nothing unless arl started the process.
"""

import os

from arl.engine.platform import STARTED_BY_ARL


def register() -> None:
    """Registers the hooks, where arl started the process."""
    if os.environ.get(STARTED_BY_ARL) == "1":
        from arl.engine.hooks import register_all

        register_all()
