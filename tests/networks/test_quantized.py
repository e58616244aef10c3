"""Quantised weights and activations: their grids, their least squares, their coarse derivatives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.networks.quantized import QuantizedLinear, QuantizedReLU, quantize_weights


def draw(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=st.integers(0, 10**6), bits=st.integers(1, 8), rows=st.integers(1, 9), columns=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_weights_lie_on_a_grid_of_least_squares(seed: int, bits: int, rows: int, columns: int) -> None:
    weights = draw(seed, (rows, columns))
    found = quantize_weights(weights, bits)
    levels = found.abs().unique()
    most = 1 if bits == 1 else 2 ** (bits - 1) - 1
    step = float(levels[levels > 0].min()) if bits == 1 else float(levels.max()) / most
    if bits > 1 and float(levels.max()) == 0:
        raise AssertionError("all weights vanished")
    # every level is a whole number of steps, and the scale is that of least squares for its levels
    error = weights - found
    assert abs(float((error * found).sum())) <= 1e-12 * float(weights.square().sum())
    if bits == 1:
        assert torch.equal(found.sign(), torch.where(weights < 0, -1.0, 1.0).double())
        assert float(found.abs().max()) == pytest.approx(float(weights.abs().mean()), rel=1e-14)
        assert step > 0
    assert float(error.square().sum()) <= float(weights.square().sum())


def test_more_bits_are_nearer() -> None:
    weights = draw(3, (40, 40))
    errors = [float((weights - quantize_weights(weights, bits)).norm() / weights.norm()) for bits in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx((1 - 2 / torch.pi) ** 0.5, abs=0.03)  # E|w| = √(2/π): Gaussian weights
    assert errors[3] < 0.01


def test_zero_weights_stay_zero() -> None:
    for bits in (1, 2, 8):
        assert torch.equal(quantize_weights(torch.zeros(2, 3), bits), torch.zeros(2, 3))


def test_straight_through() -> None:
    layer = QuantizedLinear(5, 4, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(draw(1, (4, 5)))
    inputs = draw(2, (3, 5)).requires_grad_()
    outputs = layer(inputs)
    torch.testing.assert_close(outputs, inputs @ layer.quantized().T + layer.bias)
    cotangents = draw(4, (3, 4))
    by_weight, by_inputs = torch.autograd.grad(outputs, (layer.weight, inputs), cotangents)
    torch.testing.assert_close(by_weight, cotangents.T @ inputs)
    torch.testing.assert_close(by_inputs, cotangents @ layer.quantized())


def test_activations_lie_on_the_grid() -> None:
    module = QuantizedReLU(2, 1.5)
    h = torch.linspace(-1, 3, 401, dtype=torch.float64, requires_grad=True)
    assert module(h).detach().unique().tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5])
    (slope,) = torch.autograd.grad(module(h).sum(), h)
    assert torch.equal(slope, ((h >= 0) & (h <= 1.5)).double())


@pytest.mark.parametrize("bits", [0, -1, 17, 2.5, True])
def test_bits_that_mean_nothing(bits) -> None:
    for make in (lambda: QuantizedLinear(2, 2, bits), lambda: QuantizedReLU(bits)):
        with pytest.raises(ValueError, match="whole number from 1 to 16"):
            make()
    with pytest.raises(ValueError, match="clip"):
        QuantizedReLU(2, 0.0)
