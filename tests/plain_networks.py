"""Networks by plain numpy, beside which the theory is tested without the engine."""

from __future__ import annotations

import math

import numpy as np

from isosweep.theory.network import Network


def largest_eigenvalues(network: Network, seed: int) -> np.ndarray:
    """The C largest eigenvalues of the dual Fisher matrix of a network, by plain numpy, biases counted."""
    n, rng = network, np.random.default_rng(seed)
    x = rng.standard_normal((n.samples, n.width)) * math.sqrt(n.mean_square)
    weights, forward, slopes = [], [x], []
    for units in [n.width] * n.depth + [n.outputs]:
        a = rng.standard_normal((units, n.width))
        if n.init == "orthogonal":
            o, r = np.linalg.qr(a.T)
            w = n.sigma_w * (o * np.sign(np.diag(r))).T
        else:
            w = n.sigma_w * a / math.sqrt(n.width)
        h = forward[-1] @ w.T + n.sigma_b * rng.standard_normal(units)
        weights.append(w)
        forward.append(n.activation.phi(h))
        slopes.append(n.activation.phi_prime(h))
    back = np.broadcast_to(np.eye(n.outputs), (n.samples, n.outputs, n.outputs))
    dual = np.zeros((n.samples * n.outputs,) * 2)
    for layer in reversed(range(n.depth + 1)):
        flat = back.reshape(n.samples * n.outputs, -1)
        products = forward[layer] @ forward[layer].T + 1
        dual += np.kron(products, np.ones((n.outputs, n.outputs))) * (flat @ flat.T)
        if layer:
            back = (back @ weights[layer]) * slopes[layer - 1][:, None, :]
    return np.linalg.eigvalsh(dual)[::-1][: n.outputs]
