"""The engine's process: SGLang's server with arl's models, started by arl.engine.server.

The first line on stdin is the API key: it stays out of `ps` and of the environment, and if the starter died
before writing down where this process is, stdin is empty and the process leaves. Left out: choosing flags
(server.py). Importing this imports SGLang.

    echo KEY | ARL_ENGINE_PROCESS=1 python -m arl.engine.serve --model-path policy/llm --device cpu
"""

import os
import sys
from importlib.metadata import entry_points

from arl.engine.platform import STARTED_BY_ARL


def main(arguments: list[str]) -> int:
    api_key = sys.stdin.readline().strip()
    if not api_key:
        print("arl: the starter is gone, leaving", file=sys.stderr)
        return 1
    if not entry_points(group="sglang.srt.plugins", name="arl"):
        print("arl: SGLang does not see arl's plug-in; install it: pip install -e .", file=sys.stderr)
        return 1
    os.environ[STARTED_BY_ARL] = "1"
    os.environ["SGLANG_EXTERNAL_MODEL_PACKAGE"] = "arl.engine.sglang_models"
    os.environ["SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE"] = "arl.engine.sglang_processors"
    import torch

    if not torch.cuda.is_available():
        sys.modules["flashinfer"] = None  # type: ignore[assignment]  # never used on CPU, seconds to import
    from sglang.srt.plugins import load_plugins

    load_plugins()
    from sglang.launch_server import run_server
    from sglang.srt.server_args import prepare_server_args

    run_server(prepare_server_args([*arguments, f"--api-key={api_key}"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
