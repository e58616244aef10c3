"""Records into tables: one pass over the sweep's records, a row group at a time, whole files or none.

A record that is torn, altered or foreign is set aside with its reason and reported; its run counts as missing again.
The tables are replaced as whole files, so a reader never meets half of one, and two collectors do no harm to each
other.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isosweep.store.attempts import read_attempt
from isosweep.store.publish import TEMPORARY_PREFIX, replace
from isosweep.store.records import BadRecord, NewerRecord, quarantine, read_record, record_path
from isosweep.store.status import look
from isosweep.store.store import Store
from isosweep.sweep.settings import Run
from isosweep.sweep.sweep import Sweep

from .schema import FISHER, JACOBIAN, LAYERS, RUNS, TRAINING, Column, schema_of
from .theory import predicted_layers, residuals, theory_row

__all__ = ["SCHEMA_VERSION", "Collected", "collect"]

SCHEMA_VERSION = 1
_ROW_GROUP_RUNS = 2000


@dataclass
class Collected:
    """What `collect` found: rows by status, records set aside and records that are there but could not be read or set
    aside (path → reason), and how many runs each environment class has.
    """

    out: Path
    statuses: Counter[str] = field(default_factory=Counter)
    set_aside: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    environments: Counter[str] = field(default_factory=Counter)


class _Table:
    """A Parquet file written row group by row group under a temporary name, then given its own."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.path, self.schema = path, schema
        self.temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            self.writer = pq.ParquetWriter(self.temporary, schema, compression="zstd")
        except OSError:
            self.temporary.unlink(missing_ok=True)
            raise

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            self.writer.write_table(table.select(self.schema.names).cast(self.schema))

    def publish(self) -> None:
        self.temporary.replace(self.path)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.close()
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)


def _chunks(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    for start in range(0, len(runs), size):
        yield runs[start : start + size]


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
    row |= {name: value for name, value in provenance.items() if name in _PROVENANCE}
    started = provenance.get("started_at")
    row["started_at"] = (
        None
        if started is None
        else datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec="seconds")
    )
    row["digest"], row["measurement_version"] = record["digest"], record["version"]
    if whole is not None:
        row |= {f"fisher_{name}": whole[name] for name in ("lambda_max", "trace", "rank", "abs_error")}
    return row


_PROVENANCE = frozenset(c.name for c in RUNS if not c.name.startswith(("theory_", "residual_"))) - {
    "run_id",
    "sweep",
    "status",
    "digest",
    "seed",
    "attempts",
    "failure_cause",
    "started_at",
}


def _runs_schema(rows: Iterable[dict[str, Any]], extra: Sequence[str]) -> pa.Schema:
    """The table's schema, with further columns (arguments of a user's module, theory) after the settings."""
    columns = list(RUNS)
    at = next(i for i, c in enumerate(columns) if c.name == "data")
    rows = list(rows)
    for name in extra:
        kinds = {type(row[name]) for row in rows if row.get(name) is not None}
        kind = pa.string()
        if kinds <= {bool} and kinds:
            kind = pa.bool_()
        elif kinds <= {int} and kinds:
            kind = pa.int64()
        elif kinds <= {int, float} and kinds:
            kind = pa.float64()
        columns.insert(at, Column(name, kind, f"argument {name} of the user's network"))
        at += 1
    return schema_of(tuple(columns))


def collect(
    sweep: Sweep, store: Store, out: Path, *, set_aside: bool = True, progress: Callable[[int], None] | None = None
) -> Collected:
    """Write `runs`, `fisher`, `jacobian`, `layers` and `training` (Parquet) and ``sweep.json`` into the folder `out`.

    Args:
        sweep: whose runs; `runs` has one row for each, in the file's order, recorded or not. The other tables are
            sorted by run id.
        store: where the records are.
        out: made if need be; tables of these names in it are replaced.
        set_aside: move bad records to the store's quarantine (else they are only reported).
        progress: called with the number of runs done.

    Raises:
        OSError: `out` cannot be written; the tables there are as they were.
    """
    out.mkdir(parents=True, exist_ok=True)
    picture = look(store)
    result = Collected(out)
    schemas = {"fisher": schema_of(FISHER), "jacobian": schema_of(JACOBIAN), "layers": schema_of(LAYERS)}
    tables: dict[str, _Table] = {}
    measured: dict[str, dict[str, Any]] = {}
    done = 0
    try:
        for name, columns in {**schemas, "training": schema_of(TRAINING)}.items():
            tables[name] = _Table(out / f"{name}.parquet", columns)
        ordered = sorted((run for run in sweep.runs() if run.id in picture.records), key=lambda run: run.id)
        for chunk in _chunks(ordered, _ROW_GROUP_RUNS):
            batches = []
            for run in chunk:
                batch = _read(store, record_path(store, run.id, picture.records[run.id]), result, set_aside)
                if batch is None:
                    del picture.records[run.id]
                else:
                    batches.append(batch)
                done += 1
                if progress is not None:
                    progress(done)
            if not batches:
                continue
            records = pa.Table.from_batches(batches)
            wholes = {row["run_id"]: row for row in _whole_blocks(records)}
            for record in records.select(["run_id", "digest", "version", "provenance", "scalars"]).to_pylist():
                measured[record["run_id"]] = _measured(record, wholes.get(record["run_id"]))
            for name in ("fisher", "jacobian"):
                tables[name].write(_exploded(records, name, schemas[name]))
            tables["layers"].write(
                _with_theory(_exploded(records, "layers", _MEASURED_LAYERS), {run.id: run for run in chunk}, measured)
            )
        rows = []
        extra: dict[str, None] = {}
        known = {column.name for column in RUNS}
        for run in sweep.runs():
            state = picture.state(run.id)
            settings = run.columns
            row = {
                "run_id": run.id,
                "sweep": sweep.name,
                **settings,
                "status": state.status,
                "attempts": len(state.attempts),
            }
            extra.update(dict.fromkeys(name for name in settings if name not in known))
            found = measured.get(run.id, {})
            row |= found | theory_row(run, found)
            if state.attempts and run.id not in picture.records:
                row["failure_cause"] = str(read_attempt(state.attempts[-1]).get("cause", "")).split("\n")[0]
            rows.append(row)
            result.statuses[state.status] += 1
            if "environment_class" in row:
                result.environments[row["environment_class"]] += 1
        residuals(rows)
        schema = _runs_schema(rows, list(extra))
        tables["runs"] = _Table(out / "runs.parquet", schema)
        tables["runs"].write(
            pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
        )
        for table in tables.values():
            table.writer.close()
        replace(out / "sweep.json", json.dumps(_about(sweep), indent=1, sort_keys=True).encode() + b"\n")
        for table in tables.values():
            table.publish()
    except BaseException:
        for table in tables.values():
            table.abandon()
        raise
    return result


def _read(store: Store, path: Path, result: Collected, set_aside: bool) -> pa.RecordBatch | None:
    """A record; None, and noted in `result`, if it cannot be used."""
    try:
        return read_record(path).replace_schema_metadata(None)
    except FileNotFoundError:
        return None  # another collector has set it aside meanwhile
    except NewerRecord as error:
        result.unread[str(path)] = str(error)
    except BadRecord as error:
        result.set_aside[str(path)] = str(error)
        if set_aside:
            try:
                quarantine(store, path, str(error))
            except OSError as problem:
                del result.set_aside[str(path)]
                result.unread[str(path)] = f"{error}; and it could not be set aside: {problem.strerror or problem}"
    except OSError as error:
        result.unread[str(path)] = error.strerror or str(error)
    return None


_MEASURED_LAYERS = schema_of(tuple(c for c in LAYERS if not c.name.startswith("theory_")))


def _with_theory(layers: pa.Table, runs: dict[str, Run], measured: dict[str, dict[str, Any]]) -> pa.Table:
    """The layers' table with the recursions' predictions beside what was measured."""
    q: list[float | None] = []
    c: list[float | None] = []
    predicted: dict[str, tuple[list[float], list[float]] | None] = {}
    for run, layer in zip(layers["run_id"].to_pylist(), layers["layer"].to_pylist(), strict=True):
        if run not in predicted:
            predicted[run] = predicted_layers(runs[run], measured[run])
        both = predicted[run]
        q.append(None if both is None else both[0][layer - 1])
        c.append(None if both is None or math.isnan(both[1][layer - 1]) else both[1][layer - 1])
    return layers.append_column("theory_q", pa.array(q, pa.float64())).append_column(
        "theory_correlation", pa.array(c, pa.float64())
    )


def _whole_blocks(records: pa.Table) -> list[dict[str, Any]]:
    """The Fisher's summary of the whole matrix at initialisation, a row a run that has it."""
    table = _exploded(records, "fisher", schema_of(FISHER)).drop_columns(["eigenvalues"])
    return list(table.filter(pc.and_(pc.equal(table["block"], "all"), pc.equal(table["step"], 0))).to_pylist())


def _about(sweep: Sweep) -> dict[str, Any]:
    overrides = "".join(f" --set {item}" for item in sweep.overrides)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": sweep.name,
        "sweep_file": sweep.text,
        "overrides": list(sweep.overrides),
        "sweep_hash": sweep.hash,
        "axes": list(sweep.axes),
        "command": f"isosweep report {Path(sweep.file).name}{overrides} --out report.html",
    }
