from __future__ import annotations

import pytest
import torch
from cases import dense_network, samples

from isosweep.curvature import fisher, fisher_spectrum, forward_statistics, jacobian_spectrum

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_fisher_on_the_device(activation: str, dtype: torch.dtype, tolerance: float) -> None:
    network, inputs = dense_network([20, 40, 40, 6], activation), samples(50, 20)
    here = fisher(network, inputs, layers="summary")
    there = fisher(network.to("cuda", dtype), inputs.to("cuda", dtype), layers="summary")
    assert there.eigenvalues.device.type == "cuda"
    assert there.eigenvalues.dtype == torch.float64
    assert float((there.eigenvalues.cpu() - here.eigenvalues).abs().max()) <= tolerance * here.lambda_max
    for name, block in here.blocks.items():
        assert there.blocks[name].lambda_max == pytest.approx(block.lambda_max, rel=10 * tolerance)


def test_jacobian_and_statistics_on_the_device() -> None:
    network, inputs = dense_network([20] * 31 + [6], gain=1.5), samples(4, 20)
    here, statistics = jacobian_spectrum(network, inputs), forward_statistics(network, inputs)
    network, inputs = network.cuda(), inputs.cuda()
    there = jacobian_spectrum(network, inputs)
    torch.testing.assert_close(there.log_singular_values.cpu(), here.log_singular_values, rtol=0, atol=1e-6)
    torch.testing.assert_close(forward_statistics(network, inputs).q.cpu(), statistics.q)


def test_other_ways_on_the_device() -> None:
    network, inputs = dense_network([20, 40, 40, 6]), samples(30, 20)
    exact = fisher_spectrum(network, inputs)
    network, inputs = network.cuda(), inputs.cuda()
    for options in ({"accurate": True}, {"method": "lanczos", "count": 3}, {"eigenvectors": 2}):
        found = fisher(network, inputs, **options).eigenvalues.cpu()  # type: ignore[arg-type]
        assert float((found - exact[: len(found)]).abs().max()) <= 1e-11 * float(exact[0])
