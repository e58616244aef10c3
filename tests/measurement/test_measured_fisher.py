"""What a run's Fisher options measure, against the explicit matrix, and through records into tables."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import isosweep
from isosweep.store import records
from isosweep.store.records import encode_record, publish_record, read_record, record_path
from isosweep.store.store import Store
from isosweep.sweep import Sweep, load
from isosweep.sweep.settings import Run
from isosweep.tables.collect import collect


def sweep_of(folder: Path, **fisher: Any) -> Sweep:
    spec = {
        "name": "t",
        "network": {
            "depth": 3,
            "width": 7,
            "activation": "tanh",
            "init": "gaussian",
            "gain": 1.3,
            "bias_std": 0.2,
        },
        "data": {"name": "gaussian", "inputs": 6, "classes": 3, "samples": 30},
        "measure": {"fisher": {"samples": 5, **fisher}},
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(spec))
    return load(path)


def explicit(run: Run) -> np.ndarray:
    """All P eigenvalues of the matrix that the run's options name, ascending."""
    wanted = run.measure.fisher
    assert wanted is not None
    network, inputs, labels = isosweep.realize(run)
    names = [name for name, _ in network.named_parameters() if wanted.parameters == "all" or name.endswith("weight")]
    values = {name: p.detach() for name, p in network.named_parameters()}

    def outputs(some: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, values | some, (x,))

    some = {name: values[name] for name in names}
    jacobian = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))(some, inputs)
    j = torch.cat([part.detach().flatten(2) for part in jacobian.values()], dim=2)
    if wanted.centred:
        j = j - j.mean(dim=0)
    logits = network(inputs).detach()
    p = torch.softmax(logits, dim=1)
    target = torch.nn.functional.one_hot(labels, 3).double()
    total = torch.zeros(j.shape[2], j.shape[2], dtype=torch.float64)
    for i in range(len(inputs)):
        if wanted.kind == "empirical":
            g = ((p if wanted.likelihood == "categorical" else logits) - target)[i] @ j[i]
            total += torch.outer(g, g)
        elif wanted.likelihood == "categorical":
            total += j[i].T @ (torch.diag(p[i]) - torch.outer(p[i], p[i])) @ j[i]
        else:
            total += j[i].T @ j[i]
    found: np.ndarray = np.linalg.eigvalsh((total / len(inputs)).numpy())
    return found


OPTIONS = [
    {"parameters": "weights"},
    {"kind": "empirical"},
    {"kind": "empirical", "likelihood": "gaussian"},
    {"centred": True},
    {"centred": True, "likelihood": "gaussian", "parameters": "weights"},
    {"kind": "empirical", "centred": True},
]


@pytest.mark.parametrize("method", ["dual", "lanczos"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_against_the_explicit_matrix(tmp_path: Path, options: dict[str, Any], method: str) -> None:
    (run,) = sweep_of(tmp_path, method=method, layers="none", **options).runs()
    exact = explicit(run)[::-1]
    (block,) = isosweep.execute(run).fisher
    assert block.eigenvalues is not None
    assert block.trace == pytest.approx(exact.sum(), rel=1e-11)
    expected = exact[: len(block.eigenvalues)]
    if method == "dual":
        assert np.abs(block.eigenvalues - expected).max() <= max(2e-14 * exact[0], block.abs_error or 0)
    else:
        assert block.rank is None
        assert block.errors is not None
        assert bool((np.abs(block.eigenvalues - expected) <= block.errors + 1e-14 * exact[0]).all())


@pytest.mark.parametrize("probes", [0, 30])
def test_damped_and_density(tmp_path: Path, probes: int) -> None:
    options = {"method": "lanczos", "probes": probes} if probes else {}
    (run,) = sweep_of(tmp_path, damping=0.01, likelihood="gaussian", **options).runs()
    exact = explicit(run).clip(0)
    measured = isosweep.execute(run)
    wanted = {
        "fisher_effective_dimension": (exact / (exact + 0.01)).sum(),
        "fisher_log_determinant": np.log1p(exact / 0.01).sum(),
        "fisher_frobenius": np.linalg.norm(exact),
    }
    for name, value in wanted.items():
        if probes:
            assert abs(measured.scalars[name] - value) <= 5 * measured.scalars[f"{name}_error"]
        else:
            assert measured.scalars[name] == pytest.approx(value, rel=1e-9)
            assert f"{name}_error" not in measured.scalars
    whole = measured.fisher[0]
    if not probes:
        assert whole.density_nodes is whole.density_counts is whole.density_errors is None
        return
    assert whole.density_nodes is not None
    assert whole.density_counts is not None
    assert whole.density_errors is not None
    assert bool((np.diff(whole.density_nodes) <= 0).all())
    assert bool((np.diff(whole.density_counts) >= 0).all())
    assert whole.density_counts[-1] == pytest.approx(15)
    counts = np.array([(exact >= node * (1 - 1e-9)).sum() for node in whole.density_nodes])
    middle = len(counts) // 2
    assert abs(whole.density_counts[middle] - counts[middle]) <= 6 * whole.density_errors[middle] + 1


def test_bounds_stand_beside_the_measured_value(tmp_path: Path) -> None:
    (run,) = sweep_of(tmp_path, bounds=True).runs()
    measured = isosweep.execute(run)
    for name in ("block_rows", "block_norms", "layer_sum"):
        assert measured.fisher[0].lambda_max <= measured.scalars[f"fisher_bound_{name}"] * (1 + 1e-12)
    assert math.isfinite(measured.scalars["fisher_sokol_park"])
    (plain,) = sweep_of(tmp_path).runs()
    without = isosweep.execute(plain)
    assert not any("bound" in name or "sokol" in name for name in without.scalars)
    assert without.fisher[0].lambda_max == measured.fisher[0].lambda_max
    assert plain.id != run.id


def test_matrix_free_runs_reach_the_tables(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, method=["dual", "lanczos"], probes=3, leading=4, bounds=True)
    store = Store(tmp_path / "store")
    for run in sweep.runs():
        publish_record(store, run.id, "done", encode_record(run, isosweep.execute(run), "done", 1, {}))
    out = collect(sweep, store, tmp_path / "tables").out
    rows = {row["fisher_method"]: row for row in pq.read_table(out / "runs.parquet").to_pylist()}
    assert rows["lanczos"]["fisher_rank"] is None
    assert rows["lanczos"]["fisher_layers"] == "none"
    assert rows["lanczos"]["fisher_condition_number"] is None
    assert rows["lanczos"]["fisher_frobenius_error"] > 0
    assert (rows["lanczos"]["fisher_leading"], rows["lanczos"]["fisher_probes"]) == (4, 3)
    assert rows["dual"]["fisher_leading"] is None
    assert rows["dual"]["fisher_frobenius_error"] is None
    assert rows["dual"]["fisher_bound_block_rows"] >= rows["dual"]["fisher_bound_block_norms"] > 0
    assert rows["lanczos"]["fisher_bound_layer_sum"] == rows["dual"]["fisher_bound_layer_sum"]
    blocks = {row["run_id"]: row for row in pq.read_table(out / "fisher.parquet").to_pylist() if row["block"] == "all"}
    free, dual = blocks[rows["lanczos"]["run_id"]], blocks[rows["dual"]["run_id"]]
    assert len(free["errors"]) == len(free["eigenvalues"]) == 4
    assert len(free["density_nodes"]) == len(free["density_counts"]) == len(free["density_errors"]) > 0
    assert dual["errors"] is None
    np.testing.assert_allclose(free["eigenvalues"], dual["eigenvalues"][:4], rtol=1e-9)


def test_records_from_before_the_options_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = sweep_of(tmp_path).runs()
    measured = isosweep.execute(run)
    schema = records.record_schema()
    fields = []
    for field in schema:
        kind = field.type
        if field.name == "fisher":
            old = [f for f in kind.value_type if f.name != "errors" and not f.name.startswith("density_")]
            kind = pa.list_(pa.struct(old))
        fields.append(pa.field(field.name, kind))
    store = Store(tmp_path / "store")
    with monkeypatch.context() as older:
        older.setattr(records, "record_schema", lambda: pa.schema(fields))
        older.setattr(records, "RECORD_FORMAT", 1)
        encoded = encode_record(run, measured, "done", 1, {})
    publish_record(store, run.id, "done", encoded)
    batch = read_record(record_path(store, run.id, "done"))
    assert batch.schema.equals(schema, check_metadata=False)
    row = batch.to_pylist()[0]
    assert row["digest"] == measured.digest
    assert [block["errors"] for block in row["fisher"]] == [None] * len(measured.fisher)
    assert row["fisher"][0]["eigenvalues"] == measured.fisher[0].eigenvalues.tolist()  # type: ignore[union-attr]
