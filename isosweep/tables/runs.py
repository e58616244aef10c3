"""The table `runs`: a row for every run of the sweep, recorded or not.

It is put together by columns, and what many runs share (settings, predictions) is worked out once for all of them: of
100,000 runs a row each in Python would cost most of a collection.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isosweep.store.status import RunState
from isosweep.sweep.settings import Run
from isosweep.sweep.sweep import Sweep
from isosweep.tables.rows import exploded
from isosweep.tables.schema import FISHER, RUNS, Column, schema_of
from isosweep.tables.theory import COMPARED, RESIDUAL_KEYS, residuals, theory_row
from isosweep.theory.columns import COLUMNS as THEORY

__all__ = ["Measured", "runs_schema", "runs_table"]

_TYPES = {column.name: column.type for column in RUNS}
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
# What theory wants to know of a run's inputs.
_INPUTS = ("input_mean_square", "input_correlation")
_WHOLE = ("lambda_max", "trace", "rank", "abs_error")


class Measured:
    """What records give to their runs' rows, by columns.

    Attributes:
        inputs: run id → what was measured of its inputs (see `isosweep.tables.theory.theory_row`).
    """

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}
        self._tables: list[pa.Table] = []

    def add(self, records: pa.Table) -> None:
        """Take in records (see `isosweep.store.records.record_schema`)."""
        wholes = {row["run_id"]: row for row in _whole_blocks(records)}
        light = records.select(["run_id", "digest", "version", "provenance", "scalars"]).to_pylist()
        rows = [_measured(record, wholes.get(record["run_id"])) for record in light]
        for record, row in zip(light, rows, strict=True):
            self.inputs[record["run_id"]] = {name: row.get(name) for name in _INPUTS}
        names = {name for row in rows for name, value in row.items() if value is not None} & _TYPES.keys()
        columns = {name: pa.array([row.get(name) for row in rows], _TYPES[name]) for name in sorted(names)}
        self._tables.append(pa.table({"run_id": records["run_id"], **columns}))

    def table(self, runs: Sequence[str]) -> pa.Table:
        """A row for each of these runs, in this order, of nulls where it has no record; the columns that any has."""
        if not self._tables:
            return pa.table({})
        found = pa.concat_tables(self._tables, promote_options="default").combine_chunks()
        place = {run: i for i, run in enumerate(found["run_id"].to_pylist())}
        wanted = pa.array([place.get(run) for run in runs], pa.int64())
        return found.drop_columns("run_id").take(wanted)


def _measured(record: dict[str, Any], whole: dict[str, Any] | None) -> dict[str, Any]:
    """The columns of `runs` that a record fills."""
    provenance = json.loads(record["provenance"])
    row: dict[str, Any] = {name: float(value) for name, value in json.loads(record["scalars"]).items()}
    row |= {name: value for name, value in provenance.items() if name in _PROVENANCE}
    for name in _TIMES:
        if (seconds := provenance.get(name)) is not None:
            row[name] = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
    row["digest"], row["measurement_version"] = record["digest"], record["version"]
    if whole is not None:
        row |= {f"fisher_{name}": whole[name] for name in _WHOLE}
    return row


def _whole_blocks(records: pa.Table) -> list[dict[str, Any]]:
    """The Fisher's summary of the whole matrix at initialisation, a row a run that has it."""
    columns = tuple(c for c in FISHER if c.name in ("run_id", "step", "block", *_WHOLE))
    table = exploded(records, "fisher", schema_of(columns))
    return list(table.filter(pc.and_(pc.equal(table["block"], "all"), pc.equal(table["step"], 0))).to_pylist())


class _Shared:
    """Rows that many runs share, each kept once."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._places: dict[Hashable, int] = {}
        self._of_runs: list[int] = []

    def add(self, key: Hashable, make: Callable[[], dict[str, Any]]) -> None:
        """The next run's row: that of the runs with the same key, or what `make` returns."""
        place = self._places.setdefault(key, len(self.rows))
        if place == len(self.rows):
            self.rows.append(make())
        self._of_runs.append(place)

    def column(self, name: str, kind: pa.DataType) -> pa.Array:
        """One column, a value for each run."""
        return pa.array([row.get(name) for row in self.rows], kind).take(pa.array(self._of_runs, pa.int64()))


def _settings_of(run: Run) -> tuple[int, int, int, int]:
    """A key that runs of the same settings share, as long as their sweep lives."""
    return id(run.network), id(run.data), id(run.measure), id(run.train)


def runs_schema(runs: Sequence[Run]) -> pa.Schema:
    """The schema of `runs`, with further columns (arguments of users' modules) after the settings."""
    kinds: dict[str, set[type]] = {}
    for run in {_settings_of(run): run for run in reversed(runs)}.values():
        for name, value in run.columns.items():
            if name not in _TYPES:
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
    measured: Measured,
    causes: Mapping[str, str | None],
    kept: pa.Table | None,
    unchanged: set[str],
    schema: pa.Schema,
) -> pa.Table:
    """The table `runs`, a row for every run in the sweep's order.

    Args:
        measured: what new records give to their rows.
        kept: an earlier such table with the same columns, from which the rows of the runs in `unchanged` are taken.
    """
    plain = schema.remove_metadata()
    table = _new_rows(sweep, [run for run in sweep.runs() if run.id not in unchanged], states, measured, causes, plain)
    if kept is not None:
        old = kept.replace_schema_metadata(None).filter(pc.is_in(kept["run_id"], pa.array(unchanged, pa.string())))
        table = pa.concat_tables([old.cast(plain), table])
        place = {run: i for i, run in enumerate(table["run_id"].to_pylist())}
        table = table.combine_chunks().take(pa.array([place[run.id] for run in sweep.runs()], pa.int64()))
    return _with_residuals(table.combine_chunks())


def _new_rows(
    sweep: Sweep,
    runs: Sequence[Run],
    states: Mapping[str, RunState],
    measured: Measured,
    causes: Mapping[str, str | None],
    schema: pa.Schema,
) -> pa.Table:
    settings, theory = _Shared(), _Shared()
    unseen: dict[str, Any] = {}
    for run in runs:
        key, inputs = _settings_of(run), measured.inputs.get(run.id, unseen)
        settings.add(key, lambda run=run: run.columns)  # type: ignore[misc]
        theory.add((key, *inputs.values()), lambda run=run, inputs=inputs: theory_row(run, inputs))  # type: ignore[misc]
    ids = [run.id for run in runs]
    own: dict[str, list[Any]] = {
        "run_id": ids,
        "sweep": [sweep.name] * len(runs),
        "seed": [run.seed for run in runs],
        "status": [states[run].status for run in ids],
        "attempts": [len(states[run].attempts) for run in ids],
        "failure_cause": [causes[run] for run in ids],
    }
    found = measured.table(ids)
    columns = []
    for field in schema:
        if field.name in own:
            columns.append(pa.array(own[field.name], field.type))
        elif field.name in THEORY:
            columns.append(theory.column(field.name, field.type))
        elif field.name in found.column_names:
            columns.append(found[field.name])
        else:
            columns.append(settings.column(field.name, field.type))
    return pa.table(columns, schema=schema)


def _with_residuals(table: pa.Table) -> pa.Table:
    """The table with its `residual_*` columns, which compare runs with each other."""
    keys = [name for name in table.column_names if name in RESIDUAL_KEYS]
    compared = {*COMPARED, *COMPARED.values()}
    # a setting that is the same everywhere tells no runs apart
    light = table.select([n for n in keys if n in compared or pc.count_distinct(table[n], mode="all").as_py() > 1])
    rows = light.to_pylist()
    residuals(rows)
    for column in COMPARED:
        name = f"residual_{column}"
        values = pa.array([row[name] for row in rows], pa.float64())
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return table
