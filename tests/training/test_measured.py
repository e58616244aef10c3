"""What is measured along training, against explicit matrices and fits by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from training_runs import run_of

from isosweep.curvature import fisher
from isosweep.measurement.execute import execute
from isosweep.threads import Workers, single_threaded
from isosweep.training.loop import Training
from isosweep.training.measured import hessian
from isosweep.training.measured.hessian import HessianTooLarge, basis_dimension, hessian_top
from isosweep.training.measured.kernel import alignment, drift, tangent_kernel
from isosweep.training.measured.restarted_lanczos import restarted_lanczos
from isosweep.training.measured.smoothness import SmoothnessPath, fit_smoothness


def network_of(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), activation(), nn.Linear(6, 4), activation(), nn.Linear(4, 3)).double()


def data(samples: int = 12) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(samples, 5, dtype=torch.float64), torch.randint(3, (samples,))


def explicit_hessian(network: nn.Sequential, x: Tensor, y: Tensor, loss: str) -> Tensor:
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    sizes = [p.numel() for p in parameters.values()]

    def value(flat: Tensor) -> Tensor:
        parts = torch.split(flat, sizes)
        own = {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}
        outputs = torch.func.functional_call(network, own, (x,))
        targets = y if y.ndim == 2 else functional.one_hot(y, 3).double()
        if loss == "cross_entropy":
            return -(targets * torch.log_softmax(outputs, dim=1)).sum() / len(x)
        return 0.5 * (outputs - targets).square().sum() / len(x)

    flat = torch.cat([p.flatten() for p in parameters.values()])
    return torch.func.hessian(value)(flat)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU, nn.ReLU])
def test_hessian_against_the_explicit_one(
    activation: type[nn.Module], loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hessian, "SHARD", 5)
    network, (x, y) = network_of(activation), data()
    wanted = torch.linalg.eigvalsh(explicit_hessian(network, x, y, loss)).flip(0)[:4].numpy()
    found = []
    for workers in (1, 3):
        with single_threaded(), torch.no_grad(), Workers(workers) as crew:
            found.append(hessian_top(network, x, y, loss, 4, 0, crew))
    np.testing.assert_allclose(found[0].eigenvalues, wanted, rtol=1e-8)
    assert (np.abs(found[0].eigenvalues - wanted) <= found[0].errors + 1e-12).all()
    np.testing.assert_array_equal(found[0].eigenvalues, found[1].eigenvalues)


@pytest.mark.parametrize("vectors", [20, 27, 60])
def test_in_a_basis_that_must_begin_again(vectors: int) -> None:
    network, (x, y) = network_of(), data()
    size = sum(p.numel() for p in network.parameters())
    assert size > vectors
    wanted = torch.linalg.eigvalsh(explicit_hessian(network, x, y, "cross_entropy")).flip(0)[:4].numpy()
    with single_threaded(), torch.no_grad(), Workers() as crew:
        found = hessian_top(network, x, y, "cross_entropy", 4, 0, crew, budget=vectors * size * 8)
    np.testing.assert_allclose(found.eigenvalues, wanted, rtol=1e-8)
    assert (np.abs(found.eigenvalues - wanted) <= found.errors + 1e-12).all()
    assert (found.errors <= 1e-10 * wanted[0]).all()


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=40, unique=True),
    count=st.integers(1, 4),
    more=st.integers(2, 20),
    products=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_restarted_lanczos_is_within_its_residuals(
    values: list[float], count: int, more: int, products: int, seed: int
) -> None:
    """Converged or not: every Ritz value has an eigenvalue within its residual."""
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    matrix = torch.from_numpy(rotation * np.array(values) @ rotation.T)
    start = torch.from_numpy(np.random.default_rng(seed + 100).standard_normal(len(values)))
    asked = 0

    def product(vector: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return matrix @ vector

    found, errors = restarted_lanczos(product, start, count, count + more, products, 1e-12)
    assert asked <= products
    assert len(found) == len(errors) <= count
    for value, error in zip(found, errors, strict=True):
        assert min(abs(value - v) for v in values) <= error + 1e-11 * max(map(abs, values))


def test_what_does_not_fit_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert basis_dimension(1000, 8, 2) == 120
    assert basis_dimension(1000, 8, 2, budget=50 * 8000) == 50
    with pytest.raises(HessianTooLarge, match=r"18 vectors of all 1,000 parameters.*leave out train.measure.hessian"):
        basis_dimension(1000, 8, 2, budget=17 * 8000)
    monkeypatch.setattr(basis_dimension, "__defaults__", (1,))
    monkeypatch.setattr(Training, "_advance", None)
    with pytest.raises(HessianTooLarge):
        execute(run_of(train__measure={"epochs": [1], "hessian": 2}))


@pytest.mark.parametrize(("loss", "likelihood"), [("cross_entropy", "categorical"), ("squared_error", "gaussian")])
def test_without_residuals_the_hessian_is_the_fisher(loss: str, likelihood: str) -> None:
    """The targets are the network's own: its probabilities, or its outputs."""
    network, (x, _) = network_of(), data()
    with single_threaded(), torch.no_grad(), Workers() as crew:
        outputs = network(x)
        targets = torch.softmax(outputs, dim=1) if loss == "cross_entropy" else outputs
        found = hessian_top(network, x, targets, loss, 5, 0, crew).eigenvalues
        wanted = fisher(network, x, likelihood).eigenvalues[:5].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_tangent_kernel_against_the_explicit_jacobian() -> None:
    network, (x, y) = network_of(), data(6)
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def outputs(values: dict[str, Tensor], sample: Tensor) -> Tensor:
        return torch.func.functional_call(network, values, (sample,))

    jacobian = torch.cat(
        [
            torch.cat([j.flatten(1) for j in torch.func.jacrev(outputs)(parameters, sample).values()], dim=1)[None]
            for sample in x
        ]
    ).detach()  # (n, C, P)
    wanted = torch.einsum("iap,jbp->aibj", jacobian, jacobian)
    with single_threaded(), torch.no_grad(), Workers(2) as crew:
        found = tangent_kernel(network, x, crew)
    torch.testing.assert_close(found.view(3, 6, 3, 6), wanted, rtol=1e-12, atol=1e-13)
    of_inputs = torch.einsum("aiaj->ij", wanted)
    ideal = (y[:, None] == y[None, :]).double() - 1 / 3
    expected = float((of_inputs * ideal).sum() / of_inputs.norm() / ideal.norm())
    assert alignment(found, y, 3) == pytest.approx(expected, rel=1e-12)
    assert drift(found, found) == 0
    assert drift(found * 1.5, found) == pytest.approx(0.5)


def test_a_kernel_of_the_labels_is_aligned_with_them() -> None:
    y = torch.tensor([0, 1, 2, 1, 0])
    ideal = (y[:, None] == y[None, :]).double() - 1 / 3
    kernel = torch.kron(torch.eye(3, dtype=torch.float64), ideal)
    assert alignment(kernel, y, 3) == pytest.approx(1)


def best_on_a_grid(sizes: np.ndarray, ratios: np.ndarray, l0: float, l1: float) -> float:
    return float(((ratios - l0 - l1 * sizes) ** 2).sum())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 10)), min_size=2, max_size=12))
def test_the_fit_is_the_best_of_the_quadrant(pairs: list[tuple[float, float]]) -> None:
    sizes, ratios = np.array(pairs).T
    l0, l1 = (float(v) for v in fit_smoothness(sizes, ratios))
    if np.ptp(sizes) < 1e-6:
        return
    assert l0 >= 0
    assert l1 >= 0
    best = best_on_a_grid(sizes, ratios, l0, l1)
    for a in np.linspace(0, 10, 21):
        for b in np.linspace(0, 10, 21):
            assert best <= best_on_a_grid(sizes, ratios, a, b) * (1 + 1e-9) + 1e-9


def test_a_line_is_fitted_exactly_column_by_column() -> None:
    sizes = np.array([[1.0, 2.0, 1.0], [3.0, 1.0, 1.0], [2.0, 5.0, 1.0]])
    l0, l1 = fit_smoothness(sizes, 0.5 + 2 * sizes)
    np.testing.assert_allclose(l0[:2], 0.5)
    np.testing.assert_allclose(l1[:2], 2)
    assert np.isnan(l0[2])
    assert np.isnan(l1[2])


def test_smoothness_of_a_quadratic_is_its_curvature() -> None:
    """∇²L = 3·I: |Δg| = 3|Δθ| wherever it is measured."""
    path = SmoothnessPath.of(0, 5, torch.device("cpu"))
    torch.manual_seed(0)
    for _ in range(4):
        point, move = torch.randn(2, 5, dtype=torch.float64)
        row = path.add(3 * point, 3 * (point + move), move, Workers())
        assert row["smoothness"] == pytest.approx(3)
        assert row["smoothness_gradient_norm"] == pytest.approx(3 * float(point.norm()))
    whole, quantiles = path.fitted()
    assert whole == pytest.approx({"smoothness_l0": 3, "smoothness_l1": 0}, abs=1e-9)
    assert quantiles.keys() == {"smoothness_l0_quantiles", "smoothness_l1_quantiles"}


def test_a_run_measures_what_the_functions_say() -> None:
    """One plain gradient step of a run, repeated by hand in float64."""
    run = run_of(
        train__optimizer="sgd",
        train__learning_rate=0.5,
        train__dtype="float64",
        train__batch=96,
        train__epochs=1,
        train__measure={"smoothness": 1},
        measure__fisher__samples=96,
    )
    found = execute(run)
    import isosweep

    network, x, y = isosweep.realize(run)

    def gradient() -> Tensor:
        loss = functional.cross_entropy(network(x), y)
        return nn.utils.parameters_to_vector(torch.autograd.grad(loss, list(network.parameters())))

    before = gradient()
    with torch.no_grad():
        flat = nn.utils.parameters_to_vector(network.parameters()) - 0.5 * before
        nn.utils.vector_to_parameters(flat, network.parameters())
    after = gradient()
    first = found.training[0].values
    assert first["gradient_norm"] == pytest.approx(float(before.norm()), rel=1e-10)
    assert first["smoothness"] == pytest.approx(float((after - before).norm() / (0.5 * before).norm()), rel=1e-9)
    assert found.training[-1].values["gradient_norm"] == pytest.approx(float(after.norm()), rel=1e-9)
    assert found.training[-1].values["batch_loss"] == pytest.approx(first["train_loss"], rel=1e-12)
