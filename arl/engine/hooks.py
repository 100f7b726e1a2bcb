"""What arl changes inside SGLang: our architecture, seeds per request, calls that report instead of dying, the CPU.

Everywhere: torch's store is a file, our architecture counts as multimodal, seeds per request, only our processor is
imported, a flush is one of every replica, and calls that would kill the scheduler answer with a failure instead. On
CPU: forked children, a device module, seeded sampling in torch, attention over the whole batch, no page-locked memory.
Imported inside the engine only (by plugin.py).
"""

import hashlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from sglang.srt.configs import model_config
from sglang.srt.constants import GPU_MEMORY_ALL_TYPES
from sglang.srt.layers import sampler
from sglang.srt.managers.io_struct import (
    FlushCacheReqInput,
    ReleaseMemoryOccupationReqOutput,
    ResumeMemoryOccupationReqOutput,
    UpdateWeightFromDiskReqOutput,
)
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from sglang.srt.runtime_context import get_parallel

from arl.engine.merging import merging
from arl.engine.sampling import keep_likely, multinomial_with_seed
from arl.engine.sglang_models import ADAPTERS, ARCHITECTURE, RESIDUALS, our_name

_UPDATER = "sglang.srt.managers.scheduler_components.weight_updater.SchedulerWeightUpdaterManager"
_SAMPLER = "sglang.srt.layers.sampler"
REGISTERED: list[str] = []  # what has been hooked in this process


def register_all() -> None:
    """Registers the hooks; SGLang applies them right after."""
    served = our_name(os.environ[ARCHITECTURE])
    if served not in model_config.multimodal_model_archs:
        model_config.multimodal_model_archs.append(served)
    _hook("around", "sglang.srt.managers.multimodal_processor.import_processors", only_our_processor)
    _hook("around", "sglang.srt.distributed.bootstrap._resolve_dist_init_method", store_in_a_file)
    _hook("after", "sglang.srt.sampling.sampling_batch_info.SamplingBatchInfo.from_schedule_batch", seed_every_row)
    _hook("around", f"{_SAMPLER}.top_k_top_p_min_p_sampling_from_probs_torch", filtered_sampling)
    _hook("around", f"{_UPDATER}.update_weights_from_disk", safe_disk_update)
    _hook("around", f"{_UPDATER}.release_memory_occupation", safe_release)
    _hook("around", f"{_UPDATER}.resume_memory_occupation", safe_resume)
    _hook("replace", "sglang.srt.managers.tokenizer_control_mixin.TokenizerControlMixin.flush_cache", flush_replicas)
    if os.environ.get(RESIDUALS):
        _hook("after", "sglang.srt.managers.schedule_batch.ScheduleBatch.release_req", never_resumed)
    if not torch.cuda.is_available():
        _register_cpu()


def _register_cpu() -> None:
    from sglang.srt.layers.attention.attention_registry import ATTENTION_BACKENDS

    found = torch.get_device_module
    # Without an accelerator torch has no current device module; release and resume ask for one.
    torch.get_device_module = lambda device=None: torch.cpu if device is None else found(device)
    ATTENTION_BACKENDS["torch_native"] = batched_attention
    if os.environ.get(ADAPTERS):
        never_pin()
    _hook("replace", f"{_SAMPLER}.multinomial_with_seed", multinomial_with_seed)
    _hook("after", "sglang.srt.entrypoints.engine._set_envs_and_config", fork_children)


def _hook(kind: str, target: str, function: Callable) -> None:
    HookRegistry.register(target, function, HookType(kind))
    REGISTERED.append(target)


def store_in_a_file(original: Callable, *, dist_port: int) -> str:
    """Where the engine's ranks meet. torch's TCP store listens on every interface, whatever address it is given, and
    asks nobody for a key: ranks of one machine meet in a file of the private temporary folder instead, unless an
    address was given, as to several nodes."""
    method: str = original(dist_port=dist_port)
    on_this_machine = method.startswith(("tcp://127.0.0.1:", "tcp://localhost:")) and not get_parallel().dist_init_addr
    return f"file://{tempfile.gettempdir()}/ranks-{dist_port}" if on_this_machine else method


def only_our_processor(original: Callable, package: str, overwrite: bool = False) -> None:
    """The fifty in-tree processors import as many models: seconds of start-up for nothing."""
    if package != "sglang.srt.multimodal.processors":
        original(package, overwrite)


def never_pin() -> None:
    """SGLang's adapters ask for page-locked memory, which torch has for a GPU only: give them plain one."""

    def plain(make: Callable) -> Callable:
        return lambda *args, pin_memory=False, **options: make(*args, **options)

    for name in ("tensor", "zeros", "empty"):
        setattr(torch, name, plain(getattr(torch, name)))
    torch.Tensor.pin_memory = lambda self, *device: self


def fork_children(result: Any, *args: Any, **kwargs: Any) -> None:
    """Forked children inherit the imports (half of the start-up). Not with CUDA, which forbids it."""
    multiprocessing.set_start_method("fork", force=True)


def batched_attention(runner: Any) -> Any:
    """Keep the name torch_native, which SGLang knows to be free of Triton, with our implementation."""
    from arl.engine.cpu_attention import BatchedAttention

    return BatchedAttention(runner)


def seed_every_row(info: Any, cls: type, batch: Any, vocab_size: int) -> Any:
    """SGLang reads `sampling_seed` only in its deterministic mode, which CPU refuses: fill it in always."""
    if info.sampling_seed is None:
        seeds = torch.tensor([_seed_of(request) for request in batch.reqs], dtype=torch.int64)
        info.sampling_seed = seeds.to(batch.device, non_blocking=True)
    return info


def _seed_of(request: Any) -> int:
    seed = request.sampling_params.sampling_seed
    if seed is None:  # no seed asked for: one of the request's name, which is random and the same on every rank
        digest = hashlib.sha256(str(request.rid).encode()).digest()
        seed = request.sampling_params.sampling_seed = int.from_bytes(digest[:7], "little")
    return seed


def never_resumed(result: bool, *args: Any, **kwargs: Any) -> bool:
    """A retracted request would be computed again from its ids, which lack its frames' other codes: SGLang is told that
    it cannot go on, and aborts it. The client asks once more."""
    return False


def filtered_sampling(
    original: Callable,
    probs: Any,
    top_ks: Any,
    top_ps: Any,
    min_ps: Any,
    need_min_p_sampling: bool,
    sampling_seed: Any,
    positions: Any,
    **options: Any,
) -> Any:
    """With a seed, draw in vocabulary order, so that a filtered neighbour does not change a row's token."""
    if sampling_seed is None or options.get("return_filtered_probs"):
        rest = (min_ps, need_min_p_sampling, sampling_seed, positions)
        return original(probs, top_ks, top_ps, *rest, **options)
    kept = keep_likely(probs, top_ks, top_ps, min_ps if need_min_p_sampling else None)
    return sampler.multinomial_with_seed(torch.log(kept), sampling_seed, positions).view(-1).to(torch.int32)


async def flush_replicas(self: Any, timeout_s: float | None = None) -> Any:
    """SGLang answers as the first replica does, so one that is still busy would count as flushed."""
    self.auto_create_handle_loop()
    answers = await self.flush_cache_communicator(FlushCacheReqInput(timeout_s=timeout_s))
    answer = next((answer for answer in answers if not answer.success), answers[0])
    if answer.success and self.mm_processor is not None:
        self.mm_processor.clear_preprocess_cache()
    return answer


def safe_disk_update(original: Callable, self: Any, request: Any) -> Any:
    """SGLang rolls a failed load back from the *new* path and dies of it; report instead, with the replica's name."""
    try:
        with merging(request.model_path):
            answer = original(self, request)
    except Exception as error:  # whatever a checkpoint can do wrong; the client then stamps the engine unusable
        reason = f"weights are undefined: {type(error).__name__}: {error}"
        answer = UpdateWeightFromDiskReqOutput(success=False, message=reason)
    if not answer.success:
        answer.message = f"{_replica()}{' '.join(answer.message.split())}"[:500]
    return answer


def _replica() -> str:
    """Names this scheduler's replica, where there are several."""
    parallel = get_parallel()
    return f"replica {parallel.dp_rank}: " if parallel.num_dp_ranks > 1 else ""


def safe_release(original: Callable, self: Any, request: Any) -> Any:
    """Release only what is not released yet, and only when idle: SGLang asserts both."""
    paused = self.scheduler is not None and self.scheduler._engine_paused
    request.tags = [tag for tag in (request.tags or GPU_MEMORY_ALL_TYPES) if tag not in self.offload_tags]
    if not request.tags or not self.is_fully_idle(ignore_waiting=paused):
        return ReleaseMemoryOccupationReqOutput()
    return original(self, request)


def safe_resume(original: Callable, self: Any, request: Any) -> Any:
    """Resume only what is released: SGLang raises on a second resume."""
    request.tags = [tag for tag in (request.tags or GPU_MEMORY_ALL_TYPES) if tag in self.offload_tags]
    return original(self, request) if request.tags else ResumeMemoryOccupationReqOutput()
