"""AdamW over the policy's parameters, its learning rate, and its state as safetensors.

Weights of a lower precision are trained through float32 copies that belong to the state: an update smaller than a
weight's last bit is not lost, and gradients of several micro-batches add up in float32. State is kept by parameter
name, never pickled, so a resumed run continues with the same bits. Left out: clipping and the step (arl/train/step.py).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.adamw import adamw

from arl.errors import ArlError
from arl.runtime.offload import to_host

MOMENTS = ("exp_avg", "exp_avg_sq")
MASTER = "master"  # the float32 copy of a parameter of lower precision


@dataclass(frozen=True)
class Schedule:
    """Learning rate per step: linear warm-up over `warmup` steps, then constant, or cosine to 0 at `total`."""

    lr: float
    warmup: float = 0
    kind: str = "constant"
    total: int = 0

    def at(self, step: int) -> float:
        """step counts from 0: the rate of the (step+1)-th optimizer step."""
        rate = self.lr * min(1.0, (step + 1) / self.warmup) if self.warmup else self.lr
        if self.kind == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.total)))
        return rate


class AdamW(torch.optim.Optimizer):
    """torch's AdamW, one parameter at a time, with float32 state. offload: the state rests in host memory, and visits
    the parameter's device for its own step only; on a CPU that changes nothing."""

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], offload: bool = False) -> None:
        super().__init__(groups, {"lr": 0.0, "betas": betas, "eps": 1e-8, "weight_decay": 0.0})
        self.offload = offload
        for group in self.param_groups:
            for parameter in group["params"]:
                if is_low(parameter) and not hasattr(parameter, "gradient"):  # a model may outlive its optimizer
                    parameter.gradient = None
                    parameter.register_post_accumulate_grad_hook(add_up)

    def fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        """The state before the first step: float32 (float64 of float64), where it rests."""
        exact = parameter.detach().to(torch.float32) if is_low(parameter) else parameter.detach()
        state = {"step": torch.tensor(0.0), **{moment: self.rested(torch.zeros_like(exact)) for moment in MOMENTS}}
        return state | ({MASTER: self.rested(exact)} if is_low(parameter) else {})

    def rested(self, tensor: Tensor) -> Tensor:
        return to_host(tensor) if self.offload else tensor

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = gradient_of(parameter)
                if gradient is not None:
                    self.step_one(parameter, gradient, group)
        if self.offload and torch.cuda.is_available():
            torch.cuda.synchronize()  # the copies to the host

    def step_one(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if not self.state[parameter]:
            self.state[parameter] = self.fresh(parameter)
        state = self.state[parameter]
        state["step"] = state["step"].to(parameter.device)
        kept = [name for name in (*MOMENTS, MASTER) if name in state]
        here = {name: state[name].to(parameter.device, non_blocking=True) for name in kept}
        weight = here.get(MASTER, parameter)
        adamw(
            [weight], [gradient], [here["exp_avg"]], [here["exp_avg_sq"]], [], [state["step"]], foreach=False,
            fused=True, amsgrad=False, beta1=group["betas"][0], beta2=group["betas"][1], lr=group["lr"],
            weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
        )  # fmt: skip
        if weight is not parameter:
            parameter.copy_(weight)
        for name, tensor in here.items():
            if tensor is not state[name]:
                state[name].copy_(tensor, non_blocking=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none=True)
        for group in self.param_groups:
            for parameter in group["params"]:
                if hasattr(parameter, "gradient"):
                    parameter.gradient = None


def is_low(tensor: Tensor) -> bool:
    """Whether a tensor has less precision than float32."""
    return tensor.dtype in (torch.bfloat16, torch.float16)


def add_up(parameter: Any) -> None:
    """After a backward pass: moves the gradient into the float32 sum `parameter.gradient`."""
    part = parameter.grad.to(torch.float32)
    parameter.gradient = part if parameter.gradient is None else parameter.gradient.add_(part)
    parameter.grad = None


def gradient_of(parameter: Any) -> Tensor | None:
    """The gradient to step with: the float32 sum where one is kept, else the parameter's own."""
    return parameter.gradient if hasattr(parameter, "gradient") else parameter.grad


def make_adamw(
    named: Mapping[str, nn.Parameter], weight_decay: float, betas: tuple[float, float] = (0.9, 0.98),
    offload: bool = False,
) -> AdamW:  # fmt: skip
    """AdamW with decay on matrices only (not on norms and biases), in the order of the names."""
    decayed = [p for _, p in sorted(named.items()) if p.ndim >= 2]
    plain = [p for _, p in sorted(named.items()) if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return AdamW(groups, betas, offload)


def state_tensors(optimizer: AdamW, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state by `<parameter>/<moment>`, and `<parameter>/master` of a lower-precision parameter; as
    before the first step for a parameter that no gradient has reached."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in named.items():
        state = optimizer.state.get(parameter) or optimizer.fresh(parameter)
        tensors |= {f"{name}/{kind}": state[kind].contiguous() for kind in (*MOMENTS, MASTER) if kind in state}
    return tensors


def restore(
    optimizer: AdamW, named: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], updates: int
) -> None:  # fmt: skip
    """Gives the optimizer what `state_tensors` has returned, where its state rests.

    A lower-precision parameter that has no float32 copy there starts with itself; a copy that does not round to the
    parameter is an ArlError.
    """
    for name, parameter in named.items():
        state = {"step": torch.tensor(float(updates))}
        for kind in (*MOMENTS, MASTER) if is_low(parameter) else MOMENTS:
            kept = tensors.get(f"{name}/{kind}", parameter.detach() if kind == MASTER else None)
            if kept is None:
                raise ArlError(f"no {name}/{kind} in the optimizer state; --fresh-optimizer starts anew")
            kept = kept.to(parameter.device, torch.float32 if is_low(parameter) else parameter.dtype)
            if kind == MASTER and not torch.equal(kept.to(parameter.dtype), parameter):
                raise ArlError(f"optimizer state of other weights (first: {name}); --fresh-optimizer starts anew")
            state[kind] = optimizer.rested(kept)
        optimizer.state[parameter] = state


def save_state(folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter], updates: int) -> None:
    """Writes `optimizer.safetensors` (moments by parameter name) and `state.json` (number of optimizer steps)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state_tensors(optimizer, named), folder / "optimizer.safetensors")
    (folder / "state.json").write_text(json.dumps({"updates": updates}) + "\n")


def load_state(folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter]) -> int:
    """Restores what `save_state` wrote; the number of optimizer steps made, 0 where there is no state.

    ArlError when the state belongs to another set of parameters, or to other weights.
    """
    if not (folder / "state.json").is_file():
        return 0
    updates = json.loads((folder / "state.json").read_text())["updates"]
    tensors = load_file(folder / "optimizer.safetensors")
    known = {key.rpartition("/")[0] for key in tensors}
    if known != set(named):
        odd = sorted(known ^ set(named))[0]
        raise ArlError(f"{folder}: optimizer state of other parameters (first: {odd}); --fresh-optimizer starts anew")
    try:
        restore(optimizer, named, tensors, updates)
    except ArlError as error:
        raise ArlError(f"{folder}: {error}") from error
    return updates
