"""The engine's process: SGLang's server with arl's models, started by arl.engine.server.

The first line on stdin is the API key: it stays out of `ps` and of the environment, and if the starter died
before writing down where this process is, stdin is empty and the process leaves. Left out: choosing flags
(server.py). Importing this imports SGLang.

    echo KEY | ARL_ENGINE_PROCESS=1 python -m arl.engine.serve --model-path policy/llm --device cpu
"""

import os
import sys
import traceback
from importlib import import_module
from importlib.metadata import entry_points
from typing import NoReturn

from arl.engine.platform import STARTED_BY_ARL
from arl.runtime.daemon import OWN_WORDS, end, session_members

MODELS = "arl.engine.sglang_models"
HOOKS = "arl.engine.hooks"


def main(arguments: list[str]) -> int:
    api_key = sys.stdin.readline().strip()
    if not api_key:
        print(f"{OWN_WORDS}the starter is gone, leaving", file=sys.stderr)
        return 1
    if not entry_points(group="sglang.srt.plugins", name="arl"):
        print(f"{OWN_WORDS}SGLang does not see arl's plug-in; install it: pip install -e .", file=sys.stderr)
        return 1
    os.environ[STARTED_BY_ARL] = "1"
    os.environ["SGLANG_EXTERNAL_MODEL_PACKAGE"] = MODELS
    os.environ["SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE"] = "arl.engine.sglang_processors"
    import torch

    if not torch.cuda.is_available():
        sys.modules["flashinfer"] = None  # type: ignore[assignment]  # never used on CPU, seconds to import
    from sglang.srt.plugins import load_plugins

    load_plugins()
    if not getattr(sys.modules.get(HOOKS), "REGISTERED", None):  # SGLang only logs a plug-in that does not load
        print(f"{OWN_WORDS}arl's plug-in did not load; the log above says why", file=sys.stderr)
        return 1
    try:
        import_module(f"{MODELS}.causal_lm")  # in the scheduler SGLang would only warn, and take a class without audio
    except ValueError as error:
        print(f"{OWN_WORDS}{error}", file=sys.stderr)
        return 1
    from sglang.launch_server import run_server
    from sglang.srt.server_args import prepare_server_args

    try:
        run_server(prepare_server_args([*arguments, f"--api-key={api_key}"]))
    except Exception as error:  # whatever it is: Python would wait for the scheduler, which waits for requests
        traceback.print_exc()
        leave(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
    return 0


def leave(reason: str) -> NoReturn:
    """Ends SGLang's other processes, says why in the log's last line, and ends this one."""
    own = os.getpid()
    end(lambda: [pid for pid in session_members(os.getsid(0)) if pid != own], grace_s=1.0)
    print(f"{OWN_WORDS}{reason}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
