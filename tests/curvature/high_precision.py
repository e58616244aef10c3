"""The oracle of the Jacobian: the engine's own float64 weights and pre-activations, multiplied in high precision by
python-flint.
"""

from __future__ import annotations

import flint
import numpy as np
import torch
from torch import Tensor, nn

from isosweep.curvature.chain import chain_of
from isosweep.networks.activations import Erf, Sin

# A chaotic network amplifies a change of 1e-15 in h to 1e-8 downstream, so h must be the engine's, not recomputed.


def derivative(module: nn.Module, h: float) -> flint.arb:
    """φ'(h) at the current precision."""
    x = flint.arb(h)
    one = flint.arb(1)
    if isinstance(module, nn.Tanh):
        return one / x.cosh() ** 2
    if isinstance(module, nn.ReLU):
        return flint.arb(int(h > 0))
    if isinstance(module, nn.Hardtanh):
        return flint.arb(int(-1 < h < 1))
    if isinstance(module, nn.LeakyReLU):
        return one if h > 0 else flint.arb(module.negative_slope)
    if isinstance(module, nn.Identity):
        return one
    if isinstance(module, nn.ELU):
        return one if h > 0 else x.exp()
    if isinstance(module, nn.Softplus | nn.SiLU | nn.Sigmoid):
        sigmoid = one / (one + (-x).exp())
        if isinstance(module, nn.Softplus):
            return sigmoid
        if isinstance(module, nn.Sigmoid):
            return sigmoid * (one - sigmoid)
        return sigmoid * (one + x * (one - sigmoid))
    if isinstance(module, nn.GELU):
        density = (-(x**2) / 2).exp() / (2 * flint.arb.pi()).sqrt()
        return (-x / flint.arb(2).sqrt()).erfc() / 2 + x * density
    if isinstance(module, Sin):
        return x.cos()
    scale = one if isinstance(module, Erf) else flint.arb.pi().sqrt() / 2
    return 2 * scale / flint.arb.pi().sqrt() * (-((scale * x) ** 2)).exp()


def log_singular_values(network: nn.Sequential, inputs: Tensor, sample: int, bits: int) -> np.ndarray:
    """ln of the singular values of ∂x^L/∂x^0 at one of the inputs, largest first, computed with `bits` bits."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        with torch.no_grad():
            activations = [h[sample].tolist() for _, h in chain_of(network, inputs).pre_activations(inputs)]
        product, layer = None, -1
        for module in list(network)[:-1]:
            if isinstance(module, nn.Linear):
                layer += 1
                weight = flint.arb_mat(module.weight.detach().tolist())
                product = weight if product is None else weight * product
            else:
                assert product is not None
                slopes = [derivative(module, h) for h in activations[layer]]
                rows = range(product.nrows())
                product = flint.arb_mat([[slopes[i] * product[i, j] for j in range(product.ncols())] for i in rows])
        assert product is not None
        return _log_singular_values(product)
    finally:
        flint.ctx.prec = before


def _log_singular_values(product: flint.arb_mat) -> np.ndarray:
    rows, columns = product.nrows(), product.ncols()
    exact = flint.acb_mat([[flint.acb(product[i, j].mid()) for j in range(columns)] for i in range(rows)])
    gram = exact * exact.transpose() if rows < columns else exact.transpose() * exact
    values = [value.real.mid() for value in gram.eig(algorithm="approx")]
    logs = [float(abs(value).log()) / 2 if value != 0 else -np.inf for value in values]
    return np.sort(logs)[::-1]
