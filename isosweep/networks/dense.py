"""The dense network of a run: L hidden layers and a linear readout, as a plain `torch.nn.Sequential`."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from isosweep.sweep.settings import NetworkSettings

from .activations import activation_module
from .initializations import INITIALIZATIONS, standard_biases

__all__ = ["dense_network"]


def _affine(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> nn.Linear:
    # on "meta" nothing is drawn from torch's global generator
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta", dtype=dtype)
    layer.weight = nn.Parameter(weight.to(dtype))
    layer.bias = nn.Parameter(bias.to(dtype))
    return layer


def dense_network(
    settings: NetworkSettings, inputs: int, classes: int, seed: int, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """The network, on the CPU: modules named layer1, phi1, …, layerL, phiL, readout.

    Weights are drawn in float64 by (seed, purpose, layer), multiplied by the gain, then rounded to `dtype`; the readout
    is drawn like any layer. Without `init` (a checkpoint follows) all weights are 0.
    """
    widths = [inputs] + [settings.width] * settings.depth + [classes]
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for layer, (columns, rows) in enumerate(pairwise(widths), start=1):
        if settings.init is None or settings.gain is None:
            weight, bias = torch.from_numpy(np.zeros((rows, columns))), torch.from_numpy(np.zeros(rows))
        else:
            weight = settings.gain * INITIALIZATIONS[settings.init](seed, layer, rows, columns)
            bias = (settings.bias_std or 0.0) * standard_biases(seed, layer, rows)
        last = layer == len(widths) - 1
        modules["readout" if last else f"layer{layer}"] = _affine(weight, bias, dtype)
        if not last:
            modules[f"phi{layer}"] = activation_module(settings.activation, settings.negative_slope)
    return nn.Sequential(modules)
