"""Batch normalisation by fixed statistics: y = γ(x − μ)/√(v + ε) + β, channel by channel.

In training mode the outputs of one sample depend on all others, and the Fisher matrix of a batch is not a mean over its
samples. Here μ and v are constants: those of the module's buffers, which
`isosweep.networks.normalization.freeze_batch_statistics` sets to the batch's own. Derivatives do not pass through them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import GramTerm, Parameters, Rule

__all__ = ["RULE", "BatchNorm"]

_Layer = nn.BatchNorm1d | nn.BatchNorm2d


class BatchNorm(Rule):
    types = (nn.BatchNorm1d, nn.BatchNorm2d)

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        layer = cast(_Layer, module)
        mean = cast(Tensor, layer.running_mean)
        outputs: Tensor = module(inputs)
        return outputs, (inputs - _each(mean, inputs)) * _each(_rate(layer), inputs)

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        torch.mul(cotangents, _slope(cast(_Layer, module), saved), out=out)

    def jacobian(self, module: nn.Module, saved: Tensor, shape: torch.Size) -> Tensor:
        return torch.diag(_slope(cast(_Layer, module), saved).expand(1, *shape).flatten())

    def gram_terms(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> list[GramTerm]:
        if not self.parameter_count(module, parameters):
            return []
        return [GramTerm(None, 1.0, self._sample_gradients(module, saved, cotangents, parameters))]

    def gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        return self._sample_gradients(module, saved, cotangents, parameters).sum(dim=1)

    def _sample_gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        k, n, channels = cotangents.shape[:3]
        parts = [(cotangents * saved).reshape(k, n, channels, -1).sum(dim=3)]
        if parameters == "all":
            parts.append(cotangents.reshape(k, n, channels, -1).sum(dim=3))
        return torch.cat(parts, dim=2)

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        return tangents * _slope(cast(_Layer, module), saved)

    def push_parameters(self, module: nn.Module, saved: Tensor, direction: Tensor, parameters: Parameters) -> Tensor:
        channels = saved.shape[1]
        change = saved * _each(direction[:channels], saved)
        return change + _each(direction[channels:], saved) if len(direction) > channels else change

    def parameter_count(self, module: nn.Module, parameters: Parameters) -> int:
        layer = cast(_Layer, module)
        if not layer.affine:
            return 0
        return layer.num_features * (2 if parameters == "all" else 1)

    def check(self, module: nn.Module) -> str | None:
        layer = cast(_Layer, module)
        if layer.running_mean is None:
            return f"{type(layer).__name__} without running statistics (track_running_stats=False)"
        if layer.training:
            return (
                f"{type(layer).__name__} in training mode, where samples depend on each other; use "
                "isosweep.networks.normalization.freeze_batch_statistics(network, inputs), or network.eval()"
            )
        return None

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        layer = cast(_Layer, module)
        dimensions = 1 if isinstance(layer, nn.BatchNorm1d) else 3
        fits = len(shape) == dimensions and shape[0] == layer.num_features
        return None if fits else f"{layer.num_features} " + ("numbers" if dimensions == 1 else "channels of images")


def _rate(layer: _Layer) -> Tensor:
    return (cast(Tensor, layer.running_var) + layer.eps).rsqrt()


def _each(values: Tensor, like: Tensor) -> Tensor:
    """(channels,) beside (n, channels, …)."""
    return values.view(1, -1, *[1] * (like.ndim - 2))


def _slope(layer: _Layer, saved: Tensor) -> Tensor:
    slope = _rate(layer) if layer.weight is None else _rate(layer) * layer.weight
    return _each(slope, saved)


RULE = BatchNorm()
