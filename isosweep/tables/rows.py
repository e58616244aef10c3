"""Rows of the tables of what was measured: the arrays of records, spread out, with theory beside the layers' own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isosweep.sweep.settings import Run
from isosweep.tables.theory import predicted_layers

__all__ = ["details", "exploded"]


def exploded(records: pa.Table, column: str, schema: pa.Schema) -> pa.Table:
    """The structs of a list column as rows, each with its record's run id."""
    lists = records[column].combine_chunks()
    owner = pc.take(records["run_id"].combine_chunks(), pc.list_parent_indices(lists))
    fields = pc.list_flatten(lists)
    columns = {name: pc.struct_field(fields, name) for name in schema.names if name != "run_id"}
    return pa.table({"run_id": owner, **columns})


def details(
    name: str,
    records: pa.Table,
    runs: Mapping[str, Run],
    inputs: Mapping[str, dict[str, Any]],
    schema: pa.Schema,
) -> pa.Table:
    """The rows that records give to the table `name`.

    Args:
        inputs: run id → what was measured of its inputs.
    """
    if name == "training":
        return exploded(records, name, schema)
    measured_columns = pa.schema([f for f in schema if f.name != "epoch" and not f.name.startswith("theory_")])
    rows = _with_epochs(exploded(records, name, measured_columns), runs)
    return _with_theory(rows, runs, inputs) if name == "layers" else rows


def _with_epochs(rows: pa.Table, runs: Mapping[str, Run]) -> pa.Table:
    """The rows with the epoch that their step is."""
    each = {run.id: run.train.steps_per_epoch(run.data.samples) for run in runs.values() if run.train is not None}
    if not each:
        return rows.append_column("epoch", pa.array(np.zeros(len(rows))))
    pairs = zip(rows["run_id"].to_pylist(), rows["step"].to_pylist(), strict=True)
    return rows.append_column("epoch", pa.array([step / each.get(run, 1) for run, step in pairs], pa.float64()))


def _with_theory(layers: pa.Table, runs: Mapping[str, Run], inputs: Mapping[str, dict[str, Any]]) -> pa.Table:
    """The layers' table with the recursions' predictions beside what was measured."""
    q: list[float | None] = []
    c: list[float | None] = []
    predicted: dict[str, tuple[list[float], list[float]] | None] = {}
    places = zip(layers["run_id"].to_pylist(), layers["layer"].to_pylist(), layers["step"].to_pylist(), strict=True)
    for run, layer, step in places:
        if run not in predicted:
            predicted[run] = predicted_layers(runs[run], inputs[run])
        both = predicted[run] if step == 0 else None  # mean field knows random weights
        q.append(None if both is None else both[0][layer - 1])
        c.append(None if both is None or math.isnan(both[1][layer - 1]) else both[1][layer - 1])
    return layers.append_column("theory_q", pa.array(q, pa.float64())).append_column(
        "theory_correlation", pa.array(c, pa.float64())
    )
