"""Rows of the tables out of records: what a run measured, theory beside it, and the runs without a record."""

from __future__ import annotations

import datetime
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isosweep.store.status import RunState
from isosweep.sweep.settings import Run
from isosweep.sweep.sweep import Sweep
from isosweep.tables.schema import FISHER, RUNS, Column, schema_of
from isosweep.tables.theory import COMPARED, RESIDUAL_KEYS, predicted_layers, residuals, theory_row

_ROWS_AT_A_TIME = 2000

__all__ = ["details", "measured_rows", "runs_schema", "runs_table"]


def _exploded(records: pa.Table, column: str, schema: pa.Schema) -> pa.Table:
    """The structs of a list column as rows, each with its record's run id."""
    lists = records[column].combine_chunks()
    owner = pc.take(records["run_id"].combine_chunks(), pc.list_parent_indices(lists))
    fields = pc.list_flatten(lists)
    columns = {name: pc.struct_field(fields, name) for name in schema.names if name != "run_id"}
    return pa.table({"run_id": owner, **columns})


def _measured(record: dict[str, Any], whole: dict[str, Any] | None) -> dict[str, Any]:
    """The columns of `runs` that a record fills."""
    provenance = json.loads(record["provenance"])
    row: dict[str, Any] = {name: float(value) for name, value in json.loads(record["scalars"]).items()}
    row |= {n: sys.intern(v) if isinstance(v, str) else v for n, v in provenance.items() if n in _PROVENANCE}
    for name in _TIMES:
        seconds = provenance.get(name)
        row[name] = (
            None
            if seconds is None
            else datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
        )
    row["digest"], row["measurement_version"] = record["digest"], record["version"]
    if whole is not None:
        row |= {f"fisher_{name}": whole[name] for name in ("lambda_max", "trace", "rank", "abs_error")}
    return row


_TIMES = ("started_at", "ended_at")
_PROVENANCE = frozenset(c.name for c in RUNS if not c.name.startswith(("theory_", "residual_"))) - {
    "run_id",
    "sweep",
    "status",
    "digest",
    "seed",
    "attempts",
    "failure_cause",
    *_TIMES,
}


def measured_rows(records: pa.Table) -> dict[str, dict[str, Any]]:
    """What each record gives to its run's row in `runs`."""
    wholes = {row["run_id"]: row for row in _whole_blocks(records)}
    wanted = records.select(["run_id", "digest", "version", "provenance", "scalars"]).to_pylist()
    return {record["run_id"]: _measured(record, wholes.get(record["run_id"])) for record in wanted}


def details(
    name: str,
    records: pa.Table,
    runs: Mapping[str, Run],
    measured: Mapping[str, dict[str, Any]],
    schema: pa.Schema,
) -> pa.Table:
    """The rows that records give to the table `name`."""
    if name == "training":
        return _exploded(records, name, schema)
    measured_columns = pa.schema([f for f in schema if f.name != "epoch" and not f.name.startswith("theory_")])
    rows = _with_epochs(_exploded(records, name, measured_columns), runs)
    return _with_theory(rows, runs, measured) if name == "layers" else rows


def _with_epochs(rows: pa.Table, runs: Mapping[str, Run]) -> pa.Table:
    """The rows with the epoch that their step is."""
    each = {run.id: run.train.steps_per_epoch(run.data.samples) for run in runs.values() if run.train is not None}
    if not each:
        return rows.append_column("epoch", pa.array(np.zeros(len(rows))))
    pairs = zip(rows["run_id"].to_pylist(), rows["step"].to_pylist(), strict=True)
    return rows.append_column("epoch", pa.array([step / each.get(run, 1) for run, step in pairs], pa.float64()))


def runs_schema(runs: Sequence[Run]) -> pa.Schema:
    """The schema of `runs`, with further columns (arguments of users' modules) after the settings."""
    known = {column.name for column in RUNS}
    kinds: dict[str, set[type]] = {}
    for run in runs:
        for name, value in run.columns.items():
            if name not in known:
                kinds.setdefault(name, set()).update([type(value)] if value is not None else [])
    columns = list(RUNS)
    at = next(i for i, c in enumerate(columns) if c.name == "data")
    for name, found in kinds.items():
        kind = pa.string()
        if found <= {bool} and found:
            kind = pa.bool_()
        elif found <= {int} and found:
            kind = pa.int64()
        elif found <= {int, float} and found:
            kind = pa.float64()
        columns.insert(at, Column(name, kind, f"argument {name} of the user's network"))
        at += 1
    return schema_of(tuple(columns))


def runs_table(
    sweep: Sweep,
    states: Mapping[str, RunState],
    measured: dict[str, dict[str, Any]],
    causes: Mapping[str, str | None],
    kept: pa.Table | None,
    unchanged: set[str],
    schema: pa.Schema,
) -> pa.Table:
    """The table `runs`, a row for every run in the sweep's order.

    Args:
        measured: what new records give to their rows; emptied.
        kept: an earlier such table with the same columns, from which the rows of the runs in `unchanged` are taken.
    """
    plain = schema.remove_metadata()
    pieces: list[pa.Table] = []
    rows: list[dict[str, Any]] = []

    def flush() -> None:
        pieces.append(pa.Table.from_pylist([{n: row.get(n) for n in plain.names} for row in rows], schema=plain))
        rows.clear()

    for run in sweep.runs():
        if run.id in unchanged:
            continue
        # let go of as soon as it is a row: of 100,000 runs, all of them in Python would be a gigabyte
        state, found = states[run.id], measured.pop(run.id, {})
        row = {
            "run_id": run.id,
            "sweep": sweep.name,
            **run.columns,
            "status": state.status,
            "attempts": len(state.attempts),
            "failure_cause": causes[run.id],
        }
        rows.append(row | found | theory_row(run, found))
        if len(rows) >= _ROWS_AT_A_TIME:
            flush()
    flush()
    new = pa.concat_tables(pieces)
    if kept is None:
        table = new
    else:
        old = kept.replace_schema_metadata(None).filter(pc.is_in(kept["run_id"], pa.array(unchanged, pa.string())))
        table = pa.concat_tables([old, new])
        place = {run: i for i, run in enumerate(table["run_id"].to_pylist())}
        table = table.take(pa.array([place[run.id] for run in sweep.runs()], pa.int64()))
    return _with_residuals(table.combine_chunks())


def _with_residuals(table: pa.Table) -> pa.Table:
    """The table with its `residual_*` columns, which compare runs with each other."""
    needed = [name for name in table.schema.names if name in RESIDUAL_KEYS]
    light = table.select(needed).to_pylist()
    residuals(light)
    for column in COMPARED:
        name = f"residual_{column}"
        values = pa.array([row[name] for row in light], pa.float64())
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return table


def _with_theory(layers: pa.Table, runs: Mapping[str, Run], measured: Mapping[str, dict[str, Any]]) -> pa.Table:
    """The layers' table with the recursions' predictions beside what was measured."""
    q: list[float | None] = []
    c: list[float | None] = []
    predicted: dict[str, tuple[list[float], list[float]] | None] = {}
    places = zip(layers["run_id"].to_pylist(), layers["layer"].to_pylist(), layers["step"].to_pylist(), strict=True)
    for run, layer, step in places:
        if run not in predicted:
            predicted[run] = predicted_layers(runs[run], measured[run])
        both = predicted[run] if step == 0 else None  # mean field knows random weights
        q.append(None if both is None else both[0][layer - 1])
        c.append(None if both is None or math.isnan(both[1][layer - 1]) else both[1][layer - 1])
    return layers.append_column("theory_q", pa.array(q, pa.float64())).append_column(
        "theory_correlation", pa.array(c, pa.float64())
    )


def _whole_blocks(records: pa.Table) -> list[dict[str, Any]]:
    """The Fisher's summary of the whole matrix at initialisation, a row a run that has it."""
    columns = tuple(c for c in FISHER if c.name not in ("eigenvalues", "epoch"))
    table = _exploded(records, "fisher", schema_of(columns))
    return list(table.filter(pc.and_(pc.equal(table["block"], "all"), pc.equal(table["step"], 0))).to_pylist())
