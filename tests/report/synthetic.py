"""Tables as `isosweep collect` writes them, of networks that were never built: numbers like a real sweep's."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

CRITICAL = {"tanh": 1.0, "relu": math.sqrt(2.0), "linear": 1.0}
QUICKSTART: dict[str, Sequence[Any]] = {
    "depth": [4, 16, 64],
    "activation": ["tanh", "relu"],
    "init": ["orthogonal", "gaussian"],
    "gain": [0.8, 1.0, 1.2, 1.4, 1.6],
    "seed": [0, 1, 2],
}
SWEEP_FILE = """name: quickstart
network:
  depth: [4, 16, 64]
  width: 64
  activation: [tanh, relu]
  init: [orthogonal, gaussian]
  gain: {linspace: [0.8, 1.6, 5]}
  bias_std: 0.0
data: {name: digits, samples: 256}
measure:
  fisher: {samples: 64, likelihood: categorical}
  jacobian: {samples: 16}
seeds: 3
"""


SETTINGS: dict[str, Any] = {
    "depth": 16,
    "width": 64,
    "activation": "tanh",
    "negative_slope": None,
    "init": "orthogonal",
    "gain": 1.0,
    "gain_rule": None,
    "q_star": None,
    "bias_std": 0.0,
    "data": "digits",
    "data_samples": 256,
    "data_scale": "unit",
    "data_inputs": 64,
    "fisher_samples": 64,
    "fisher_likelihood": "categorical",
    "jacobian_samples": 16,
    "dtype": "float64",
    "seed": 0,
}
PROVENANCE: dict[str, Any] = {
    "digest": None,
    "environment_class": "8c1f0a52d3e4",
    "code_id": "0f3a9b7c21de",
    "hostname": "node01",
    "device": "cpu",
    "cpu_model": "AMD EPYC 7543",
    "gpu_model": None,
    "driver": None,
    "torch_version": "2.13.0+cpu",
    "python_version": "3.11.2",
}


def run_id(settings: Mapping[str, Any]) -> str:
    """An id like a real one: the sweep's name is no part of it."""
    named = {key: value for key, value in settings.items() if key != "sweep"}
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=str).encode()).hexdigest()[:20]


def spectra(row: Mapping[str, Any], eigenvalues: int, samples: int, values: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the Fisher matrix and logarithms of the Jacobian's singular values, samples × values."""
    rng = np.random.default_rng(int(row["run_id"][:8], 16))
    depth, gain = int(row.get("depth") or 8), float(row.get("gain") or 1.0)
    offset = math.log(gain / CRITICAL.get(str(row.get("activation")), 1.0))
    drift = depth * (offset if offset < 0 else 0.25 * offset)
    spread = (0.12 if row.get("init") == "orthogonal" else 0.45) * math.sqrt(depth)
    grid = np.linspace(1, -2.2, values)
    logs = drift + spread * grid[None, :] + 0.03 * math.sqrt(depth) * rng.standard_normal((samples, values))
    logs = -np.sort(-logs, axis=1)
    top = 0.5 * depth**0.9 * math.exp(min(2 * drift, 40) * 0.5) * math.exp(0.1 * rng.standard_normal())
    ranks = np.arange(1, eigenvalues + 1)
    return top * ranks**-1.1 * np.exp(-ranks / eigenvalues * 4), logs


def write_tables(
    folder: Path,
    axes: Mapping[str, Sequence[Any]] | None = None,
    *,
    name: str = "quickstart",
    statuses: Mapping[int, tuple[str, str]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    eigenvalues: int = 96,
    samples: int = 4,
    values: int = 32,
    with_sweep: bool = True,
    edit: Any = None,
) -> Path:
    """Write a sweep over `axes`; `statuses` is by a run's number: (status, cause); `edit` changes `runs`."""
    axes = QUICKSTART if axes is None else axes
    statuses = statuses or {}
    runs, fisher, jacobian, layers = [], [], [], []
    for number, point in enumerate(itertools.product(*axes.values())):
        row: dict[str, Any] = {"sweep": name, **SETTINGS}
        row.update(fixed or {})
        row.update(dict(zip(axes, point, strict=True)))
        row = {"run_id": run_id(row), **row}
        status, cause = statuses.get(number, ("done", ""))
        row.update(PROVENANCE, status=status, failure_cause=cause or None, seconds=0.2 + 0.01 * (row["depth"] or 0))
        row.update(started_at=f"2026-11-23T11:{number % 60:02d}:00Z", peak_memory_bytes=200_000_000 + 10_000 * number)
        if status in ("done", "diverged"):
            eig, logs = spectra(row, eigenvalues, samples, values)
            row.update(
                digest=hashlib.sha256(eig.tobytes()).hexdigest(),
                fisher_lambda_max=eig[0],
                fisher_trace=eig.sum(),
                fisher_rank=len(eig),
                fisher_condition_number=eig[0] / eig[-1] * 10 ** ((row["depth"] or 0) / 16),
                fisher_abs_error=1e-15 * eig[0],
                jacobian_s_max=float(np.exp(logs.max())),
                jacobian_log_s_max=logs.max(),
                jacobian_log_s_min=logs.min(),
                jacobian_rank=values,
            )
            key = {"run_id": row["run_id"], "step": 0}
            fisher.append(
                {**key, "block": "all", "eigenvalues": eig, "lambda_max": eig[0], "trace": eig.sum(), "rank": len(eig)}
            )
            depth = int(row["depth"] or 0)
            for layer in range(1, depth + 2):
                block = f"layer{layer}" if layer <= depth else "readout"
                top = eig[0] * (0.3 + 0.7 * layer / (depth + 1))
                fisher.append(
                    {**key, "block": block, "eigenvalues": None, "lambda_max": top, "trace": 3 * top, "rank": 50}
                )
                if layer <= depth:
                    layers.append(
                        {**key, "layer": layer, "block": block, "q": 0.9**layer, "correlation": 1 - 0.8**layer}
                    )
            for sample in range(samples):
                jacobian.append(
                    {
                        **key,
                        "sample": sample,
                        "singular_values": np.exp(logs[sample]),
                        "log_singular_values": logs[sample],
                    }
                )
        runs.append(row)
    frame = pd.DataFrame(runs, columns=None if runs else ["run_id", "sweep", *axes, "status", "failure_cause"])
    if edit is not None:
        frame = edit(frame)
    folder.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "runs.parquet")
    for table, rows in (("fisher", fisher), ("jacobian", jacobian), ("layers", layers)):
        if rows:
            pa.parquet.write_table(pa.Table.from_pylist(rows), folder / f"{table}.parquet")
    if with_sweep:
        described = {
            "name": name,
            "sweep_file": SWEEP_FILE,
            "sweep_hash": "3f1c2a",
            "axes": list(axes),
            "command": f"isosweep report sweeps/{name}.yaml --out {name}.html",
            "schema_version": 1,
        }
        (folder / "sweep.json").write_text(json.dumps(described))
    return folder


TRAINED: dict[str, Sequence[Any]] = {
    "manifold": ["euclidean", "stiefel", "oblique"],
    "gain": [1.0, 1.2, 1.5],
    "seed": [0, 1, 2, 3, 4],
}
EPOCHS = 20
_SPECTRA_AT = (0, 1, 2, 5, 10, 20)
_STEPS = 8  # an epoch


def training_rows(run: Mapping[str, Any], epochs: int = EPOCHS) -> list[dict[str, Any]]:
    """The table `training` of a run that was never trained: a row an epoch, more of them at some."""
    rng = np.random.default_rng(int(run["run_id"][:8], 16))
    pace = {"euclidean": 0.25, "stiefel": 0.4, "oblique": 0.32}[run["manifold"]] / float(run["gain"])
    pace *= math.exp(0.1 * rng.standard_normal())
    top = float(run["fisher_lambda_max"])
    ends = EPOCHS if run["status"] == "done" else 7
    rows = []
    for epoch in range(min(epochs, ends) + 1):
        loss = 2.3 * math.exp(-pace * epoch) + 0.02
        norm = 0.4 * math.exp(-0.5 * pace * epoch)
        row: dict[str, Any] = {
            "run_id": run["run_id"],
            "step": _STEPS * epoch,
            "epoch": float(epoch),
            "batch_loss": None if epoch == 0 else loss * 1.05,
            "batch_accuracy": None if epoch == 0 else 1 - 0.35 * loss,
            "batch_gradient_norm": None if epoch == 0 else 1.4 * norm,
            "validation_loss": loss + 0.1,
            "validation_accuracy": 0.97 - 0.37 * loss,
            "test_loss": loss + 0.12,
            "test_accuracy": 0.96 - 0.37 * loss,
            "current_learning_rate": 0.1,
            "smoothness": 3.0 + 20 * norm * math.exp(0.2 * rng.standard_normal()),
            "smoothness_gradient_norm": norm,
        }
        if epoch in _SPECTRA_AT:
            row |= {
                "train_loss": loss,
                "train_accuracy": 1 - 0.34 * loss,
                "fisher_lambda_max": top * (1 + 4 * (1 - math.exp(-pace * epoch))),
                "fisher_condition_number": 1e6 * (1 + epoch),
                "jacobian_s_max": 1 + 0.2 * epoch,
                "hessian_lambda_max": 1.2 * top * (1 + 4 * (1 - math.exp(-pace * epoch))),
                "stability_threshold": 20.0,
                "gradient_norm": norm,
                "kernel_drift": 1 - math.exp(-pace * epoch),
                "kernel_alignment": 0.2 + 0.02 * epoch,
                "smoothness_l0": 3.0 if epoch else None,
                "smoothness_l1": 20.0 if epoch else None,
                "orthogonality_error": None if run["manifold"] == "euclidean" else 1e-13 * (1 + epoch),
            }
        rows.append(row)
    return rows


def write_trained(folder: Path, axes: Mapping[str, Sequence[Any]] | None = None, **options: Any) -> Path:
    """A sweep over `axes` whose runs trained: the tables of `write_tables`, and `training`."""
    axes = TRAINED if axes is None else axes
    fixed = {"depth": 6, "learning_rate": 0.1, "optimizer": "sgd", "epochs": EPOCHS, "manifold": "euclidean"}
    write_tables(folder, axes, fixed=fixed | options.pop("fixed", {}), name="trained", **options)
    runs = pyarrow.parquet.read_table(folder / "runs.parquet").to_pylist()
    rows = [row for run in runs if run["status"] in ("done", "diverged") for row in training_rows(run)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    pa.parquet.write_table(table, folder / "training.parquet")
    return folder


FAILURES = {
    7: ("failed", "ValueError: the variance left float64 in layer 41"),
    8: ("failed", "ValueError: the variance left float64 in layer 41"),
    29: ("oom", "out of memory: 4.0 GB asked for"),
    60: ("timeout", "time limit of 00:10:00 reached"),
    61: ("missing", ""),
    100: ("failed", "ValueError: the variance left float64 in layer 41"),
    101: ("failed", "ValueError: the variance left float64 in layer 41"),
    99: ("failed", "ValueError: the variance left float64 in layer 41"),
}
