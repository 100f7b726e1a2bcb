"""One update by several processes, each with a device of its own: the one file that knows torch.distributed.

    torchrun --nproc-per-node 8 -m arl update --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next

Weights, gradients and optimizer state are spread by rows (FSDP2, `fully_shard`): each layer is a unit, and embedding
table, last norm and LM head together are another, the root. Every pass runs inside the root's forward, where these are
whole, so that the code of a pass knows nothing of it. Processes have different groups, and make equally many passes.
Gradients are summed, as each is that of a share of one loss.

The first process to fail says why, and the others leave without a word; each ends with the torchrun that has started
it. Left out: tensor parallelism, which a prompt that is computed once does not need.
"""

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from arl.errors import ArlError, UsageError
from arl.runtime import console
from arl.runtime.device import pick_device
from arl.runtime.private import make_private
from arl.runtime.ranks import local_rank, n_local_ranks, n_ranks, rank
from arl.train.decoder import layers_of
from arl.train.groups import PromptGroup
from arl.train.world import World, is_spread, local

T = TypeVar("T")

TIMEOUT = "ARL_RANK_TIMEOUT"  # environment: seconds after which a process that does not answer counts as lost
TIMEOUT_S = 1800.0
FAILED = "arl/failed"  # key of the store: the first process that has failed
ROOT = "arl_root"  # in the __dict__ of a spread model: the module whose forward every pass goes through
LOST = "timed out", "connection", "peer", "gloo", "nccl", "store", "socket"  # of errors that another process has caused
PR_SET_PDEATHSIG = 1  # prctl(2)


class Root(nn.Module):
    """Runs any function of a model inside a forward, whose hooks gather and free the root's weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], Any]:
        """(what makes the result of the second, the result as something whose tensors the hooks find)."""
        found = function(self.model, *arguments)
        if is_dataclass(found):
            kind: Any = type(found)
            return lambda fields: kind(**fields), dict(vars(found))
        return lambda result: result, found


class Ranks(World):
    """This process among several."""

    def __init__(self, device: torch.device, mesh: DeviceMesh) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device, self.mesh = device, mesh

    def place(self, device: str, threads: int) -> torch.device:
        return self.device

    def wait(self) -> None:
        dist.all_reduce(torch.zeros(1))

    def told(self, thing: T) -> T:
        box = [thing]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def share(self, groups: Sequence[PromptGroup]) -> list[PromptGroup]:
        """The longest first, to the process that has least, so that all have about as many positions."""
        held, own = [0] * self.size, []
        for index, group in sorted(enumerate(groups), key=lambda entry: -entry[1].row_length):
            least = min(range(self.size), key=held.__getitem__)
            held[least] += group.row_length
            if least == self.rank:
                own.append(index)
        return [groups[index] for index in sorted(own)]

    def evened(self, cut: list[T], stand_in: Callable[[], T]) -> tuple[list[T], int]:
        most = torch.tensor(len(cut))
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return cut + [stand_in() for _ in range(int(most) - len(cut))], len(cut)

    def merged(self, metrics: Mapping[str, float]) -> dict[str, float]:
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, dict(metrics))
        names = dict.fromkeys(name for part in found for name in part)
        merge = {name: max if name.endswith("_max") else sum for name in names}
        return {name: merge[name](part[name] for part in found if name in part) for name in names}

    def loading_device(self, device: torch.device) -> torch.device:
        """Host memory: a loaded weight lies in the pages of its file, which the processes of a node share, so that
        nobody holds a whole model."""
        return torch.device("cpu")

    def spread(self, model: Any, keep_on_host: bool = False) -> Any:
        """Weights of a lower precision keep it, and their gradients are summed in float32."""
        is_low = next(model.parameters()).dtype in (torch.bfloat16, torch.float16)
        policy = MixedPrecisionPolicy(reduce_dtype=torch.float32 if is_low else None, cast_forward_inputs=False)
        offload = CPUOffloadPolicy() if keep_on_host and self.device.type != "cpu" else OffloadPolicy()
        root = Root(model)
        for module in (*layers_of(model), root):
            fully_shard(module, mesh=self.mesh, mp_policy=policy, offload_policy=offload)
        for module in root.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)  # default: the mean over the processes
                module.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sum
        vars(model)[ROOT] = root  # not as a child, since the model is one of it
        return model

    def call(self, model: nn.Module, function: Callable[..., T], *arguments: Any) -> T:
        root = vars(model).get(ROOT)
        if root is None:
            return function(model, *arguments)
        make, found = root(function, *arguments)
        if not torch.is_grad_enabled():  # no backward pass will free them
            root.reshard()
        return make(found)

    def rows(self, tensor: Tensor) -> tuple[int, int]:
        """`fully_shard` cuts as torch.chunk does."""
        if not is_spread(tensor):
            return super().rows(tensor)
        n_rows = tensor.shape[0]
        return min(self.rank * -(-n_rows // self.size), n_rows), len(local(tensor))

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor.full_tensor() if is_spread(tensor) else tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        whole = [parameter for parameter in parameters if not is_spread(parameter)]
        has_some = torch.tensor([float(parameter.grad is not None) for parameter in whole])
        dist.all_reduce(has_some)
        for parameter, count in zip(whole, has_some.tolist(), strict=True):
            if count:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                dist.all_reduce(parameter.grad)

    def total_norm(self, gradients: Mapping[nn.Parameter, Tensor]) -> Tensor:
        """In float64, whatever the gradients are in."""
        own, shared = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for parameter, gradient in gradients.items():
            square = torch.linalg.vector_norm(gradient, dtype=torch.float64).square().cpu()
            (own if is_spread(parameter) else shared).add_(square)
        dist.all_reduce(own)
        like = next(iter(gradients.values()))
        return (own + shared).sqrt().squeeze(0).to(like)


@contextmanager
def joined_ranks(device: str, threads: int) -> Iterator[Ranks]:
    """The processes of this torchrun, until the block ends.

    UsageError for a device that they cannot share out; ArlError where another process was lost. A process that fails
    when another one already has ends without a word, with the same exit code.
    """
    end_with_parent()
    if rank():
        console.hush()
    where = own_device(device, threads)
    timeout = timedelta(seconds=float(os.environ.get(TIMEOUT, TIMEOUT_S)))
    store = meeting_place(timeout)
    try:
        backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank(), world_size=n_ranks(), timeout=timeout)
        yield Ranks(where, init_device_mesh(where.type, (n_ranks(),)))
    except BaseException as error:
        end_as_one(error, store, timeout)
        raise
    dist.destroy_process_group()


def own_device(device: str, threads: int) -> torch.device:
    """This process's GPU of its node's, or the CPU with its part of the cores."""
    if device.startswith("cuda:"):
        raise UsageError(f"--device {device}: each process of torchrun takes a GPU of its own; say auto or cuda")
    where = pick_device(device, threads or max(1, len(os.sched_getaffinity(0)) // n_local_ranks()))
    if where.type == "cuda" and (local_rank() or 0) >= torch.cuda.device_count():
        raise UsageError(f"--nproc-per-node {n_local_ranks()}: this machine has {torch.cuda.device_count()} GPUs")
    return where


def meeting_place(timeout: timedelta) -> Any:
    """The store through which the processes find each other. Those of one machine meet in a private file and talk over
    loopback: torch's TCP store listens on every interface and asks nobody for a key."""
    if n_local_ranks() < n_ranks():
        return next(dist.rendezvous("env://", rank(), n_ranks(), timeout=timeout))[0]
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    folder = os.path.join(tempfile.gettempdir(), f"arl-ranks-{os.geteuid()}")
    make_private(folder)
    run = (os.getppid(), os.environ.get("MASTER_PORT"), os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    store = dist.FileStore(os.path.join(folder, "-".join(map(str, run))), n_ranks())
    store.set_timeout(timeout)
    return store


def end_as_one(error: BaseException, store: Any, timeout: timedelta) -> None:
    """Ends this process without a word if another one has failed before it. ArlError where the first thing that fails
    is that another process is lost."""
    own = str(rank())
    try:
        first = store.compare_set(FAILED, "", own).decode()
    except RuntimeError:  # the process that holds a TCP store is gone
        first = own if rank() == 1 else ""
    if first != own:
        code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else code)
    if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in LOST):
        raise ArlError(f"update: process {own} of {n_ranks()} has lost another one, which was killed or did not answer "
                       f"for {timeout.total_seconds():.0f} s ({TIMEOUT}): what was there is whole; start again"
                       ) from error  # fmt: skip


def end_with_parent() -> None:
    """The kernel kills this process when torchrun, which has started it, ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
