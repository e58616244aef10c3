"""Networks beyond the plain dense one, from their settings: chains, residual blocks and convolutions, with their
variants.

Weights are drawn by the same generators as a dense network's, layer by layer; a block's layer is layer l of the
network.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from isosweep.networks.activations import activation_module
from isosweep.networks.convolutional import KERNELS, convolution
from isosweep.networks.initializations import INITIALIZATIONS, standard_biases
from isosweep.networks.quantized import QuantizedLinear, QuantizedReLU
from isosweep.networks.residual import Residual
from isosweep.networks.scaled import ScaledLinear
from isosweep.sweep.architecture_settings import ArchitectureSettings
from isosweep.sweep.settings import NetworkSettings

__all__ = ["network_of_architecture"]


class _Draws:
    """The layers of one network, drawn by seed and layer."""

    def __init__(self, settings: NetworkSettings, shape: ArchitectureSettings, seed: int, dtype: torch.dtype) -> None:
        self.settings, self.shape, self.seed, self.dtype = settings, shape, seed, dtype
        # where a checkpoint follows, all weights are 0
        self.gain = settings.gain or 0.0
        self.init = settings.init or "gaussian"

    def bias(self, layer: int, units: int) -> Tensor | None:
        if not self.shape.biases:
            return None
        return (self.settings.bias_std or 0.0) * standard_biases(self.seed, layer, units)

    def dense(self, layer: int, rows: int, columns: int, *, readout: bool = False) -> nn.Linear:
        shape = self.shape
        gain = self.gain * (shape.readout_scale if readout else 1.0)
        weight = INITIALIZATIONS[self.init](self.seed, layer, rows, columns)  # mean square 1/columns
        bias = self.bias(layer, rows)
        made: nn.Linear
        if shape.parametrization == "standard":
            if shape.weight_bits is not None and not readout:
                made = QuantizedLinear(columns, rows, shape.weight_bits, bias is not None, "meta", self.dtype)
            else:
                made = nn.Linear(columns, rows, bias is not None, "meta", self.dtype)
            weight = gain * weight
        else:
            weight_factor, bias_factor, weight = self._parametrized(weight, gain, layer, columns, readout)
            if bias is not None and shape.parametrization == "ntk":
                bias = standard_biases(self.seed, layer, rows)
            elif bias is not None:
                bias = bias / bias_factor
            made = ScaledLinear(columns, rows, weight_factor, bias_factor, bias is not None, "meta", self.dtype)
        made.weight = nn.Parameter(weight.to(self.dtype))
        if bias is not None:
            made.bias = nn.Parameter(bias.to(self.dtype))
        return made

    def _parametrized(
        self, weight: Tensor, gain: float, layer: int, columns: int, readout: bool
    ) -> tuple[float, float, Tensor]:
        """(a, c, W) of `isosweep.networks.scaled`, for a draw of mean square 1/columns."""
        if self.shape.parametrization == "ntk":
            return gain / math.sqrt(columns), self.settings.bias_std or 0.0, weight * math.sqrt(columns)
        width = math.sqrt(self.settings.width)
        if readout:
            return 1 / width, 1.0, gain * weight
        if layer == 1:
            return width, width, gain * weight / width
        return 1.0, 1.0, gain * weight

    def convolution(self, layer: int, rows: int, columns: int) -> nn.Conv2d:
        kernel = self.gain * KERNELS[self.init](self.seed, layer, rows, columns, self.shape.kernel)
        return convolution(kernel, self.bias(layer, rows), self.shape.padding, self.dtype)

    def activation(self) -> nn.Module:
        shape = self.shape
        if shape.activation_bits is not None:
            return QuantizedReLU(shape.activation_bits, shape.activation_clip)
        return activation_module(self.settings.activation, self.settings.negative_slope)

    def normalization(self, width: int) -> list[nn.Module]:
        kind = self.shape.normalization
        if kind == "none":
            return []
        if kind == "batch":
            norm = nn.BatchNorm2d if self.shape.kind == "convolutional" else nn.BatchNorm1d
            return [norm(width, dtype=self.dtype)]
        return [{"layer": nn.LayerNorm, "rms": nn.RMSNorm}[kind](width, dtype=self.dtype)]


def network_of_architecture(
    settings: NetworkSettings, inputs: int, classes: int, seed: int, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """The network, on the CPU, in evaluation mode; `freeze_batch_statistics` gives BatchNorm layers a batch's.

    Args:
        settings: with an `architecture`.
    """
    shape = settings.architecture
    assert shape is not None
    draws = _Draws(settings, shape, seed, dtype)
    if shape.kind == "convolutional":
        network = _convolutional(draws, classes)
    elif shape.kind == "residual":
        network = _residual(draws, inputs, classes)
    else:
        network = _chain(draws, inputs, classes)
    return network.eval()


def _chain(draws: _Draws, inputs: int, classes: int) -> nn.Sequential:
    settings, shape = draws.settings, draws.shape
    widths = [inputs, *(shape.widths or [settings.width] * settings.depth)]
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    shared: nn.Linear | None = None
    for layer, (columns, rows) in enumerate(pairwise(widths), start=1):
        made = draws.dense(layer, rows, columns) if shared is None else shared
        if shape.tied and layer > 1:
            shared = made
        modules[f"layer{layer}"] = made
        modules |= {f"norm{layer}": norm for norm in draws.normalization(rows)}
        modules[f"phi{layer}"] = draws.activation()
    modules["readout"] = draws.dense(settings.depth + 1, classes, widths[-1], readout=True)
    return nn.Sequential(modules)


def _residual(draws: _Draws, inputs: int, classes: int) -> nn.Sequential:
    settings, shape = draws.settings, draws.shape
    width = settings.width
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["layer1"] = draws.dense(1, width, inputs)
    modules["phi1"] = draws.activation()
    shared: nn.Sequential | None = None
    for layer in range(2, settings.depth + 1):
        if shared is None:
            before = draws.normalization(width) if shape.position == "pre" else []
            branch = nn.Sequential(*before, draws.dense(layer, width, width), draws.activation())
            shared = branch if shape.tied else None
        else:
            branch = shared
        modules[f"block{layer}"] = Residual(branch, shape.time_step, shape.scheme, shape.block_steps)
        if shape.position == "post":
            modules |= {f"norm{layer}": norm for norm in draws.normalization(width)}
    modules["readout"] = draws.dense(settings.depth + 1, classes, width, readout=True)
    return nn.Sequential(modules)


def _convolutional(draws: _Draws, classes: int) -> nn.Sequential:
    settings, shape = draws.settings, draws.shape
    assert shape.image is not None
    channels = shape.image[0]
    modules: OrderedDict[str, nn.Module] = OrderedDict(image=nn.Unflatten(1, shape.image))
    shared: nn.Conv2d | None = None
    for layer in range(1, settings.depth + 1):
        made = draws.convolution(layer, settings.width, channels) if shared is None else shared
        if shape.tied and layer > 1:
            shared = made
        modules[f"layer{layer}"] = made
        modules |= {f"norm{layer}": norm for norm in draws.normalization(settings.width)}
        modules[f"phi{layer}"] = draws.activation()
        channels = settings.width
    modules["pool"] = nn.AdaptiveAvgPool2d(1)
    modules["flatten"] = nn.Flatten()
    modules["readout"] = draws.dense(settings.depth + 1, classes, channels, readout=True)
    return nn.Sequential(modules)
