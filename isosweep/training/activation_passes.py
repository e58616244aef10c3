"""Activations as training passes through them: forward into a buffer, and backward over the cotangents in place.

torch's fused backward kernels, of what torch's own autograd would call; an activation without one multiplies with the
engine's φ'(h). The engine's φ' keeps relative accuracy where units saturate; here the speed of a step counts, and the
absolute accuracy of a rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers import Elementwise, rule_for

__all__ = ["ActivationPass", "pass_of"]

_aten: Any = torch.ops.aten


@dataclass(frozen=True)
class ActivationPass:
    """How one activation module is walked.

    Attributes:
        keeps_input: whether the way back reads h; else it reads φ(h), which may then be written over h.
        forward: (module, h, out): φ(h) into `out`, which may be h unless `keeps_input`.
        backward: (module, kept, cotangents): the cotangents times φ', in place.
    """

    keeps_input: bool
    forward: Callable[[nn.Module, Tensor, Tensor], object]
    backward: Callable[[nn.Module, Tensor, Tensor], object]


def _copy_forward(module: nn.Module, h: Tensor, out: Tensor) -> None:
    out.copy_(module(h))


def _derivative_backward(module: nn.Module, kept: Tensor, cotangents: Tensor) -> None:
    cotangents.mul_(cast(Elementwise, rule_for(module)).derivative(module, kept))


def _gelu(module: Any, kept: Tensor, c: Tensor) -> object:
    return _aten.gelu_backward.grad_input(c, kept, approximate=module.approximate, grad_input=c)


def _elu(module: Any, kept: Tensor, c: Tensor) -> object:
    return _aten.elu_backward.grad_input(c, module.alpha, 1.0, 1.0, False, kept, grad_input=c)


def _softplus(module: Any, kept: Tensor, c: Tensor) -> object:
    return _aten.softplus_backward.grad_input(c, kept, module.beta, module.threshold, grad_input=c)


def _leaky_relu(module: Any, kept: Tensor, c: Tensor) -> object:
    return _aten.leaky_relu_backward.grad_input(c, kept, module.negative_slope, False, grad_input=c)


def _hard_tanh(module: Any, kept: Tensor, c: Tensor) -> object:
    return _aten.hardtanh_backward.grad_input(c, kept, module.min_val, module.max_val, grad_input=c)


_PASSES: dict[type[nn.Module], ActivationPass] = {
    nn.Identity: ActivationPass(False, lambda _, h, out: None if out is h else out.copy_(h), lambda *_: None),
    nn.Tanh: ActivationPass(
        False,
        lambda _, h, out: torch.tanh(h, out=out),
        lambda _, kept, c: _aten.tanh_backward.grad_input(c, kept, grad_input=c),
    ),
    nn.Sigmoid: ActivationPass(
        False,
        lambda _, h, out: torch.sigmoid(h, out=out),
        lambda _, kept, c: _aten.sigmoid_backward.grad_input(c, kept, grad_input=c),
    ),
    nn.ReLU: ActivationPass(
        False,
        lambda _, h, out: torch.clamp_min(h, 0, out=out),
        lambda _, kept, c: _aten.threshold_backward.grad_input(c, kept, 0, grad_input=c),
    ),
    nn.Hardtanh: ActivationPass(
        False, lambda m, h, out: torch.clamp(h, cast(Any, m).min_val, cast(Any, m).max_val, out=out), _hard_tanh
    ),
    nn.SiLU: ActivationPass(
        True, _copy_forward, lambda _, kept, c: _aten.silu_backward.grad_input(c, kept, grad_input=c)
    ),
    nn.GELU: ActivationPass(True, _copy_forward, _gelu),
    nn.ELU: ActivationPass(True, _copy_forward, _elu),
    nn.LeakyReLU: ActivationPass(True, _copy_forward, _leaky_relu),
    nn.Softplus: ActivationPass(True, _copy_forward, _softplus),
}
_ANY = ActivationPass(True, _copy_forward, _derivative_backward)


def pass_of(module: nn.Module) -> ActivationPass:
    """The pass of an activation that the engine has a rule for."""
    assert isinstance(rule_for(module), Elementwise), type(module).__name__
    return _PASSES.get(type(module), _ANY)
