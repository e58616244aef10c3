from __future__ import annotations

import math

import pytest
import torch
from cases import CASES, Case, dense_network, samples
from explicit_jacobian import parameter_jacobian, selected, symmetric_root

from isosweep.curvature import fisher
from isosweep.curvature.chain import chain_of
from isosweep.curvature.lanczos import krylov
from isosweep.curvature.output_weights import output_weights
from isosweep.curvature.weighted_jacobian import WeightedJacobian
from isosweep.threads import Workers

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cases
@pytest.mark.parametrize("parameters", ["all", "weights"])
@pytest.mark.parametrize("centred", [False, True])
def test_products_with_the_weighted_jacobian(case: Case, parameters: str, centred: bool) -> None:
    network, inputs = case.build()
    jacobian = parameter_jacobian(network, inputs)
    dense = torch.cat([j for name, j in jacobian.items() if selected(name, parameters)], dim=2)
    if centred:
        dense = dense - dense.mean(dim=0)
    with torch.no_grad():
        chain = chain_of(network, inputs)
        trace = chain.forward(inputs)
        weights = output_weights(trace.outputs, "categorical", "true", None, centred)
        operator = WeightedJacobian(chain, trace, weights, parameters, Workers())  # type: ignore[arg-type]
        rows = torch.einsum("knc,ncp->knp", weights.vectors, dense).flatten(0, 1)
        assert (operator.rows, operator.columns) == rows.shape
        v, u = samples(operator.columns, 1)[:, 0], samples(3, max(1, operator.rows))[:, : operator.rows]
        close = {"rtol": 1e-10, "atol": 1e-11 * max(1.0, float(dense.abs().max()) * math.sqrt(dense.numel()))}
        torch.testing.assert_close(operator.times(v), rows @ v, **close)
        torch.testing.assert_close(operator.transposed_times(u), u @ rows, **close)
        root = symmetric_root(network(inputs), "categorical") / math.sqrt(len(inputs))
        symmetric = (root.mT @ dense).flatten(0, 1)
        torch.testing.assert_close(operator.fisher_times(v), symmetric.T @ (symmetric @ v), **close)


@cases
@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_leading_eigenvalues_and_their_errors(case: Case, likelihood: str) -> None:
    network, inputs = case.build()
    dual = fisher(network, inputs, likelihood)
    found = fisher(network, inputs, likelihood, method="lanczos", count=4)
    if dual.eigenvalues.numel() == 0:
        return
    assert found.method == "lanczos"
    assert found.errors is not None
    assert found.trace == pytest.approx(dual.trace, rel=1e-12)
    for value, error in zip(found.eigenvalues, found.errors, strict=True):
        assert float((dual.eigenvalues - value).abs().min()) <= float(error) + dual.abs_error
    assert found.lambda_max == pytest.approx(dual.lambda_max, rel=1e-12)


@pytest.mark.parametrize("centred", [False, True])
def test_density(centred: bool) -> None:
    network, inputs = dense_network([12, 20, 20, 6]), samples(40, 12)
    dual = fisher(network, inputs, centred=centred)
    found = fisher(network, inputs, method="lanczos", probes=24, steps=40, centred=centred)
    assert found.density is not None
    for measured, exact in [
        (found.density.expectation(lambda x: x), dual.trace),
        (found.density.expectation(torch.square), dual.frobenius**2),
        (found.density.count_above(0.01 * dual.lambda_max), int((dual.eigenvalues > 0.01 * dual.lambda_max).sum())),
        (found.density.expectation(lambda x: x / (x + 0.1)), dual.effective_dimension(0.1)),
    ]:
        value, error = measured
        assert abs(value - exact) <= 5 * error + 1e-9 * abs(exact)
        assert error < 0.3 * abs(exact)
    assert found.frobenius == pytest.approx(dual.frobenius, rel=0.2)


def test_primal_space_where_it_is_smaller() -> None:
    network, inputs = dense_network([3, 4, 10]), samples(60, 3)
    dual = fisher(network, inputs)
    found = fisher(network, inputs, method="lanczos", count=5, probes=8)
    assert found.parameters == 66 < 540
    torch.testing.assert_close(found.eigenvalues, dual.eigenvalues[:5], rtol=1e-9, atol=0.0)
    assert found.density is not None
    assert found.density.dimension == 66


def test_krylov_basis_stays_orthonormal() -> None:
    """Without re-orthogonalisation the basis of a matrix with one large eigenvalue loses all of it within 30 steps."""
    spectrum = torch.logspace(-12, 0, 300, dtype=torch.float64)
    space = krylov(lambda v: spectrum * v, torch.ones(300, dtype=torch.float64), 120)
    basis = space.basis[: len(space.values)]
    assert float((basis @ basis.T - torch.eye(len(basis))).abs().max()) < 1e-13
    assert float(space.values.sum()) <= float(spectrum.sum()) * (1 + 1e-12)


def test_invariant_space_ends_early() -> None:
    values = torch.tensor([3.0, 3.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    space = krylov(lambda v: values * v, torch.ones(5, dtype=torch.float64), 5)
    assert len(space.values) == 3
    assert space.values.tolist() == pytest.approx([0.0, 1.0, 3.0], abs=1e-14)
