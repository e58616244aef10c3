"""The Hessian's products by several threads: none sees another's parameters."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

from isosweep.threads import Workers, single_threaded
from isosweep.training.measured.hessian import hessian_top


def test_bits_do_not_depend_on_the_workers() -> None:
    torch.manual_seed(1)
    layers = [module for _ in range(6) for module in (nn.Linear(20, 20), nn.Tanh())]
    network = nn.Sequential(*layers, nn.Linear(20, 4)).double()
    inputs, labels = torch.randn(700, 20, dtype=torch.float64), torch.randint(4, (700,))
    found = []
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns between any two lines
    try:
        for count in (1, 4, 4):
            with single_threaded(), torch.no_grad(), Workers(count) as crew:
                found.append(hessian_top(network, inputs, labels, "cross_entropy", 2, 3, crew))
    finally:
        sys.setswitchinterval(usual)
    for other in found[1:]:
        assert np.array_equal(found[0].eigenvalues, other.eigenvalues)
        assert np.array_equal(found[0].errors, other.errors)
