"""The `theory_*` columns of a run, beside its measurements: a number where theory applies, and in `theory_note` the
reason where it does not.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from isosweep.theory.activations import Activation
from isosweep.theory.architecture import PLAIN, Architecture
from isosweep.theory.finite_width import log_growth
from isosweep.theory.fisher_spread import fisher_spread
from isosweep.theory.fisher_sums import measured_fisher
from isosweep.theory.jacobian_law import jacobian_edge, jacobian_variance
from isosweep.theory.network import Network
from isosweep.theory.outlier_split import outlier_split
from isosweep.theory.predict import FINITE_WIDTH_LIMIT, predict_network
from isosweep.theory.propagation import propagate
from isosweep.theory.residual import propagate_residual, residual_growth_variance
from isosweep.theory.run_jacobian import expected_zero_mass, layer_variances, leaves_fixed_point, log_variance
from isosweep.theory.slope_law import slope_law
from isosweep.theory.uneven_widths import uneven_edge, uneven_growth_variance, uneven_mean, uneven_variance

__all__ = ["COLUMNS", "residual", "theory_columns"]

COLUMNS = (
    "theory_q_star",
    "theory_chi",
    "theory_c_star",
    "theory_xi_q",
    "theory_xi_c",
    "theory_xi_grad",
    "theory_phase",
    "theory_jacobian_mean",
    "theory_jacobian_variance",
    "theory_jacobian_s_max",
    "theory_jacobian_zero_mass",
    "theory_fisher_trace",
    "theory_fisher_lambda_max",
    "theory_fisher_lambda_max_split",
    "theory_fisher_lambda_max_spread",
    "theory_kappa_1",
    "theory_kappa_2",
    "theory_learning_rate_max",
    "theory_note",
)
"""Every column, in order; all are floats but `theory_phase` and `theory_note`."""


@lru_cache(maxsize=65536)
def theory_columns(network: Network, architecture: Architecture = PLAIN) -> dict[str, float | str | None]:
    """One run's columns. The dictionary is shared by all runs of these settings: copy before changing it.

    Args:
        network: σ_w and σ_b as the run uses them, `q_star` of a run put on the critical line by q* (else None), n and C
            of the measured Fisher matrix, mean |x|²/N_0 of the inputs after the data's scale, and the mean correlation
            of two of them.
        architecture: how it differs from the plain chain of dense layers.

    Raises:
        ValueError: settings outside their range.
    """
    row: dict[str, float | str | None] = dict.fromkeys(COLUMNS)
    if network.init not in ("orthogonal", "gaussian"):
        row["theory_note"] = f"no theory for init {network.init}"
        return row
    network.check_counts()
    fill = _chain if architecture.time_step is None else _residual_network
    try:
        reasons = fill(row, network, architecture)
    except (ValueError, OverflowError) as error:
        reasons = [str(error)]
    row["theory_note"] = "; ".join(dict.fromkeys(reasons)) or None
    return row


def _chain(row: dict[str, float | str | None], network: Network, architecture: Architecture) -> list[str]:
    """Fill the columns of a chain of layers; the reasons for those left empty."""
    phi, gain, depth, width = network.activation, network.sigma_w, network.depth, network.width
    p = predict_network(network)
    # The columns have the run's own laws, and their own reasons for them.
    theirs = "fisher_", "run_fisher_", "jacobian_", "Jacobian", "finite width"
    reasons = [note for note in p.notes if not note.startswith(theirs)]
    for name in ("q_star", "chi", "c_star", "xi_q", "xi_c", "xi_grad", "phase"):
        row[f"theory_{name}"] = getattr(p, name)
    if architecture == PLAIN:
        row |= {"theory_kappa_1": p.kappa_1, "theory_kappa_2": p.kappa_2}
    else:
        reasons.append("κ: those of the plain dense network (Karakida), another one's are in its trace and λ_max")
    try:
        signal = propagate(phi, gain, network.sigma_b, depth, network.mean_square, network.correlation)
    except (ValueError, OverflowError) as error:
        return [*reasons, str(error)]
    if architecture.images:
        return reasons + _images(row, network)
    last = width if architecture.widths is None else architecture.widths[-1]
    logs = np.log(np.maximum(gain**2 * signal.slope, 1e-300))
    with np.errstate(over="ignore"):
        mean = float(np.exp(logs.sum())) * max(1.0, last / network.input_dimension)
    row["theory_jacobian_mean"] = mean if math.isfinite(mean) else None
    try:
        jacobian = _jacobian(row, network) if architecture.widths is None else _uneven(row, network, architecture)
        reasons += jacobian
    except (ValueError, OverflowError) as error:
        reasons.append(f"Jacobian: {error}")
    q = 1.0 if phi.homogeneous else p.q_star
    narrowest = width if architecture.widths is None else min(architecture.widths)
    per_layer = _variance_per_layer(phi, q, narrowest, gain, network.init)
    try:
        reasons += _fisher(row, network, per_layer, architecture)
    except (ValueError, OverflowError) as error:
        reasons.append(f"Fisher: {error}")
    return reasons


def _images(row: dict[str, float | str | None], n: Network) -> list[str]:
    """Fill what is known of convolutions (`theory.convolutional`), place by place; the reasons for the rest."""
    reasons = [
        "Fisher: the readout reads the mean over all places, whose products with each other theory does not follow"
    ]
    if n.init != "orthogonal":
        return [*reasons, "Jacobian: the law is that of delta-orthogonal kernels; gaussian ones mix the places"]
    if not n.activation.homogeneous:
        return [
            *reasons,
            "Jacobian: the places of an image start at variances of their own; at the fixed point its law is that of "
            "the dense network of as many units as there are channels",
        ]
    logs = n.depth * math.log(max(n.sigma_w**2 * slope_law(n.activation, 1.0).moments[0], 1e-300))
    row["theory_jacobian_mean"] = math.exp(logs) * max(1.0, n.width / n.input_dimension) if logs < 700 else None
    try:
        return reasons + _jacobian(row, n)
    except (ValueError, OverflowError) as error:
        return [*reasons, f"Jacobian: {error}"]


def _residual_network(row: dict[str, float | str | None], n: Network, architecture: Architecture) -> list[str]:
    """Fill the columns of a residual network by Euler steps; the reasons for those left empty."""
    step = architecture.time_step
    assert step is not None
    reasons = ["q*, χ, c*, ξ: the variance of a residual network grows with depth, there is no fixed point"]
    signal = propagate_residual(n.activation, n.sigma_w, n.sigma_b, n.depth, n.mean_square, n.correlation, step)
    if n.activation.odd:
        logs = float(signal.log_jacobian[-1])
        if logs < 700:
            row["theory_jacobian_mean"] = math.exp(logs) * max(1.0, n.width / n.input_dimension)
        reasons.append("Jacobian: of residual blocks the mean alone, not the law's variance and edge")
    else:
        reasons.append(
            f"Jacobian: {n.activation.label} is not odd, so that one singular value grows with |x| and rules the mean"
        )
    spread = residual_growth_variance(n.activation, signal, n.sigma_w, n.width, step, n.init)
    if spread > FINITE_WIDTH_LIMIT:
        return [*reasons, f"finite width dominates: ln‖Ju‖² varies by {spread:.3g} over seeds"]
    return reasons + _fisher(row, n, 0.0, architecture)


def _uneven(row: dict[str, float | str | None], n: Network, architecture: Architecture) -> list[str]:
    """`_jacobian` where every layer has a width of its own."""
    signal = propagate(n.activation, n.sigma_w, n.sigma_b, n.depth, n.mean_square, n.correlation)
    variances = (1.0,) * n.depth if n.activation.homogeneous else tuple(signal.q[: n.depth].tolist())
    assert architecture.widths is not None
    widths = (n.input_dimension, *architecture.widths)
    spread = uneven_growth_variance(n.activation, variances, widths, n.init)
    if spread > FINITE_WIDTH_LIMIT:
        return [f"finite width dominates: ln‖Ju‖² varies by {spread:.3g} over seeds at these widths"]
    mean = uneven_mean(n.activation, variances, n.sigma_w, widths)
    variance = uneven_variance(n.activation, variances, n.sigma_w, widths, n.init)
    top = uneven_edge(n.activation, variances, n.sigma_w, widths, n.init)
    row["theory_jacobian_mean"] = mean if math.isfinite(mean) else None
    row["theory_jacobian_variance"] = variance if math.isfinite(variance) else None
    row["theory_jacobian_s_max"] = math.sqrt(top) if math.isfinite(top) else None
    return ["jacobian_zero_mass: known of one width alone"]


def _jacobian(row: dict[str, float | str | None], n: Network) -> list[str]:
    """Fill the columns of the Jacobian's law at the layers' own variances; the reasons for those left empty."""
    row["theory_jacobian_zero_mass"] = expected_zero_mass(n)
    spread = log_variance(n)
    if spread > FINITE_WIDTH_LIMIT:
        return [
            f"finite width dominates: ln‖Ju‖² varies by {spread:.3g} over seeds at depth {n.depth} and width {n.width}"
        ]
    if leaves_fixed_point(n):
        return ["Jacobian: its layers are at an unstable fixed point, which a network of finite width leaves"]
    q = layer_variances(n)
    variance = jacobian_variance(n.activation, q, n.sigma_w, n.depth, n.init, n.input_ratio)
    top = jacobian_edge(n.activation, q, n.sigma_w, n.depth, n.init, n.input_ratio)
    row["theory_jacobian_variance"] = variance if math.isfinite(variance) else None
    row["theory_jacobian_s_max"] = math.sqrt(top) if math.isfinite(top) else None
    return []


def _variance_per_layer(phi: Activation, q: float | None, width: int, gain: float, init: str) -> float:
    """How much each layer adds to the variance of ln‖Ju‖² over seeds, at the fixed point; weights alone at q* = 0."""
    if q:
        return log_growth(slope_law(phi, q), width, 1, gain, init).variance
    return 2 / width if init == "gaussian" else 0.0


def _fisher(row: dict[str, float | str | None], n: Network, per_layer: float, architecture: Architecture) -> list[str]:
    """Fill the Fisher matrix's columns, biases counted as in the measurement; the reasons for those left empty."""
    found = measured_fisher(n, architecture)
    spread = per_layer * found.reach
    if spread > FINITE_WIDTH_LIMIT:
        return [f"Fisher: finite width dominates, the logarithm of its sums varies by {spread:.3g} over seeds"]
    row["theory_fisher_trace"] = found.trace
    if not found.outlier:
        return ["fisher_lambda_max: no outlier to predict, the random products of the inputs set it"]
    if not found.lambda_max > 1e-300:
        return ["fisher_lambda_max: the softmax is saturated or the gradients vanish below float64"]
    row["theory_fisher_lambda_max"] = found.lambda_max
    row["theory_learning_rate_max"] = 2 / found.lambda_max
    if architecture == PLAIN:
        row["theory_fisher_lambda_max_spread"] = math.hypot(found.lambda_max * fisher_spread(n), found.drawn)
    if n.likelihood == "gaussian" and n.outputs > 1:
        if architecture == PLAIN:
            row["theory_fisher_lambda_max_split"] = found.lambda_max * outlier_split(n).largest
        return [
            "fisher_lambda_max: C-fold in the wide limit; at finite width the C split: this is their mean, "
            "fisher_lambda_max_split the first of them"
        ]
    row["theory_fisher_lambda_max_split"] = found.lambda_max
    return []


def residual(measured: ArrayLike, predicted: float | None) -> float | None:
    """(mean over seeds − prediction) in units of the spread over seeds; None with fewer than two seeds, no prediction,
    or no spread.
    """
    values = np.asarray(measured, float)
    values = values[np.isfinite(values)]
    if predicted is None or len(values) < 2:
        return None
    spread = float(values.std(ddof=1))
    return (float(values.mean()) - predicted) / spread if spread > 0 else None
