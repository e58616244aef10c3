"""The `theory_*` columns of a run, beside its measurements: a number where theory applies, and in `theory_note` the
reason where it does not.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from isosweep.theory.activations import Activation
from isosweep.theory.finite_width import log_growth
from isosweep.theory.fisher_sums import measured_fisher
from isosweep.theory.jacobian_law import jacobian_edge, jacobian_variance
from isosweep.theory.network import Network
from isosweep.theory.predict import FINITE_WIDTH_LIMIT, predict_network
from isosweep.theory.propagation import propagate
from isosweep.theory.run_jacobian import expected_zero_mass, layer_variances, leaves_fixed_point, log_variance
from isosweep.theory.slope_law import slope_law

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
    "theory_kappa_1",
    "theory_kappa_2",
    "theory_learning_rate_max",
    "theory_note",
)
"""Every column, in order; all are floats but `theory_phase` and `theory_note`."""


@lru_cache(maxsize=65536)
def theory_columns(network: Network) -> dict[str, float | str | None]:
    """One run's columns. The dictionary is shared by all runs of these settings: copy before changing it.

    Args:
        network: σ_w and σ_b as the run uses them, `q_star` of a run put on the critical line by q* (else None), n and C
            of the measured Fisher matrix, mean |x|²/N_0 of the inputs after the data's scale, and the mean correlation
            of two of them.

    Raises:
        ValueError: settings outside their range.
    """
    row: dict[str, float | str | None] = dict.fromkeys(COLUMNS)
    if network.init not in ("orthogonal", "gaussian"):
        row["theory_note"] = f"no theory for init {network.init}"
        return row
    network.check_counts()
    phi, gain, depth, width = network.activation, network.sigma_w, network.depth, network.width
    p = predict_network(network)
    # The columns have the run's own laws, and their own reasons for them.
    theirs = "fisher_", "run_fisher_", "jacobian_", "Jacobian", "finite width"
    reasons = [note for note in p.notes if not note.startswith(theirs)]
    for name in ("q_star", "chi", "c_star", "xi_q", "xi_c", "xi_grad", "phase", "kappa_1", "kappa_2"):
        row[f"theory_{name}"] = getattr(p, name)
    try:
        signal = propagate(phi, gain, network.sigma_b, depth, network.mean_square, network.correlation)
    except (ValueError, OverflowError) as error:
        row["theory_note"] = "; ".join(dict.fromkeys([*reasons, str(error)]))
        return row
    logs = np.log(np.maximum(gain**2 * signal.slope, 1e-300))
    with np.errstate(over="ignore"):
        mean = float(np.exp(logs.sum())) * max(1.0, width / network.input_dimension)
    row["theory_jacobian_mean"] = mean if math.isfinite(mean) else None

    try:
        reasons += _jacobian(row, network)
    except (ValueError, OverflowError) as error:
        reasons.append(f"Jacobian: {error}")
    q = 1.0 if phi.homogeneous else p.q_star
    per_layer = _variance_per_layer(phi, q, width, gain, network.init)
    try:
        reasons += _fisher(row, network, per_layer)
    except (ValueError, OverflowError) as error:
        reasons.append(f"Fisher: {error}")
    row["theory_note"] = "; ".join(dict.fromkeys(reasons)) or None
    return row


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


def _fisher(row: dict[str, float | str | None], n: Network, per_layer: float) -> list[str]:
    """Fill the Fisher matrix's columns, biases counted as in the measurement; the reasons for those left empty."""
    found = measured_fisher(n)
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
    if n.likelihood == "gaussian" and n.outputs > 1:
        return ["fisher_lambda_max: C-fold in the wide limit; at finite width the C split, and this is their mean"]
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
