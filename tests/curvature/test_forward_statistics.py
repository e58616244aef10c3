from __future__ import annotations

import pytest
import torch
from cases import dense_network, samples

from isosweep.curvature import forward_statistics


def test_q_and_c_by_their_definitions() -> None:
    network, inputs = dense_network([6, 8, 7, 4], "tanh"), samples(300, 6)
    found = forward_statistics(network, inputs)
    assert found.names == ("layer1", "layer2", "readout")
    x = inputs
    with torch.no_grad():
        for layer, module in enumerate(network):
            x = module(x)
            if layer % 2 == 0:
                norms = x.norm(dim=1)
                cosines = (x @ x.T) / norms[:, None] / norms
                pairs = cosines[~torch.eye(300, dtype=torch.bool)]
                assert float(found.q[layer // 2]) == pytest.approx(float((norms**2 / x.shape[1]).mean()))
                assert float(found.c[layer // 2]) == pytest.approx(float(pairs.mean()), abs=1e-13)


def test_one_sample_has_no_correlation() -> None:
    found = forward_statistics(dense_network([6, 8, 4]), samples(1, 6))
    assert bool(found.c.isnan().all())
    assert bool(found.q.isfinite().all())
