"""Everything that theory says of one network, in the fields of `isosweep predict --json`, with a note for each that it
cannot say.

Runs of a sweep share nearly all of it: fixed points, slope laws, chains of layers and edges are computed once for the
settings they depend on and read off by every run (bounded caches, per process).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from isosweep.theory.activations import Activation
from isosweep.theory.activations import activation as named
from isosweep.theory.critical_line import critical_at_variance
from isosweep.theory.depth_scale import Phase, depth_scales, phase
from isosweep.theory.finite_width import log_growth
from isosweep.theory.fisher_spread import fisher_spread
from isosweep.theory.fisher_sums import measured_fisher
from isosweep.theory.jacobian_law import JacobianLaw, jacobian_edge, jacobian_law, jacobian_variance
from isosweep.theory.karakida import karakida
from isosweep.theory.mean_field import gradient_multiplier, variance_fixed_point, variance_map_slope
from isosweep.theory.network import Init, Likelihood, Network
from isosweep.theory.outlier_split import outlier_split
from isosweep.theory.run_jacobian import layer_variances
from isosweep.theory.slope_law import slope_law
from isosweep.theory.softmax_fisher import softmax_fisher

__all__ = ["FINITE_WIDTH_LIMIT", "SCHEMA_VERSION", "Likelihood", "Network", "Prediction", "predict", "predicted_law"]

SCHEMA_VERSION = 1

FINITE_WIDTH_LIMIT = 0.5
"""The variance of ln‖Ju‖² over seeds above which the wide limit says little of one network: it is L/N times the law's
own spread.
"""


@dataclass(frozen=True)
class Prediction:
    """The predicted numbers; None where theory has none or the number is infinite, with the reason in `notes`.

    Attributes:
        sigma_w, sigma_b: gain and standard deviation of the biases.
        q_star: the fixed point of the pre-activations' variance.
        chi: the gradient multiplier there.
        c_star: the correlation two inputs tend to.
        xi_q, xi_c, xi_grad: depth scales, in layers.
        phase: "ordered", "critical" or "chaotic".
        jacobian_variance: variance of the squared singular values of ∂x^L/∂x^0.
        jacobian_s_max: the largest singular value in the wide limit.
        fisher_mean: mean eigenvalue, Karakida's κ_1 C/M (β_1 κ_1/M for a softmax): over the αM² weights of the wide
            limit.
        fisher_lambda_max: the largest eigenvalue, Karakida's αM[((n−1)/n) κ_2 + κ_1/n] (of the C largest, the mean, for
            a Gaussian likelihood).
        kappa_1, kappa_2: Karakida's layer sums.
        learning_rate_max: 2/λ_max.
        run_fisher_lambda_max, run_fisher_trace: of the matrix that a run measures, in which biases are parameters too
            (`fisher_sums`). They differ from Karakida's by O(1/M), which is much where the signal dies out; a note says
            so above 1 %.
        run_fisher_lambda_max_split: for a Gaussian likelihood the first of the C largest, which split at finite width
            (`outlier_split`); else run_fisher_lambda_max itself.
        run_fisher_lambda_max_spread: the standard deviation over seeds that run_fisher_lambda_max should have at this
            width.
        run_jacobian_variance, run_jacobian_s_max: of the Jacobian at the layers' own variances, from the inputs' mean
            square on, where the two above are the fixed point's. They are the columns' of a run.
        notes: why a field is empty, and under which conditions the others hold.
    """

    sigma_w: float
    sigma_b: float
    q_star: float | None
    chi: float | None
    c_star: float | None
    xi_q: float | None
    xi_c: float | None
    xi_grad: float | None
    phase: Phase | None
    jacobian_variance: float | None
    jacobian_s_max: float | None
    fisher_mean: float | None
    fisher_lambda_max: float | None
    kappa_1: float | None
    kappa_2: float | None
    learning_rate_max: float | None
    run_fisher_lambda_max: float | None
    run_fisher_trace: float | None
    run_fisher_lambda_max_split: float | None
    run_fisher_lambda_max_spread: float | None
    run_jacobian_variance: float | None
    run_jacobian_s_max: float | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a list of notes, no infinities."""
        fields = asdict(self)
        fields["notes"] = list(self.notes)
        return fields


def predict(
    activation: str | Activation,
    *,
    depth: int,
    width: int,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    q_star: float | None = None,
    negative_slope: float | None = None,
    init: Init = "orthogonal",
    samples: int = 100,
    outputs: int = 10,
    inputs: int | None = None,
    input_mean_square: float | Literal["fixed_point"] = 1.0,
    input_correlation: float = 0.0,
    likelihood: Likelihood = "gaussian",
) -> Prediction:
    """Predict one network.

    Args:
        activation: a name of `ACTIVATIONS` (with `negative_slope` for leaky_relu) or an `Activation`.
        sigma_w, sigma_b: the gain, and the biases' standard deviation (0 if None); or else
        q_star: the network on the critical line with this fixed point.
        depth, width: hidden layers and units in each.
        samples, outputs: n and C of the Fisher matrix.
        inputs: input dimension; the width if None.
        input_mean_square: |x|²/N_0; "fixed_point": such that layer 1 starts at q*, as `scale: fixed_point` of a sweep.
        input_correlation: of two inputs.

    Raises:
        ValueError: neither or both of sigma_w and q_star, or a value outside its range; the message says which and why.
        NoCriticalPoint: the critical line has no such point.
    """
    phi = named(activation, negative_slope) if isinstance(activation, str) else activation
    if (sigma_w is None) == (q_star is None):
        raise ValueError(
            "give either the gain (sigma_w, with sigma_b) or q_star, which puts the network on the critical line"
        )
    if q_star is not None:
        if sigma_b is not None:
            raise ValueError("q_star fixes sigma_b: give one of them")
        point = critical_at_variance(phi, float(q_star))
        sigma_w, sigma_b, q_star = point.sigma_w, point.sigma_b, float(q_star)
    assert sigma_w is not None
    sigma_w, sigma_b = float(sigma_w), float(sigma_b or 0.0)
    if input_mean_square == "fixed_point":
        input_mean_square = _at_fixed_point(phi, sigma_w, sigma_b, q_star)
    network = Network(
        phi,
        sigma_w,
        sigma_b,
        depth,
        width,
        init,
        q_star,
        samples,
        outputs,
        inputs,
        float(input_mean_square),
        float(input_correlation),
        likelihood,
    )
    network.check()
    return predict_network(network)


def _at_fixed_point(phi: Activation, sigma_w: float, sigma_b: float, asked: float | None) -> float:
    fixed = variance_fixed_point(phi, sigma_w, sigma_b)
    q = asked if asked is not None else fixed.q_star
    if q is None or not 0 < q < math.inf:
        raise ValueError(f"inputs cannot start at the fixed point: {fixed.explain()}")
    return (q - sigma_b**2) / sigma_w**2


@dataclass(frozen=True)
class _Signal:
    """The part that depends on (φ, σ_w, σ_b, q*) alone; `law_q` is a variance whose slope law holds in every layer, if
    there is one.
    """

    q_star: float | None
    law_q: float | None
    chi: float | None
    c_star: float | None
    xi: tuple[float, float, float]
    phase: Phase | None
    notes: tuple[str, ...]


@lru_cache(maxsize=65536)
def _signal(phi: Activation, sigma_w: float, sigma_b: float, asked: float | None) -> _Signal:
    nothing = (math.nan, math.nan, math.nan)
    if phi.discontinuous:
        note = (
            f"{phi.label} is discontinuous: χ is infinite, and gradients, Jacobian and Fisher matrix have no wide limit"
        )
        fixed = variance_fixed_point(phi, sigma_w, sigma_b)
        q = fixed.q_star if fixed.kind == "point" else None
        return _Signal(q, None, None, None, nothing, None, (note,))
    fixed = variance_fixed_point(phi, sigma_w, sigma_b)
    notes: list[str] = []
    q = asked if asked is not None else fixed.q_star
    if fixed.kind != "point":
        notes.append(f"q*: {fixed.explain()}")
    if phi.homogeneous:
        # φ' and, without biases, the correlation map do not depend on the variance.
        chi = gradient_multiplier(phi, 1.0, sigma_w)
        finite = q if q is not None and math.isfinite(q) else None
        if sigma_b == 0:
            notes.append(
                "c*: every correlation is kept"
                if phi.odd
                else "c*: approached like a power of the depth; ξ_c is infinite"
            )
            slope = variance_map_slope(phi, 1.0, sigma_w)
            scale = math.inf if abs(slope - 1) < 1e-9 else 1 / abs(math.log(slope)) if slope > 0 else 0.0
            grad = math.inf if abs(chi - 1) < 1e-9 else 1 / abs(math.log(chi)) if chi > 0 else 0.0
            c_star = None if phi.odd else 1.0
            return _Signal(finite, 1.0, chi, c_star, (scale, math.inf, grad), phase(chi), tuple(notes))
        if finite is None:
            grad = math.inf if abs(chi - 1) < 1e-9 else 1 / abs(math.log(chi))
            return _Signal(None, 1.0, chi, None, (math.nan, math.nan, grad), phase(chi), tuple(notes))
    if q is None or not math.isfinite(q):
        return _Signal(None, None, None, None, nothing, None, tuple(notes))
    if q == 0:
        chi = gradient_multiplier(phi, 0.0, sigma_w)
        notes.append(
            "q* = 0: χ is its limit; c* is the inputs' own correlation; "
            "the Jacobian's law in the layers before the limit is another one"
        )
        grad = math.inf if abs(chi - 1) < 1e-9 else 1 / abs(math.log(chi)) if chi > 0 else 0.0
        return _Signal(0.0, None, chi, None, (grad, math.inf, grad), phase(chi), tuple(notes))
    scales = depth_scales(phi, q, sigma_w, sigma_b)
    if abs(variance_map_slope(phi, q, sigma_w)) > 1 + 1e-9:
        notes.append(f"q* = {q:g} is unstable: the variance map's slope there is above 1, and deep networks leave it")
    return _Signal(
        q, q, scales.chi, scales.c_star, (scales.xi_q, scales.xi_c, scales.xi_grad), scales.phase, tuple(notes)
    )


def _finite(value: float | None, name: str, notes: list[str]) -> float | None:
    """None for an infinity, which gets a note, or for a NaN, which has one already."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        notes.append(f"{name} is infinite")
        return None
    return value


@lru_cache(maxsize=65536)
def predict_network(network: Network) -> Prediction:
    """`predict` for settings already resolved; what a sweep's runs are sent through."""
    n = network
    signal = _signal(n.activation, n.sigma_w, n.sigma_b, n.q_star)
    notes = list(signal.notes)
    variance = s_max = None
    if signal.law_q is not None:
        try:
            law = slope_law(n.activation, signal.law_q)
            edge = jacobian_edge(n.activation, signal.law_q, n.sigma_w, n.depth, n.init, n.input_ratio)
            s_max = _finite(math.sqrt(edge), "jacobian_s_max", notes)
            variance = _finite(
                jacobian_variance(n.activation, signal.law_q, n.sigma_w, n.depth, n.init, n.input_ratio),
                "jacobian_variance",
                notes,
            )
            spread = log_growth(law, n.width, n.depth, n.sigma_w, n.init).variance
            if spread > FINITE_WIDTH_LIMIT:
                notes.append(
                    f"finite width dominates: ln‖Ju‖² varies by {spread:.3g} over seeds "
                    f"at depth {n.depth} and width {n.width}"
                )
        except (ValueError, OverflowError) as error:
            notes.append(f"Jacobian: {_words(error)}")
    mean = top = kappa_1 = kappa_2 = rate = run_top = run_trace = split = seeds = run_variance = run_s_max = None
    if not n.activation.discontinuous:
        try:
            kappa_1, kappa_2, mean, top, rate = _fisher(n, notes)
            run_top, run_trace, split, seeds = _with_biases(n, top, notes)
        except (ValueError, OverflowError) as error:
            notes.append(f"Fisher: {_words(error)}")
        try:
            run_variance, run_s_max = _along_the_layers(n, s_max, notes)
        except (ValueError, OverflowError) as error:
            notes.append(f"Jacobian: at the layers' own variances: {_words(error)}")
    return Prediction(
        n.sigma_w,
        n.sigma_b,
        signal.q_star,
        signal.chi,
        signal.c_star,
        _finite(signal.xi[0], "xi_q", notes),
        _finite(signal.xi[1], "xi_c", notes),
        _finite(signal.xi[2], "xi_grad", notes),
        signal.phase,
        variance,
        s_max,
        mean,
        top,
        kappa_1,
        kappa_2,
        rate,
        run_top,
        run_trace,
        split,
        seeds,
        run_variance,
        run_s_max,
        tuple(notes),
    )


def _fisher(n: Network, notes: list[str]) -> tuple[float | None, ...]:
    """κ_1, κ_2, mean, λ_max, 2/λ_max."""
    law = karakida(n)
    one = _finite(law.kappa_1, "kappa_1", notes)
    two = _finite(law.kappa_2, "kappa_2", notes)
    if one is None or two is None:
        return one, two, None, None, None
    mean, top = law.mean, law.lambda_max
    if n.likelihood == "categorical":
        if n.outputs < 2:
            raise ValueError("a categorical likelihood needs 2 outputs or more")
        softmax = softmax_fisher(n)
        mean, top = softmax.mean, softmax.lambda_max
    if law.kappa_2 <= 1e-12 * law.kappa_1 and n.samples > 1:
        notes.append(
            "fisher_lambda_max: κ_2 is 0 (odd activation, no biases, uncorrelated inputs): no outlier to predict"
        )
        return one, two, mean, None, None
    if not (math.isfinite(top) and top > 0 and 2 / top < math.inf):
        notes.append("fisher_lambda_max: the softmax is saturated or the gradients vanish below float64")
        return one, two, mean, None, None
    return one, two, mean, top, 2 / top


def _along_the_layers(n: Network, fixed: float | None, notes: list[str]) -> tuple[float | None, float | None]:
    """Variance and s_max at the layers' own variances, with a note where the inputs start away from the fixed point."""
    q = layer_variances(n)
    variance = jacobian_variance(n.activation, q, n.sigma_w, n.depth, n.init, n.input_ratio)
    s_max = math.sqrt(jacobian_edge(n.activation, q, n.sigma_w, n.depth, n.init, n.input_ratio))
    if fixed is not None and abs(s_max - fixed) > 0.01 * fixed:
        notes.append(
            f"jacobian_s_max: the fixed point's; inputs of mean square {n.mean_square:g} start elsewhere, and a "
            "network on them has run_jacobian_s_max"
        )
    return (variance if math.isfinite(variance) else None), (s_max if math.isfinite(s_max) else None)


def _with_biases(n: Network, top: float | None, notes: list[str]) -> tuple[float | None, ...]:
    """λ_max and trace as a run measures them, with a note where they are not what Karakida's weights alone say; the
    first of the C that λ_max stands for, and its standard deviation over seeds.
    """
    found = measured_fisher(n)
    if not found.outlier:
        notes.append("run_fisher_lambda_max: no outlier to predict, the random products of the inputs set it")
        return None, found.trace, None, None
    if top is not None and abs(found.lambda_max - top) > 0.01 * top:
        notes.append(
            "fisher_lambda_max: Karakida's, of the weights alone; with the biases, which a run counts, it is another "
            "(run_fisher_lambda_max)"
        )
    split = found.lambda_max
    if n.likelihood == "gaussian" and n.outputs > 1:
        split *= outlier_split(n).largest
    return found.lambda_max, found.trace, split, math.hypot(found.lambda_max * fisher_spread(n), found.drawn)


def _words(error: Exception) -> str:
    """Python's own OverflowError is a number and a phrase of the C library."""
    return "the numbers leave float64" if len(error.args) != 1 else str(error)


def predicted_law(network: Network, finite_width: bool = False) -> JacobianLaw | None:
    """The Jacobian's whole law at the network's fixed point, density included.

    Args:
        finite_width: for φ' of 0 or 1, let the layers' ranks differ as expected at the network's width.

    Returns:
        the law; None where there is no fixed point to take it at.

    Raises:
        ValueError, NoDensity: as `jacobian_law`.
    """
    signal = _signal(network.activation, network.sigma_w, network.sigma_b, network.q_star)
    if signal.law_q is None:
        return None
    return jacobian_law(
        network.activation,
        signal.law_q,
        network.sigma_w,
        network.depth,
        network.init,
        network.input_ratio,
        network.width if finite_width else None,
    )
