"""Theory beside every measurement: the `theory_*` columns of `runs`, the predicted q^l and c^l of `layers`, and
residuals over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from isosweep.sweep.architecture_settings import ArchitectureSettings
from isosweep.sweep.settings import NetworkSettings, Run
from isosweep.theory.activations import activation as named
from isosweep.theory.architecture import Architecture
from isosweep.theory.columns import COLUMNS, residual, theory_columns
from isosweep.theory.network import Init, Network
from isosweep.theory.propagation import Signal, propagate
from isosweep.theory.residual import ResidualSignal, propagate_residual

__all__ = ["COMPARED", "RESIDUAL_KEYS", "predicted_layers", "residuals", "theory_row"]

# Measured columns that have a prediction, and its column.
COMPARED = {
    "fisher_lambda_max": "theory_fisher_lambda_max",
    "fisher_trace": "theory_fisher_trace",
    "jacobian_s_max": "theory_jacobian_s_max",
}
_DIGITS = 12


def _inputs(run: Run, measured: Mapping[str, Any]) -> tuple[float, float] | None:
    """Mean |x|²/N_0 and mean correlation of the run's inputs: as measured, else as its data's scale has it,
    uncorrelated; None for raw data not yet seen.
    """
    square, correlation = measured.get("input_mean_square"), measured.get("input_correlation")
    if square is not None:
        # rounded, so that runs alike in all but their last bits share one prediction
        return float(f"{square:.{_DIGITS}g}"), 0.0 if correlation is None or math.isnan(correlation) else float(
            f"{correlation:.{_DIGITS}g}"
        )
    return None if run.data.mean_square is None else (run.data.mean_square, 0.0)


def theory_row(run: Run, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The `theory_*` columns of a run, given its measured columns (which say what its inputs are like). Empty ones
    have their reason in `theory_note`.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    network, fisher = run.network, run.measure.fisher
    if not isinstance(network, NetworkSettings) or network.gain is None or network.init is None:
        row["theory_note"] = "no theory for a network or weights of one's own"
        return row
    shape = network.architecture or ArchitectureSettings()
    reason = _uncovered(network, shape)
    if reason is not None:
        row["theory_note"] = reason
        return row
    inputs = _inputs(run, measured)
    if inputs is None:
        row["theory_note"] = "raw inputs: predicted once they are measured"
        return row
    try:
        found = theory_columns(
            Network(
                named(network.activation, network.negative_slope),
                network.gain,
                network.bias_std or 0.0,
                network.depth,
                network.width,
                cast(Init, network.init),
                network.q_star,
                fisher.samples if fisher is not None else 1,
                run.data.classes,
                run.data.inputs if shape.image is None else shape.image[0],
                *inputs,
                fisher.likelihood if fisher is not None else "gaussian",
            ),
            _architecture(shape),
        )
    except ValueError as error:
        row["theory_note"] = str(error)
        return row
    row |= found
    if fisher is None or not fisher.is_plain:
        row |= dict.fromkeys(name for name in COLUMNS if name.startswith("theory_fisher_"))
    if fisher is not None and not fisher.is_plain:
        plain = "the Fisher's are of the true Fisher over all parameters, not centred"
        row["theory_note"] = f"{row['theory_note']}; {plain}" if row["theory_note"] else plain
    return row


def _uncovered(network: NetworkSettings, shape: ArchitectureSettings) -> str | None:
    """Why no column of theory holds of such a network; None where some do."""
    if shape.normalization != "none":
        return f"no theory of networks with {shape.normalization} normalisation: it sets the variance"
    if shape.tied:
        return "no theory of tied layers: those here have weights of their own"
    if shape.weight_bits is not None or shape.activation_bits is not None:
        return "no theory of quantised networks: the laws are those of the weights and activations before rounding"
    if shape.kind == "residual" and (shape.scheme != "euler" or shape.block_steps != 1):
        return "no theory of steps that share their weights: residual blocks of single Euler steps have one"
    if shape.kind == "residual" and shape.parametrization != "standard":
        return f"no theory of residual networks in the {shape.parametrization} parametrisation"
    if shape.kind == "convolutional" and network.init == "gaussian" and shape.padding == "zeros":
        return "no theory of gaussian kernels with zero padding: the variance falls towards the edges of an image"
    return None


def _architecture(shape: ArchitectureSettings) -> Architecture:
    """What theory needs to know of it."""
    return Architecture(
        shape.widths,
        shape.biases,
        shape.parametrization,
        shape.readout_scale,
        shape.time_step if shape.kind == "residual" else None,
        shape.kind == "convolutional",
    )


def predicted_layers(run: Run, measured: Mapping[str, Any]) -> tuple[list[float], list[float]] | None:
    """(q^l, c^l) for l = 1 … L + 1 from the recursions, started at the run's own inputs; None where theory has none."""
    network, inputs = run.network, _inputs(run, measured)
    if not isinstance(network, NetworkSettings) or network.gain is None or inputs is None:
        return None
    shape = network.architecture or ArchitectureSettings()
    if _uncovered(network, shape) is not None:
        return None
    phi = named(network.activation, network.negative_slope)
    settings = phi, network.gain, network.bias_std or 0.0, network.depth
    convolutional = shape.kind == "convolutional"
    if convolutional and not phi.homogeneous:
        return None  # the places' variances mix before their mean is taken
    signal: ResidualSignal | Signal
    try:
        if shape.kind == "residual":
            signal = propagate_residual(*settings, *inputs, shape.time_step)
        else:
            signal = propagate(*settings, *inputs)
    except (ValueError, OverflowError):
        return None
    q, correlation = [float(v) for v in signal.q], [float(v) for v in signal.correlation]
    gain = _architecture(shape).readout_gain(network.width)
    if gain != 1:
        variance, square = (network.gain * gain) ** 2, (network.bias_std or 0.0) ** 2
        pair = variance * float(signal.x_pair[-1]) + square
        q[-1] = variance * float(signal.x[-1]) + square
        correlation[-1] = pair / q[-1]
    if convolutional:  # known of the mean over the places: neither the pairs', nor the readout's, which reads that mean
        return [*q[:-1], math.nan], [math.nan] * len(q)
    return q, correlation


def residuals(rows: Iterable[dict[str, Any]]) -> None:
    """Add `residual_*` columns: (measured − predicted), averaged over the seeds of equal settings, in units of the
    spread over them.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    rows = list(rows)
    settings = [k for k in (rows[0] if rows else {}) if k in _SETTINGS]
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in settings), []).append(row)
    for members in groups.values():
        for column, theory in COMPARED.items():
            pairs = [
                (row[column], row[theory])
                for row in members
                if row.get(column) is not None and row.get(theory) is not None
            ]
            value = residual([m - t for m, t in pairs], 0.0) if len(pairs) > 1 else None
            for row in members:
                row[f"residual_{column}"] = value


_SETTINGS = frozenset(
    [
        "depth",
        "width",
        "activation",
        "negative_slope",
        "init",
        "gain",
        "gain_rule",
        "bias_std",
        "q_star",
        *ArchitectureSettings().columns,
        "data",
        "data_samples",
        "data_scale",
        "data_inputs",
        "data_classes",
        "fisher_samples",
        "fisher_likelihood",
        "fisher_method",
        "fisher_parameter_set",
        "fisher_kind",
        "fisher_centred",
        "jacobian_samples",
        "dtype",
    ]
)
# What `residuals` needs of a row.
RESIDUAL_KEYS = _SETTINGS | COMPARED.keys() | frozenset(COMPARED.values())
