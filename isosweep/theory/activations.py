"""The activations as functions of theory: φ, φ', φ'', their kinks and symmetries, for numpy arrays, real or complex.

The derivatives keep their digits where the textbook forms lose them: 1 − tanh² is 0 beyond |h| = 19 and has three
digits at 15; here it is 4e^{−2|h|}/(1 + e^{−2|h|})². The same care serves the sigmoid's derivative. Complex arguments
are what the spectral densities are continued with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "Activation", "activation", "custom_activation"]

Function = Callable[[NDArray[Any]], NDArray[Any]]

_SQRT_PI = math.sqrt(math.pi)


@dataclass(frozen=True)
class Activation:
    """An activation φ and what the theory must know of it.

    Attributes:
        name: its name in sweep files; "custom" or the user's word for a user-given function.
        phi, phi_prime, phi_second: φ, φ' and the regular part of φ'', element by element.
        kinks: where φ is not analytic on the real line, in increasing order. Quadrature is split there.
        slope_jumps: φ'(k+) − φ'(k−) at each kink: the weights of φ'' 's delta parts (0 where only a higher derivative
            jumps).
        discontinuities: where φ itself jumps; then E φ'² is infinite and χ, the critical line and the Jacobian's law do
            not exist.
        odd: φ(−x) = −φ(x).
        homogeneous: φ(ax) = aφ(x) for a > 0, so that V is linear in q.
        piecewise_linear: φ'' consists of its delta parts alone.
        analytic: phi_prime and phi_second also take complex arrays (between the kinks), continuing the real function.
        slope_excess: φ'(x) − φ'(0) without cancellation at small x, or None.
        negative_slope: leaky_relu's slope below 0, else None.
    """

    name: str
    phi: Function
    phi_prime: Function
    phi_second: Function
    kinks: tuple[float, ...] = ()
    slope_jumps: tuple[float, ...] = ()
    discontinuities: tuple[float, ...] = ()
    odd: bool = False
    homogeneous: bool = False
    piecewise_linear: bool = False
    analytic: bool = True
    slope_excess: Function | None = None
    negative_slope: float | None = None

    @property
    def label(self) -> str:
        """The name, with the slope where it has one: what error messages and notes say."""
        return self.name if self.negative_slope is None else f"{self.name}({self.negative_slope:g})"

    @property
    def discontinuous(self) -> bool:
        return bool(self.discontinuities)

    def at_zero(self) -> float:
        """φ(0)."""
        return float(self.phi(np.zeros(1))[0])

    def slope_square_at_zero(self) -> float:
        """(φ'(0+)² + φ'(0−)²)/2: the limit of E φ'(√q z)² as q → 0."""
        tiny = np.array([-1e-300, 1e-300])
        return float(np.mean(self.phi_prime(tiny) ** 2))


def _erf(x: NDArray[Any]) -> NDArray[Any]:
    from scipy.special import erf

    result: NDArray[Any] = erf(x)
    return result


def _even_exp(x: NDArray[Any]) -> NDArray[Any]:
    """e^{−2|x|}, with |x| continued off the real line as x·sign(Re x)."""
    result: NDArray[Any] = np.exp(-2 * np.where(x.real < 0, -x, x))
    return result


def _sech_squared(x: NDArray[Any]) -> NDArray[Any]:
    e = _even_exp(x)
    result: NDArray[Any] = 4 * e / (1 + e) ** 2
    return result


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    e = _even_exp(x / 2)
    result: NDArray[Any] = np.where(x.real < 0, e, 1) / (1 + e)
    return result


def _sigmoid_prime(x: NDArray[Any]) -> NDArray[Any]:
    return _sech_squared(x / 2) / 4


def _sigmoid_second(x: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = -_sigmoid_prime(x) * np.tanh(x / 2)
    return result


def _softplus(x: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = np.where(x.real > 0, x, 0) + np.log1p(_even_exp(x / 2))
    return result


def _normal(x: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return result


def _normal_cdf(x: NDArray[Any]) -> NDArray[Any]:
    from scipy.special import erfc

    result: NDArray[Any] = erfc(-x / math.sqrt(2)) / 2
    return result


def _zeros(x: NDArray[Any]) -> NDArray[Any]:
    return np.zeros_like(x)


def _ones(x: NDArray[Any]) -> NDArray[Any]:
    return np.ones_like(x)


def _leaky(name: str, slope: float, shown: float | None) -> Activation:
    return Activation(
        name,
        lambda x: np.where(x.real < 0, slope * x, x),
        lambda x: np.where(x.real < 0, slope, 1.0) + 0 * x,
        _zeros,
        kinks=(0.0,),
        slope_jumps=(1.0 - slope,),
        homogeneous=True,
        piecewise_linear=True,
        odd=slope == 1.0,
        negative_slope=shown,
    )


def _scaled_error_function(name: str, scale: float) -> Activation:
    peak = 2 * scale / _SQRT_PI
    return Activation(
        name,
        lambda x: _erf(scale * x),
        lambda x: peak * np.exp(-((scale * x) ** 2)),
        lambda x: -2 * scale**2 * peak * x * np.exp(-((scale * x) ** 2)),
        odd=True,
        slope_excess=lambda x: peak * np.expm1(-((scale * x) ** 2)),
    )


def _sinusoid() -> Activation:
    return Activation(
        "sin", np.sin, np.cos, lambda x: -np.sin(x), odd=True, slope_excess=lambda x: -2 * np.sin(x / 2) ** 2
    )


def _tanh() -> Activation:
    return Activation(
        "tanh",
        np.tanh,
        _sech_squared,
        lambda x: -2 * np.tanh(x) * _sech_squared(x),
        odd=True,
        slope_excess=lambda x: -(np.tanh(x) ** 2),
    )


def _linear() -> Activation:
    return Activation("linear", lambda x: x, _ones, _zeros, odd=True, homogeneous=True, piecewise_linear=True)


def _hard_tanh() -> Activation:
    return Activation(
        "hard_tanh",
        lambda x: np.clip(x, -1.0, 1.0),
        lambda x: (np.abs(x.real) < 1).astype(float) + 0 * x,
        _zeros,
        kinks=(-1.0, 1.0),
        slope_jumps=(1.0, -1.0),
        odd=True,
        piecewise_linear=True,
    )


def _elu() -> Activation:
    # The slope is continuous at 0; the second derivative falls there from 1 to 0.
    def below(x: NDArray[Any]) -> NDArray[Any]:
        result: NDArray[Any] = np.where(x.real < 0, x, 0)
        return result

    return Activation(
        "elu",
        lambda x: np.where(x.real < 0, np.expm1(below(x)), x),
        lambda x: np.where(x.real < 0, np.exp(below(x)), 1.0),
        lambda x: np.where(x.real < 0, np.exp(below(x)), 0.0),
        kinks=(0.0,),
        slope_jumps=(0.0,),
    )


def _gelu() -> Activation:
    return Activation(
        "gelu",
        lambda x: x * _normal_cdf(x),
        lambda x: _normal_cdf(x) + x * _normal(x),
        lambda x: (2 - x * x) * _normal(x),
    )


def _silu() -> Activation:
    return Activation(
        "silu",
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) + x * _sigmoid_prime(x),
        lambda x: 2 * _sigmoid_prime(x) + x * _sigmoid_second(x),
    )


_MAKERS: dict[str, Callable[[], Activation]] = {
    "linear": _linear,
    "tanh": _tanh,
    "relu": lambda: _leaky("relu", 0.0, None),
    "hard_tanh": _hard_tanh,
    "erf": lambda: _scaled_error_function("erf", 1.0),
    "scaled_erf": lambda: _scaled_error_function("scaled_erf", _SQRT_PI / 2),
    "leaky_relu": lambda: _leaky("leaky_relu", 0.01, 0.01),
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": lambda: Activation("softplus", _softplus, _sigmoid, _sigmoid_prime),
    "sin": _sinusoid,
}

ACTIVATIONS: tuple[str, ...] = tuple(_MAKERS)
"""The names that `activation` knows."""


@lru_cache(maxsize=256)
def activation(name: str, negative_slope: float | None = None) -> Activation:
    """The activation `name`; the same object each time, so that tables computed for it are shared.

    Args:
        name: one of `ACTIVATIONS`. `elu` has α = 1, `gelu` is xΦ(x) exactly, `scaled_erf` is erf(√π x/2).
        negative_slope: leaky_relu's slope below 0 (0.01 if None); refused for the others.

    Raises:
        ValueError: no such activation, or a slope that is given to another one or is not finite.
    """
    if name not in _MAKERS:
        raise ValueError(f"no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
    if negative_slope is None:
        return _MAKERS[name]()
    if name != "leaky_relu":
        raise ValueError(f"negative_slope is leaky_relu's alone, not {name}'s")
    if not math.isfinite(negative_slope):
        raise ValueError(f"negative_slope must be finite, not {negative_slope!r}")
    return _leaky(name, float(negative_slope), float(negative_slope))


def custom_activation(
    phi: Function,
    phi_prime: Function,
    phi_second: Function | None = None,
    *,
    kinks: tuple[float, ...] = (),
    discontinuities: tuple[float, ...] = (),
    odd: bool = False,
    piecewise_linear: bool = False,
    analytic: bool = False,
    name: str = "custom",
) -> Activation:
    """A user-given activation, for theory.

    Args:
        phi, phi_prime: φ and φ', taking and giving numpy arrays of any shape.
        phi_second: the regular part of φ''; by a central difference of `phi_prime` if None.
        kinks: every point where φ or one of its derivatives jumps. One left out costs digits, and is noticed by the
            check that every average of a custom function gets (`QuadratureError`).
        discontinuities: where φ itself jumps.
        analytic: phi_prime and phi_second accept complex arrays; needed for spectral densities only.

    Raises:
        ValueError: kinks that are not finite.
    """
    places = tuple(sorted({float(k) for k in (*kinks, *discontinuities)}))
    if not all(map(math.isfinite, places)):
        raise ValueError(f"kinks must be finite numbers, not {places}")

    def difference(x: NDArray[Any]) -> NDArray[Any]:
        step = 1e-5
        result: NDArray[Any] = (phi_prime(x + step) - phi_prime(x - step)) / (2 * step)
        return result

    def jump(place: float) -> float:
        sides = phi_prime(np.array([np.nextafter(place, -np.inf), np.nextafter(place, np.inf)]))
        size = float(sides[1] - sides[0])
        return 0.0 if abs(size) < 1e-9 else size

    return Activation(
        name,
        phi,
        phi_prime,
        phi_second or difference,
        kinks=places,
        slope_jumps=tuple(jump(k) for k in places),
        discontinuities=tuple(sorted(float(k) for k in discontinuities)),
        odd=odd,
        piecewise_linear=piecewise_linear,
        analytic=analytic and phi_second is not None,
    )
