"""AdamW over the policy's parameters, with float32 state.

Weights of a lower precision are trained through float32 copies that belong to the state: an update smaller than a
weight's last bit is not lost, and gradients of several micro-batches add up in float32. Left out: the learning rate
(schedule.py), clipping and the step (step.py), the state on disk (checkpoint.py).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from arl.runtime.offload import to_host
from arl.train.world import local

MOMENTS = ("exp_avg", "exp_avg_sq")
MASTER = "master"  # the float32 copy of a parameter of lower precision


class AdamW(torch.optim.Optimizer):
    """torch's AdamW, one parameter at a time, with float32 state.

    offload: the state is kept in host memory, and is on the parameter's device for its own step only; on a CPU that
    changes nothing.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], offload: bool = False) -> None:
        super().__init__(groups, {"lr": 0.0, "betas": betas, "eps": 1e-8, "weight_decay": 0.0})
        self.offload = offload
        for group in self.param_groups:
            for parameter in group["params"]:
                if is_low(parameter) and not hasattr(parameter, "gradient"):  # a model may outlive its optimizer
                    parameter.gradient = None
                    parameter.register_post_accumulate_grad_hook(add_up)

    def fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        """The state before the first step: float32 (float64 of float64), where it is kept."""
        own = local(parameter.detach())
        exact = own.to(torch.float32) if is_low(parameter) else own
        state = {"step": torch.tensor(0.0), **{moment: self.stored(torch.zeros_like(exact)) for moment in MOMENTS}}
        return state | ({MASTER: self.stored(exact)} if is_low(parameter) else {})

    def stored(self, tensor: Tensor) -> Tensor:
        """The tensor where the state is kept between steps."""
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
            torch.cuda.synchronize()  # the copies to the host; `pick_device` has made the device the current one

    def step_one(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if not self.state[parameter]:
            self.state[parameter] = self.fresh(parameter)
        state = self.state[parameter]
        state["step"] = state["step"].to(parameter.device)
        kept = [name for name in (*MOMENTS, MASTER) if name in state]
        here = {name: state[name].to(parameter.device, non_blocking=True) for name in kept}
        own = local(parameter)
        weight = here.get(MASTER, own)
        adamw(
            [weight], [gradient], [here["exp_avg"]], [here["exp_avg_sq"]], [], [state["step"]], foreach=False,
            fused=True, amsgrad=False, beta1=group["betas"][0], beta2=group["betas"][1], lr=group["lr"],
            weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
        )  # fmt: skip
        if weight is not own:
            own.copy_(weight)
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
    part = local(parameter.grad).to(torch.float32)
    parameter.gradient = part if parameter.gradient is None else parameter.gradient.add_(part)
    parameter.grad = None


def gradient_of(parameter: Any) -> Tensor | None:
    """The gradient to step with: the float32 sum where one is kept, else the parameter's own; `local` rows of a spread
    one."""
    return parameter.gradient if hasattr(parameter, "gradient") else local(parameter.grad)


def make_adamw(
    named: Mapping[str, nn.Parameter], weight_decay: float, betas: tuple[float, float] = (0.9, 0.98),
    offload: bool = False,
) -> AdamW:  # fmt: skip
    """AdamW with decay on matrices only (not on norms and biases), in the order of the names."""
    decayed = [p for _, p in sorted(named.items()) if p.ndim >= 2]
    plain = [p for _, p in sorted(named.items()) if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return AdamW(groups, betas, offload)
