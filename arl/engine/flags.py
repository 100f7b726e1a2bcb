"""Which SGLang flags and environment the engine runs with, per device, and why.

Left out: anything the user passes in `extra`; it comes last and wins. Light: no torch, no sglang.
"""

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arl.engine.platform import ROOTS_FILE, STARTED_BY_ARL
from arl.engine.processes import ROOTS
from arl.engine.served_model import ServedModel
from arl.engine.sglang_models import ADAPTERS, ARCHITECTURE, HEAD_BIAS, RESIDUALS
from arl.errors import UsageError
from arl.runtime.console import note
from arl.runtime.device import ALLOCATOR, OLD_ALLOCATOR, cuda_devices, resolve_device
from arl.runtime.openmp import PATIENT_THREADS

CPU_CACHE_BYTES = 1 << 30  # key/value cache on CPU; allocated lazily by the kernel
CPU_CACHE_TOKENS = 131_072
# The allocator's settings are the stages': SGLang's memory saver refuses expandable segments. A launcher's rank is not
# the engine's: its own processes set theirs.
NOT_FOR_THE_ENGINE = {ALLOCATOR, OLD_ALLOCATOR, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR",
                      "MASTER_PORT"}  # fmt: skip
MOST_RUNNING = 512  # a shard of 32 utterances x 12 hypotheses decodes as one batch


@dataclass(frozen=True)
class Replicas:
    """How the engine is spread out. tp: devices that share one copy of the weights; dp: such copies, each with a
    scheduler and a cache of its own; nnodes: nodes that share a copy, of which this is node_rank; dist_init_addr: where
    they meet, host:port on node 0."""

    tp: int = 1
    dp: int = 1
    nnodes: int = 1
    node_rank: int = 0
    dist_init_addr: str | None = None

    @property
    def here(self) -> int:
        """Devices of this node."""
        return self.tp * self.dp // self.nnodes

    def check(self, model: ServedModel, device: str, lora_rank: int = 0) -> None:
        """UsageError for what SGLang would refuse or get wrong after a minute of loading."""
        if self.dp > 1 and lora_rank:
            raise UsageError(f"--dp {self.dp} --lora-rank {lora_rank}: SGLang loads adapters into one replica only; "
                             "without --lora-rank they are merged, on each")  # fmt: skip
        if self.nnodes > 1:
            if self.dp > 1:
                raise UsageError(f"--nnodes {self.nnodes} --dp {self.dp}: SGLang's replicas do not span nodes: start "
                                 "one engine a node, and share the shards out (ARL_PART=k/n or torchrun)")  # fmt: skip
            if self.tp % self.nnodes or not 0 <= self.node_rank < self.nnodes or not self.dist_init_addr:
                raise UsageError(f"--nnodes {self.nnodes}: --tp must be a multiple of it, --node-rank below it, and "
                                 "--dist-init-addr HOST:PORT of node 0 be given on each node")  # fmt: skip
        heads = model.config.get("num_attention_heads")
        if heads and heads % self.tp:
            raise UsageError(f"--tp {self.tp}: the model's {heads} attention heads cannot be divided by it")
        if self.tp > 1 and model.overrides.get(HEAD_BIAS):
            raise UsageError(f"--tp {self.tp}: a model with an output bias is served on one device; use --dp")
        if model.predictor_dir is not None and (self.tp > 1 or lora_rank):
            raise UsageError("--tp and --lora-rank: a model whose frames have other codes is served on one device, and "
                             "with adapters merged; use --dp")  # fmt: skip
        first = int(device.partition(":")[2] or 0)
        if device != "cpu" and first + self.here > (found := cuda_devices()):
            raise UsageError(f"--tp {self.tp} --dp {self.dp}: {self.here} devices from cuda:{first} on, this machine "
                             f"has {found}")  # fmt: skip

    @property
    def flags(self) -> dict[str, Any]:
        """SGLang's, those that are not its defaults."""
        words: dict[str, Any] = {"--tp-size": self.tp, "--dp-size": self.dp, "--nnodes": self.nnodes}
        words = {name: value for name, value in words.items() if value > 1}
        if self.nnodes > 1:
            words |= {"--node-rank": self.node_rank, "--dist-init-addr": self.dist_init_addr}
        return words

    @property
    def cores(self) -> str:
        """For a CPU: the cores of each of this node's processes, "0,1|2,3": SGLang wants one NUMA node each else."""
        cores = sorted(os.sched_getaffinity(0))
        share = max(1, len(cores) // self.here)
        parts = [[cores[(rank * share + i) % len(cores)] for i in range(share)] for rank in range(self.here)]
        return "|".join(",".join(map(str, part)) for part in parts)


ALONE = Replicas()


def engine_device(device: str) -> str:
    """The engine's device: as `resolve_device`, but auto is the CPU where SGLang's CUDA kernels are not installed.

    UsageError for CUDA without them: SGLang would die of the missing import.
    """
    chosen = resolve_device(device)
    if chosen != "cpu" and find_spec("sgl_kernel") is None:
        lacking = "SGLang's CUDA kernels are not installed (make setup GPU=1)"
        if device != "auto":
            raise UsageError(f"--device {device}: {lacking}; use --device cpu")
        note(f"engine: {lacking}: it serves on the CPU")
        return "cpu"
    return chosen


def server_flags(
    model: ServedModel,
    audio_token_id: int,
    device: str,
    port: int,
    max_total_tokens: int | None,
    mem_fraction: float | None,
    lora_rank: int = 0,
    replicas: Replicas = ALONE,
) -> list[str]:
    """The command line of `python -m arl.engine.serve` for this model. lora_rank: of the adapters that it shall keep
    apart from the weights, 0 for none."""
    overrides = {**model.overrides, "audio_token_id": audio_token_id}
    flags: dict[str, Any] = {
        "--model-path": model.llm_dir.absolute(),
        "--host": "127.0.0.1",
        "--port": port,
        "--device": device.partition(":")[0],
        # `auto` would turn a float32 checkpoint into float16, and the log-probs would not be the trainer's.
        "--dtype": model.dtype,
        "--weight-version": model.file_version,  # an adapter comes once the engine runs
        "--json-model-override-args": json.dumps(overrides),
        "--log-level-http": "warning",
        "--max-running-requests": MOST_RUNNING,  # of each replica
        **replicas.flags,
    }
    if (longest := model.longest) is not None:
        flags["--context-length"] = longest
    if max_total_tokens is None and device == "cpu":
        max_total_tokens = _cpu_tokens(model)
    if max_total_tokens is not None:
        flags["--max-total-tokens"] = max_total_tokens
    if mem_fraction is not None:
        flags["--mem-fraction-static"] = mem_fraction
    switches = ["--skip-tokenizer-init", "--skip-server-warmup", "--sleep-on-idle"]
    if device == "cpu":
        flags["--attention-backend"] = "torch_native"
        flags["--watchdog-timeout"] = 3600  # one step of a large model can take minutes here
    else:
        # The memory saver is what release/resume work through; seeds need the torch sampler under top-p.
        flags |= {"--sampling-backend": "pytorch", "--base-gpu-id": device.partition(":")[2] or 0}
        flags["--cuda-graph-max-bs-decode"] = MOST_RUNNING  # 256 by default: a larger batch would run without a graph
        if model.dtype == "float32":  # SGLang's own choices (fa3, flashinfer) take half precision only
            flags["--attention-backend"] = "triton"
        switches.append("--enable-memory-saver")
        if model.predictor_dir is not None:  # its codes go to the host at each step, which a graph does not
            switches.append("--disable-cuda-graph")
    words = [str(word) for flag in flags.items() for word in flag] + switches
    return words + adapter_flags(model, device, lora_rank) if lora_rank else words


def adapter_flags(model: ServedModel, device: str, lora_rank: int) -> list[str]:
    """Flags for an adapter of this rank on any linear layer, and for the one that takes its place."""
    room = ["--max-loras-per-batch", "2", "--max-loaded-loras", "2"]
    kernels = ["--lora-backend", "torch_native"] if device == "cpu" else []
    targets = ["--lora-strict-loading", "--lora-target-modules", *model.linear_layers]
    return ["--enable-lora", "--max-lora-rank", str(lora_rank), *room, *kernels, *targets]


def server_environment(
    model: ServedModel, device: str, temporary: Path, lora_rank: int = 0, replicas: Replicas = ALONE
) -> dict[str, str]:  # fmt: skip
    """The engine's whole environment."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_THE_ENGINE}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without a bytecode cache the start takes twice as long
    environment.pop("SGLANG_USE_CPU_ENGINE", None)  # it would choose SGLang's own CPU platform
    environment |= {
        STARTED_BY_ARL: "1",
        ARCHITECTURE: model.base_architecture,
        ADAPTERS: "1" if lora_rank else "",
        RESIDUALS: "1" if model.predictor_dir is not None else "",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary),  # SGLang leaves its sockets behind; they go with this folder
        ROOTS_FILE: str(temporary / ROOTS),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
    }
    if model.predictor_dir is not None:  # a request that has begun cannot be retracted: only what fits whole begins
        environment |= {"SGLANG_INIT_NEW_TOKEN_RATIO": "1.0", "SGLANG_MIN_NEW_TOKEN_RATIO_FACTOR": "1.0"}
    if replicas.nnodes == 1:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # they would listen on the machine's own address
            environment.setdefault(name, "lo")
    if not os.access(os.path.expanduser("~"), os.W_OK):  # caches of compilers go there
        environment |= {"HOME": str(temporary), "XDG_CACHE_HOME": str(temporary / ".cache")}
    if device == "cpu":
        environment |= {
            "CUDA_VISIBLE_DEVICES": "",
            **PATIENT_THREADS,
        }
        # Half the cores: the HTTP process needs one too, and small products gain little from more.
        environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // (2 * replicas.here))))
        if replicas.tp * replicas.dp > 1:
            environment.setdefault("SGLANG_CPU_OMP_THREADS_BIND", replicas.cores)
            environment.setdefault("TORCHDYNAMO_DISABLE", "1")  # a mask of the sharded embedding: 10 s to compile
    else:
        environment["SGLANG_MEMORY_SAVER_CUDA_GRAPH"] = "1"  # released with the rest; else the graphs keep their memory
    return environment


def _cpu_tokens(model: ServedModel) -> int:
    return max(4096, min(CPU_CACHE_TOKENS, CPU_CACHE_BYTES // model.cache_bytes_per_token))
