"""`--gpus N`: this command line in N processes of this node, one a GPU, each with its part of the shards.

In a command: `if over_gpus(gpus, device): return`, as the processes have done it then.
"""

import os
import subprocess
import sys

from arl.errors import ArlError, UsageError
from arl.runtime.console import note
from arl.runtime.device import cuda_devices, resolve_device
from arl.runtime.ranks import PART, part

BEGIN = "from arl.cli.entry import main; main()"
SHOWN = "CUDA_VISIBLE_DEVICES"


def over_gpus(count: int, device: str = "auto") -> bool:
    """Runs the command line that this process was started with in `count` processes; False where this one is to do it.

    On a CPU they share the cores. UsageError for more GPUs than there are, and for standard input, which can be read
    once. ArlError where one fails, when all have ended: the shards that are done stay.
    """
    if count <= 1 or part()[1] > 1:
        return False
    if any(word == "-" or word.endswith("=-") for word in sys.argv):
        raise UsageError(f"--gpus {count}: standard input can be read by one process only; write it to a file")
    if device.startswith("cuda:"):
        raise UsageError(f"--gpus {count} --device {device}: the processes take the first {count} GPUs; leave it out")
    is_cpu = resolve_device(device) == "cpu"
    if not is_cpu and count > cuda_devices():
        raise UsageError(f"--gpus {count}: this machine has {cuda_devices()} usable GPU(s)")
    processes = [_start(index, count, is_cpu) for index in range(count)]
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()
    failed = [f"{index}/{count}" for index, code in enumerate(codes) if code]
    if failed:
        raise ArlError(f"part {', '.join(failed)} failed, for the reason above; what is done stays: run it again")
    note(f"{sys.argv[1]}: {count} processes have made their parts")
    return True


def _start(index: int, count: int, is_cpu: bool) -> subprocess.Popen:
    environment = {**os.environ, PART: f"{index}/{count}"}
    if is_cpu:
        environment.setdefault("ARL_THREADS", str(max(1, len(os.sched_getaffinity(0)) // count)))
    else:
        environment[SHOWN] = os.environ.get(SHOWN, "").split(",")[index] if os.environ.get(SHOWN) else str(index)
    return subprocess.Popen([sys.executable, "-c", BEGIN, *sys.argv[1:]], env=environment)
