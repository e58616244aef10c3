"""The tables of `sweeps/theory-check.yaml` beside theory, as docs/theory.md has them.

`python -m benchmarks.theory_check TABLES`, a folder that `isosweep collect` wrote. Kolmogorov-Smirnov distances are on
the non-zero continuous part, seeds pooled, values within 1e-9 of an atom left out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isosweep.theory.activations import activation
from isosweep.theory.network import Network
from isosweep.theory.predict import predicted_law


def _spectrum(at: pd.Series, logs: np.ndarray) -> tuple[float, float, float]:
    """KS distance, measured and predicted share of exact zeros; `logs` are ln s."""
    law = predicted_law(
        Network(activation(at.activation), at.gain, at.bias_std, int(at.depth), int(at.width), at.init, at.q_star),
        finite_width=True,
    )
    assert law is not None
    assert law.curve is not None
    values = np.exp(2 * np.sort(logs[~np.isneginf(logs)]))
    for atom, _ in law.atoms:
        values = values[np.abs(values - atom) > 1e-9]
    below = (law.cdf(values) - law.zero_mass) / law.curve.mass
    steps = np.arange(len(values) + 1) / len(values)
    distance = max(np.max(np.abs(below - steps[:-1])), np.max(np.abs(below - steps[1:])))
    return float(distance), float(np.isneginf(logs).mean()), law.zero_mass


def _over(measured: Any, predicted: Any) -> str:
    ratio = np.asarray(measured, float) / np.asarray(predicted, float)
    return "—" if np.isnan(ratio).any() else f"{ratio.mean():.3f} ± {ratio.std(ddof=1):.3f}"


def show(tables: Path) -> None:
    """Print one Markdown table for each likelihood."""
    runs = pd.read_parquet(tables / "runs.parquet")
    runs = runs[runs.status == "done"]
    jacobian = pd.read_parquet(tables / "jacobian.parquet").set_index("run_id").log_singular_values
    fisher = pd.read_parquet(tables / "fisher.parquet")
    eigenvalues = fisher[fisher.block == "all"].set_index("run_id").eigenvalues
    print(
        "| φ | init | L | KS | zeros | predicted | s_max / theory | trace / theory | top C / theory | λ_max / theory |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    gaussian = runs[runs.fisher_likelihood == "gaussian"]
    for (name, init, depth), group in gaussian.groupby(["activation", "init", "depth"], sort=True):
        pooled = np.concatenate([jacobian[run] for run in group.run_id])
        distance, zeros, predicted = _spectrum(group.iloc[0], pooled)
        top = [eigenvalues[run][: int(c)].mean() for run, c in zip(group.run_id, group.data_classes, strict=True)]
        print(
            f"| {name} | {init} | {depth} | {distance:.4f} | {zeros:.4f} | {predicted:.4f} "
            f"| {_over(group.jacobian_s_max, group.theory_jacobian_s_max)} "
            f"| {_over(group.fisher_trace, group.theory_fisher_trace)} | {_over(top, group.theory_fisher_lambda_max)} "
            f"| {_over(group.fisher_lambda_max, group.theory_fisher_lambda_max)} |"
        )
    print("\n| softmax: φ | init | L | trace | λ_max |")
    print("|---|---|---|---|---|")
    softmax = runs[runs.fisher_likelihood == "categorical"]
    for (name, init, depth), group in softmax.groupby(["activation", "init", "depth"], sort=True):
        print(
            f"| {name} | {init} | {depth} | {_over(group.fisher_trace, group.theory_fisher_trace)} "
            f"| {_over(group.fisher_lambda_max, group.theory_fisher_lambda_max)} |"
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.theory_check DIR, a folder that `isosweep collect` wrote")
    show(Path(sys.argv[1]))
