"""An independent library: curvlinops' generalised Gauss-Newton matrix, for both likelihoods the Fisher matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import CASES, Case
from torch import nn

from isosweep.curvature import fisher

curvlinops = pytest.importorskip("curvlinops")

# The operator is applied to every unit vector, so the smaller cases only.
SMALL = [case for case in CASES if case.name not in ("deep", "many outputs", "many samples", "one output")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_spectrum_is_that_of_curvlinops(case: Case, likelihood: str) -> None:
    network, inputs = case.build()
    found = fisher(network, inputs, likelihood)  # type: ignore[arg-type]
    outputs = network(inputs).shape[1]
    if likelihood == "categorical":
        loss, targets, scale = nn.CrossEntropyLoss(), torch.zeros(len(inputs), dtype=torch.int64), 1.0
    else:
        # MSELoss with a sum has the Hessian 2I and no mean over the samples.
        loss, targets = nn.MSELoss(reduction="sum"), torch.zeros(len(inputs), outputs, dtype=torch.float64)
        scale = 0.5 / len(inputs)
    parameters = list(network.parameters())
    operator = curvlinops.GGNLinearOperator(network, loss, parameters, [(inputs, targets)], check_deterministic=False)
    dense = operator.to_scipy() @ np.eye(found.parameters)
    exact = np.linalg.eigvalsh((dense + dense.T) / 2 * scale)[::-1][: len(found.eigenvalues)]
    assert np.abs(found.eigenvalues.numpy() - exact).max() <= 2e-14 * max(found.lambda_max, 1e-300)
