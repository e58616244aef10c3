"""What mean field predicts of the activations themselves: their size and their correlation, layer by layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from isosweep.curvature.chain import chain_of
from isosweep.threads import single_threaded

__all__ = ["ForwardStatistics", "forward_statistics"]


class ForwardStatistics(NamedTuple):
    """Per dense layer, the readout last.

    Attributes:
        names: "layer1" … "readout".
        q: (layers,) float64, the mean over samples of |h^l|²/N_l: Poole et al. 2016, eq. 3, without the mean over
            networks.
        c: (layers,) float64, the mean over pairs of distinct samples of h_i·h_j/(|h_i||h_j|); NaN with fewer than two
            samples, or where a sample's pre-activations are all zero. Of images h_i are all places' channels.
    """

    names: tuple[str, ...]
    q: Tensor
    c: Tensor


def forward_statistics(network: nn.Module, inputs: Tensor) -> ForwardStatistics:
    """The measured q^l and c^l of the pre-activations h^l of every dense layer.

    Args:
        network: `torch.nn.Sequential` of supported layers.
        inputs: (n, N_0), of the weights' dtype and device.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
    """
    with single_threaded(), torch.no_grad():
        names, q, c = [], [], []
        for name, h in chain_of(network, inputs).pre_activations(inputs):
            h = h.flatten(1).to(torch.float64)
            names.append(name)
            q.append(h.square().mean())
            c.append(_mean_correlation(h))
        return ForwardStatistics(tuple(names), torch.stack(q), torch.stack(c))


def _mean_correlation(h: Tensor) -> Tensor:
    samples = len(h)
    if samples < 2:
        return h.new_full((), torch.nan)
    directions = h / torch.linalg.vector_norm(h, dim=1, keepdim=True)
    # Σ_{i≠j} u_i·u_j = |Σ u_i|² − n.
    total: Tensor = directions.sum(dim=0).square().sum()
    return (total - samples) / (samples * (samples - 1))
