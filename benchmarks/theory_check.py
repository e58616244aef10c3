"""The tables of `sweeps/theory-check.yaml`, or `theory-check-pooled.yaml`, beside theory, as docs/theory.md has them.

`python -m benchmarks.theory_check SWEEP TABLES`, the sweep file and a folder that `isosweep collect` wrote. Its
networks are realized anew, for the layers' counts of active units and the softmax's probabilities. Kolmogorov-Smirnov
distances are on the non-zero continuous part, seeds pooled, values within 1e-9 of an atom left out: "expected" from
the law at the counts expected at this width, "own" from the mean of the networks' laws, each given its own counts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import isosweep
from isosweep.sweep.settings import Run
from isosweep.theory.activations import activation
from isosweep.theory.fisher_spread import fisher_spread
from isosweep.theory.fisher_sums import layer_sums
from isosweep.theory.jacobian_law import JacobianLaw, jacobian_law
from isosweep.theory.network import Network
from isosweep.theory.outlier_split import outlier_split
from isosweep.theory.run_jacobian import layer_variances, run_law
from isosweep.theory.softmax_fisher import softmax_lambda_max


def _network(at: pd.Series) -> Network:
    return Network(
        activation(at.activation),
        at.gain,
        at.bias_std,
        int(at.depth),
        int(at.width),
        at["init"],
        at.q_star,
        samples=int(at.fisher_samples),
        outputs=int(at.data_classes),
        inputs=int(at.data_inputs),
        mean_square=at.input_mean_square,
        correlation=at.input_correlation,
    )


def _own_law(run: Run, network: Network) -> JacobianLaw:
    """The law given the counts of active units on the first input, whose Jacobian the sweep takes."""
    if not network.activation.piecewise_linear or network.activation.name == "linear":
        return run_law(network)
    import torch

    model, x, _ = isosweep.realize(run)
    shares, h = [], x[:1]
    with torch.no_grad():
        for layer in list(model)[:-1]:
            if not isinstance(layer, torch.nn.Linear):
                shares.append(float(np.mean(network.activation.phi_prime(h.numpy()) != 0)))
            h = layer(h)
    n = network
    return jacobian_law(n.activation, layer_variances(n), n.sigma_w, n.depth, n.init, active=tuple(shares))


def _distance(laws: list[JacobianLaw], logs: np.ndarray) -> float:
    values = np.exp(2 * np.sort(logs[~np.isneginf(logs)]))
    for atom in {atom for law in laws for atom, _ in law.atoms}:
        values = values[np.abs(values - atom) > 1e-9]
    below, mass = np.zeros(len(values)), 0.0
    for law in laws:
        assert law.curve is not None
        below += law.cdf(values) - law.zero_mass - sum(np.where(values >= at, share, 0.0) for at, share in law.atoms)
        mass += law.curve.mass
    steps = np.arange(len(values) + 1) / len(values)
    return float(max(np.max(np.abs(below / mass - steps[:-1])), np.max(np.abs(below / mass - steps[1:]))))


def _over(measured: Any, predicted: Any) -> str:
    ratio = np.asarray(measured, float) / np.asarray(predicted, float)
    return "—" if np.isnan(ratio).any() else f"{ratio.mean():.3f} ± {ratio.std(ddof=1):.3f}"


def show(sweep: Path, tables: Path) -> None:
    """Print one Markdown table for each likelihood."""
    by_id = {run.id: run for run in isosweep.load(sweep).runs()}
    runs = pd.read_parquet(tables / "runs.parquet")
    runs = runs[runs.status == "done"]
    jacobian = pd.read_parquet(tables / "jacobian.parquet").set_index("run_id").log_singular_values
    fisher = pd.read_parquet(tables / "fisher.parquet")
    eigenvalues = fisher[fisher.block == "all"].set_index("run_id").eigenvalues
    print(
        "| φ | init | L | KS expected | KS own | zeros | predicted | s_max | trace | top C | its spread, predicted "
        "| λ_max | λ_max, split |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    gaussian = runs[runs.fisher_likelihood == "gaussian"]
    for (name, init, depth), group in gaussian.groupby(["activation", "init", "depth"], sort=True):
        pooled = np.concatenate([jacobian[run] for run in group.run_id])
        expected = run_law(_network(group.iloc[0]), finite_width=True)
        own = [_own_law(by_id[at.run_id], _network(at)) for _, at in group.iterrows()]
        split = outlier_split(_network(group.iloc[0])).largest
        top = [eigenvalues[run][: int(c)].mean() for run, c in zip(group.run_id, group.data_classes, strict=True)]
        print(
            f"| {name} | {init} | {depth} | {_distance([expected], pooled):.4f} | {_distance(own, pooled):.4f} "
            f"| {np.isneginf(pooled).mean():.4f} | {expected.zero_mass:.4f} "
            f"| {_over(group.jacobian_s_max, group.theory_jacobian_s_max)} "
            f"| {_over(group.fisher_trace, group.theory_fisher_trace)} | {_over(top, group.theory_fisher_lambda_max)} "
            f"| {'—' if name == 'linear' else f'{fisher_spread(_network(group.iloc[0])):.3f}'} "
            f"| {_over(group.fisher_lambda_max, group.theory_fisher_lambda_max)} "
            f"| {_over(group.fisher_lambda_max, split * group.theory_fisher_lambda_max)} |",
            flush=True,
        )
    print("\n| softmax: φ | init | L | trace | λ_max | λ_max, own p |")
    print("|---|---|---|---|---|---|")
    softmax = runs[runs.fisher_likelihood == "categorical"]
    for (name, init, depth), group in softmax.groupby(["activation", "init", "depth"], sort=True):
        given = []
        for _, at in group.iterrows():
            network = _network(at)
            model, x, _ = isosweep.realize(by_id[at.run_id])
            p = model(x[: network.samples]).softmax(1).detach().numpy()
            sums = layer_sums(network)
            given.append(softmax_lambda_max(p, sums.own, sums.pair, 1.0))
        print(
            f"| {name} | {init} | {depth} | {_over(group.fisher_trace, group.theory_fisher_trace)} "
            f"| {_over(group.fisher_lambda_max, group.theory_fisher_lambda_max)} "
            f"| {_over(group.fisher_lambda_max, given)} |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(
            "usage: python -m benchmarks.theory_check SWEEP DIR, a folder that `isosweep collect` wrote of the sweep"
        )
    show(Path(sys.argv[1]), Path(sys.argv[2]))
