"""Optimizers in float64: against torch, geoopt, and plain loops over single matrices."""

from __future__ import annotations

from typing import Any, get_args

import geoopt  # type: ignore[import-untyped]
import pytest
import torch
from test_manifolds import noise, point
from torch import Tensor, nn
from training_runs import settings_of

from isosweep.sweep.train_schema import OptimizerName
from isosweep.sweep.train_settings import OPTIMIZER_OPTIONS, TrainSettings
from isosweep.threads import Workers
from isosweep.training import parameters
from isosweep.training.manifolds import Manifold, manifold
from isosweep.training.manifolds.manifold import ManifoldError
from isosweep.training.optimizers import optimizer, optimizers
from isosweep.training.optimizers.muon import newton_schulz
from isosweep.training.parameters import Parameters

STEPS = 12


def moments_of(rule: Any, on: Manifold, x: Tensor) -> dict[str, Tensor]:
    component = torch.zeros_like(on.square(x, x))
    return {n: torch.zeros_like(x) if whole else component.clone() for n, whole in rule.moments.items()}


def walked(name: str, x: Tensor, on: str = "euclidean", decay: float = 0.0, **options: Any) -> Tensor:
    """x after `STEPS` steps of rate 0.05 on ½|x − noise|² and a cubic, whose gradients a plain loop can repeat."""
    rule, space = optimizer(settings_of(name, **options)), manifold(on)
    if x.ndim == 3:
        space = space.of_shape(*x.shape[1:])
    x = x.clone()
    moments = moments_of(rule, space, x)
    for count in range(1, STEPS + 1):
        rule.step(x, gradient_at(x, count), moments, space, 0.05, count, decay)
    return x


def gradient_at(x: Tensor, count: int) -> Tensor:
    return x + 0.3 * x.square() - noise(x, 1.0, count)


def by_torch(make: Any, x: Tensor) -> Tensor:
    p = nn.Parameter(x.clone())
    rule = make([p])
    for count in range(1, STEPS + 1):
        p.grad = gradient_at(p.detach(), count)
        rule.step()
    return p.detach()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torchs(momentum: float, decay: float) -> None:
    x = noise(torch.empty(40, dtype=torch.float64), 1.0, 0)
    wanted = by_torch(lambda p: torch.optim.SGD(p, lr=0.05, momentum=momentum, weight_decay=decay), x)
    for name in ("sgd", "riemannian_sgd"):
        torch.testing.assert_close(walked(name, x, momentum=momentum, decay=decay), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("names", "theirs"), [(("adam", "riemannian_adam"), torch.optim.Adam), (("adamw",), torch.optim.AdamW)]
)
def test_adam_is_torchs(names: tuple[str, ...], theirs: Any, decay: float) -> None:
    x = noise(torch.empty(40, dtype=torch.float64), 1.0, 0)
    wanted = by_torch(lambda p: theirs(p, lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=decay), x)
    for name in names:
        found = walked(name, x, beta1=0.8, beta2=0.95, eps=1e-3, decay=decay)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("columns", [5, 8])
@pytest.mark.parametrize("on", ["stiefel", "oblique"])
@pytest.mark.parametrize("name", ["riemannian_adam", "riemannian_sgd"])
def test_riemannian_steps_are_geoopts(name: str, on: str, columns: int) -> None:
    x = point(on, 3, 5, columns)
    theirs = geoopt.EuclideanStiefel() if on == "stiefel" else geoopt.SphereExact()

    def turned(m: Tensor) -> Tensor:
        return m.mT if on == "stiefel" else m

    wanted = []
    for i in range(len(x)):
        p = geoopt.ManifoldParameter(turned(x[i]).clone(), manifold=theirs)
        rule = (
            geoopt.optim.RiemannianAdam([p], lr=0.05, betas=(0.8, 0.95), eps=1e-6)
            if name == "riemannian_adam"
            else geoopt.optim.RiemannianSGD([p], lr=0.05)
        )
        for count in range(1, STEPS + 1):
            whole = x.clone()
            whole[i] = turned(p.detach())
            p.grad = turned(gradient_at(whole, count)[i]).clone()
            rule.step()
        wanted.append(turned(p.detach()))
    options = {"beta1": 0.8, "beta2": 0.95, "eps": 1e-6} if name == "riemannian_adam" else {}
    torch.testing.assert_close(walked(name, x, on, **options), torch.stack(wanted), rtol=1e-11, atol=1e-12)


def test_riemannian_momentum_one_matrix_at_a_time() -> None:
    x = point("stiefel", 3, 5, 8)
    wanted = []
    for i in range(len(x)):
        q, m = x[i].T, torch.zeros(8, 5, dtype=torch.float64)
        for count in range(1, STEPS + 1):
            whole = x.clone()
            whole[i] = q.T
            g = gradient_at(whole, count)[i].T
            m = 0.9 * m + g - q @ (q.T @ g + g.T @ q) / 2
            q, r = torch.linalg.qr(q - 0.05 * m)
            q = q * torch.sign(torch.diagonal(r))
            m = m - q @ (q.T @ m + m.T @ q) / 2
        wanted.append(q.T)
    found = walked("riemannian_sgd", x, "stiefel", momentum=0.9)
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("beta2", [0.0, 0.9])
def test_generalised_sign_sgd(beta2: float) -> None:
    x = noise(torch.empty(30, dtype=torch.float64), 1.0, 0)
    wanted, m, v = x.clone(), torch.zeros_like(x), torch.zeros_like(x)
    for count in range(1, STEPS + 1):
        m = 0.7 * m + 0.3 * (gradient_at(wanted, count) + 0.1 * wanted)
        v = beta2 * v + (1 - beta2) * m**2
        wanted = wanted - 0.05 * m / torch.sqrt(v)
    found = walked("sign_sgd", x, beta1=0.7, beta2=beta2, decay=0.1)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-13)


def test_sign_sgd_where_nothing_pulls() -> None:
    rule, x = optimizer(settings_of("sign_sgd", beta2=0.5)), torch.ones(3)
    moments = moments_of(rule, manifold("euclidean"), x)
    rule.step(x, torch.tensor([0.0, 1.0, torch.nan]), moments, manifold("euclidean"), 0.1, 1, 0.0)
    assert x[0] == 1
    assert x[1] < 1
    assert torch.isnan(x[2])


def one_newton_schulz(matrix: Tensor) -> Tensor:
    x = matrix / (matrix.norm() + 1e-7)
    x = x.T if len(matrix) > len(matrix.T) else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if len(matrix) > len(matrix.T) else x


@pytest.mark.parametrize(("rows", "columns"), [(5, 8), (8, 5), (6, 6)])
def test_muon_one_matrix_at_a_time(rows: int, columns: int) -> None:
    x = noise(torch.empty(3, rows, columns, dtype=torch.float64), 1.0, 0)
    rule, space = optimizer(settings_of("muon", momentum=0.8)).matrices(), manifold("euclidean")
    found, moments = x.clone(), {"momentum": torch.zeros_like(x)}
    wanted, buffer = x.clone(), torch.zeros_like(x)
    for count in range(1, 5):
        g = gradient_at(wanted, count)
        rule.step(found, gradient_at(found, count), moments, space, 0.02, count, 0.1)
        buffer = 0.8 * buffer + g
        update = torch.stack([one_newton_schulz(m) for m in g + 0.8 * buffer])
        wanted = wanted * (1 - 0.02 * 0.1) - 0.02 * max(1.0, rows / columns) ** 0.5 * update
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-13)


def test_newton_schulz_brings_singular_values_near_one() -> None:
    found = torch.linalg.svdvals(newton_schulz(noise(torch.empty(4, 20, 30, dtype=torch.float64), 3.0, 0)))
    assert found.min() > 0.6
    assert found.max() < 1.3


def test_every_optimizer_of_the_sweep_file_is_there() -> None:
    assert set(optimizers()) == set(get_args(OptimizerName)) == set(OPTIMIZER_OPTIONS)
    with pytest.raises(KeyError, match="no optimizer 'lion'"):
        optimizer(TrainSettings(1, 1, "lion", 0.1))


def network_of(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4)
    ).double()
    for module in network:
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight, gain=1.3)
    return network


def stepped(network: nn.Sequential, steps: int, workers: int = 1, **options: Any) -> Parameters:
    """Steps with gradients that are functions of the weights."""
    with Workers(workers) as crew:
        held = Parameters(network, settings_of(**options), crew)
        for count in range(1, steps + 1):
            held.gradient.copy_(gradient_at(held.flat, count))
            held.step(0.5, 0.25)
    return held


@pytest.mark.parametrize("name", sorted(OPTIMIZER_OPTIONS))
def test_a_step_over_all_parameters_does_not_depend_on_workers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "PIECE", 17)
    on = {"manifold": "stiefel", "learning_rate_scale": 0.02} if name.startswith("riemannian") else {}
    found = [stepped(network_of(), 5, workers, optimizer=name, **on) for workers in (1, 3)]
    for key, tensor in found[0].tensors().items():
        assert torch.equal(tensor, found[1].tensors()[key]), key


def test_plain_parameters_in_pieces_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "PIECE", 7)
    network = network_of()
    x = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    held = stepped(network, STEPS, optimizer="adam", learning_rate=0.1, beta1=0.8, beta2=0.95, eps=1e-3)
    p = nn.Parameter(x)
    rule = torch.optim.Adam([p], lr=0.05, betas=(0.8, 0.95), eps=1e-3)
    for count in range(1, STEPS + 1):
        p.grad = 0.25 * gradient_at(p.detach(), count)
        rule.step()
    torch.testing.assert_close(held.flat, p.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(nn.utils.parameters_to_vector(network.parameters()).detach(), p.detach())


@pytest.mark.parametrize("on", ["euclidean", "stiefel", "oblique"])
def test_scale_times_point_by_the_chain_rule(on: str) -> None:
    """Against autograd through scale · X, with plain gradient steps and the penalty."""
    network = network_of()
    omega = 0.3 if on == "oblique" else None
    held = Parameters(
        network,
        settings_of(
            "riemannian_sgd",
            learning_rate=0.01,
            learning_rate_manifold=0.02,
            learning_rate_scale=0.03,
            manifold=on,
            orthogonality_penalty=omega,
        ),
        Workers(),
    )
    (tall, square) = held.stacks
    assert [stack.stack.layers for stack in held.stacks] == [(1,), (2, 3)]
    direction = noise(held.flat, 1.0, 5)
    x, scales = square.x.clone().requires_grad_(), square.scales.clone().requires_grad_()
    loss = ((scales[:, None, None] * x) * square.stack.view(direction)).sum()
    eye = torch.eye(6, dtype=torch.float64)
    penalty = 0.5 * (omega or 0) * (x @ x.mT - eye).square().sum()
    of_x, of_scales = torch.autograd.grad(loss + penalty, [x, scales])
    wanted = x.detach().clone()
    manifold(on).move(wanted, manifold(on).project(x.detach(), of_x), -0.02)
    others = tall.x.double() @ tall.x.double().mT - eye
    assert held.penalty() == pytest.approx(float(penalty.detach()) + 0.5 * (omega or 0) * float(others.square().sum()))
    rest = held.flat[held.layout.rest :] - 0.01 * direction[held.layout.rest :]
    held.gradient.copy_(direction)
    held.step(1.0)
    torch.testing.assert_close(square.x, wanted, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(square.scales, scales.detach() - 0.03 * of_scales, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(network[2].weight.detach(), square.scales[0] * square.x[0])
    torch.testing.assert_close(held.flat[held.layout.rest :], rest, rtol=1e-12, atol=1e-14)


def test_scales_stay_where_their_rate_is_zero_and_never_turn_negative() -> None:
    for rate, wanted in ((0.0, 1.3), (1e6, 0.0)):
        network = network_of()
        held = Parameters(
            network,
            settings_of("riemannian_sgd", manifold="stiefel", learning_rate_manifold=0.1, learning_rate_scale=rate),
            Workers(),
        )
        held.gradient.copy_(held.flat)  # shrinks every scale
        held.step(1.0)
        assert [s for s, _ in held.layer_states().values()] == pytest.approx([wanted] * 3)


@pytest.mark.parametrize("options", [{"manifold": "oblique", "learning_rate_scale": 0.1}, {"optimizer": "muon"}])
def test_only_in_a_plain_chain_do_weights_move_as_matrices(options: dict[str, Any]) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    with pytest.raises(ManifoldError, match="only in a plain chain"):
        Parameters(network, settings_of(**({"optimizer": "riemannian_sgd"} | options)), Workers())
