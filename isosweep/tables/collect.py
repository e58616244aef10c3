"""Records into tables: only what is new is read, a bucket of runs at a time, whole files or none.

A record that is torn, altered or foreign is set aside with its reason and reported; its run counts as missing again.
The tables are replaced as whole files, so a reader never meets half of one. All of one collection bear its id; a
collector that finds another's file among its own when it is done collects again, so that of any number of collectors
the last leaves tables of one moment.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isosweep.measurement.code import code_id, package_root
from isosweep.store.attempts import read_attempt
from isosweep.store.many_records import RecordReader
from isosweep.store.publish import replace
from isosweep.store.records import BadRecord, NewerRecord, RecordFile, quarantine, record_files, record_path
from isosweep.store.status import Picture, RunState, look
from isosweep.store.store import Store
from isosweep.sweep.settings import Run
from isosweep.sweep.sweep import Sweep
from isosweep.tables.parquet import Table, collection_of, concatenated, read_group
from isosweep.tables.previous import STATE, Previous, read_previous, state_table
from isosweep.tables.rows import details
from isosweep.tables.runs import Measured, runs_schema, runs_table
from isosweep.tables.schema import FISHER, JACOBIAN, LAYERS, TRAINING, schema_of

__all__ = ["SCHEMA_VERSION", "Collected", "collect"]

SCHEMA_VERSION = 1
# Runs of a bucket, which is what is read, merged and written at a time; and how many buckets there are at most. Where
# that many records come to more bytes than these, there are as many buckets as bring them below.
_BUCKET_RUNS = 500
_MOST_BUCKETS = 256
_BUCKET_BYTES = 64_000_000
# How often a collection is begun anew because another came between.
_TRIES = 5
_DETAILS = {"fisher": FISHER, "jacobian": JACOBIAN, "layers": LAYERS, "training": TRAINING}
_TABLES = (*_DETAILS, "runs")


@dataclass
class Collected:
    """What `collect` found: rows by status, records set aside and records that are there but could not be read or set
    aside (path → reason), how many runs each environment class has, and how many records were read anew.
    """

    out: Path
    statuses: Counter[str] = field(default_factory=Counter)
    set_aside: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    environments: Counter[str] = field(default_factory=Counter)
    read: int = 0


def collect(
    sweep: Sweep,
    store: Store,
    out: Path,
    *,
    set_aside: bool = True,
    progress: Callable[[int], None] | None = None,
    collection: str | None = None,
) -> Collected:
    """Write `runs`, `fisher`, `jacobian`, `layers` and `training` (Parquet) and ``sweep.json`` into the folder `out`.

    Records that an earlier collection in `out` has read already are taken from there.

    Args:
        sweep: whose runs; `runs` has one row for each, in the file's order, recorded or not. The other tables are
            sorted by run id.
        store: where the records are.
        out: made if need be; tables of these names in it are replaced.
        set_aside: move bad records to the store's quarantine (else they are only reported).
        progress: called with the number of records read.
        collection: the id that the tables bear, for a folder that nobody else collects into; a random one if None.

    Raises:
        OSError: `out` cannot be written; the tables there are as they were.
    """
    out.mkdir(parents=True, exist_ok=True)
    result = Collected(out)
    for attempt in range(_TRIES):
        if _collect(sweep, store, result, collection or secrets.token_hex(8), set_aside, progress):
            break
        if len({collection_of(out / f"{name}.parquet") for name in _TABLES}) == 1:
            break  # another's, all of them: later than ours
        time.sleep(0.05 * secrets.randbelow(4 + 4 * attempt))
    return result


def _collect(
    sweep: Sweep,
    store: Store,
    result: Collected,
    collection: str,
    set_aside: bool,
    progress: Callable[[int], None] | None,
) -> bool:
    """One collection; whether all that lies in the folder afterwards is its own, or was up to date before."""
    out, runs = result.out, sweep.runs()
    picture = look(store)
    files = record_files(store)
    buckets = _how_many_buckets(len(runs), sum(files[run.id].size for run in runs if run.id in files))
    about = {
        "sweep": sweep.hash,
        "name": sweep.name,
        "overrides": list(sweep.overrides),
        "code": [code_id(package_root() / room) for room in ("tables", "theory")],
        "schema": SCHEMA_VERSION,
        "buckets": buckets,
    }
    states = picture.states(run.id for run in runs)
    previous = read_previous(out, _TABLES, about)
    made_from = {run: _made_from(run, state, files) for run, state in states.items()}
    result.statuses, result.environments = Counter(), Counter()
    if previous is not None and previous.made_from == made_from and (out / "sweep.json").is_file():
        _count(result, previous.file("runs").read(columns=["status", "environment_class"]))
        return True
    unchanged = {run for run, made in made_from.items() if previous is not None and previous.made_from.get(run) == made}
    schemas = {name: schema_of(columns) for name, columns in _DETAILS.items()}
    tables: dict[str, Table] = {}
    try:
        for name, schema in schemas.items():
            tables[name] = Table(out / f"{name}.parquet", schema, collection)
        reader = _Reader(store, picture, result, set_aside, progress)
        groups, measured = _write_details(runs, reader, schemas, tables, previous, unchanged, buckets)
        states = picture.states(run.id for run in runs)  # less what was set aside
        for run in reader.lost:
            made_from[run] = "set aside"
        kept = previous.file("runs").read() if previous is not None else None
        schema = runs_schema(runs)
        if kept is None or kept.schema.remove_metadata() != schema.remove_metadata():
            kept, unchanged_rows = None, set[str]()
        else:
            unchanged_rows = {run for run in unchanged if run not in reader.lost}
        if kept is None and unchanged:
            # the columns are others now: what was measured is read from the details' source, the records
            reader.rows(sorted(unchanged & picture.records.keys()), measured)
        causes = {run.id: _cause(states[run.id]) for run in runs if run.id not in unchanged_rows}
        tables["runs"] = Table(out / "runs.parquet", schema, collection, found_by="run_id")
        whole = runs_table(sweep, states, measured, causes, kept, unchanged_rows, schema)
        tables["runs"].write(whole, split=True)
        _count(result, whole)
        for table in tables.values():
            table.writer.close()
        tables["state"] = state_table(out, collection, about, made_from, groups)
        replace(out / "sweep.json", json.dumps(_about(sweep), indent=1, sort_keys=True).encode() + b"\n")
        for table in tables.values():
            table.publish()
    except BaseException:
        for table in tables.values():
            table.abandon()
        raise
    return all(collection_of(out / name) == collection for name in (*(f"{n}.parquet" for n in _TABLES), STATE))


def _how_many_buckets(runs: int, size: int) -> int:
    """Buckets for so many runs, whose records have so many bytes: by bytes in powers of two, so that records that come
    in seldom change their number, which has all of them read anew.
    """
    by_runs = max(1, min(_MOST_BUCKETS, -(-runs // _BUCKET_RUNS)))
    by_bytes = 1 << max(0, -(-size // _BUCKET_BYTES) - 1).bit_length()
    return max(by_runs, by_bytes)


def _made_from(run: str, state: RunState, files: Mapping[str, RecordFile]) -> str:
    """What a run's row is made from: its record's file, else its state."""
    if state.status in ("done", "diverged"):
        return f"{state.status} {files[run].stamp if run in files else 'gone'} {len(state.attempts)}"
    return f"{state.status} {len(state.attempts)} {state.why or ''}"


def _cause(state: RunState) -> str | None:
    """The first line of what the run's last failure is put down to."""
    if state.status in ("done", "diverged") or (state.why is None and not state.attempts):
        return None
    said = state.why if state.why is not None else str(read_attempt(state.attempts[-1]).get("cause", ""))
    return said.split("\n")[0]


def _count(result: Collected, runs: pa.Table) -> None:
    """Rows by status, and by environment class."""
    for column, counter in (("status", result.statuses), ("environment_class", result.environments)):
        for item in pc.value_counts(runs[column].combine_chunks()).to_pylist():
            if item["values"] is not None:
                counter[item["values"]] = item["counts"]


class _Reader:
    """Reads records, and notes those that cannot be used."""

    def __init__(
        self,
        store: Store,
        picture: Picture,
        result: Collected,
        set_aside: bool,
        progress: Callable[[int], None] | None,
    ):
        self.store, self.picture, self.result, self.set_aside = store, picture, result, set_aside
        self.progress = progress or (lambda done: None)
        self.lost: set[str] = set()
        self._records = RecordReader()

    def read(self, runs: Sequence[str]) -> pa.Table | None:
        """The records of these runs, in that order, less those that cannot be used; None if that is all of them."""
        paths = [record_path(self.store, run, self.picture.records[run]) for run in runs]
        found = self._records.read(paths)
        for place, problem in found.problems.items():
            del self.picture.records[runs[place]]
            self.lost.add(runs[place])
            _note(self.store, paths[place], problem, self.result, self.set_aside)
        self.result.read += len(runs)
        self.progress(self.result.read)
        return found.table if len(found.table) else None

    def rows(self, runs: Sequence[str], measured: Measured) -> None:
        """Add what the records of these runs give to their rows in `runs`."""
        for start in range(0, len(runs), _BUCKET_RUNS):
            if (records := self.read(runs[start : start + _BUCKET_RUNS])) is not None:
                measured.add(records)


def _buckets(runs: Sequence[Run], recorded: Mapping[str, str], number: int) -> Iterator[tuple[int, list[Run]]]:
    """The recorded runs in the order of their ids, by bucket: ids are hashes, so buckets are about alike, and adding
    runs moves none to another.
    """
    found: dict[int, list[Run]] = {}
    for run in sorted((run for run in runs if run.id in recorded), key=lambda run: run.id):
        found.setdefault(int(run.id[:4], 16) * number >> 16, []).append(run)
    yield from found.items()


def _write_details(
    runs: Sequence[Run],
    reader: _Reader,
    schemas: Mapping[str, pa.Schema],
    tables: Mapping[str, Table],
    previous: Previous | None,
    unchanged: set[str],
    buckets: int,
) -> tuple[dict[str, list[int]], Measured]:
    """Write every table but `runs`; the bucket of each row group, and what new records give to `runs`."""
    groups: dict[str, list[int]] = {name: [] for name in schemas}
    measured = Measured()
    with contextlib.ExitStack() as stack:
        old = {name: stack.enter_context(previous.file(name)) for name in schemas} if previous is not None else {}
        for bucket, members in _buckets(runs, reader.picture.records, buckets):
            new = [run for run in members if run.id not in unchanged]
            kept = {run.id for run in members if run.id in unchanged}
            records = reader.read([run.id for run in new]) if new else None
            if records is not None:
                measured.add(records)
            by_id = {run.id: run for run in new}
            for name, schema in schemas.items():
                parts = []
                if previous is not None and kept and bucket in previous.groups[name]:
                    parts.append(read_group(old[name], previous.groups[name].index(bucket), kept, schema))
                if records is not None:
                    parts.append(details(name, records, by_id, measured.inputs, schema))
                whole = concatenated(parts, schema)
                if len(parts) > 1:
                    whole = whole.take(pc.sort_indices(whole["run_id"]))  # stable: a run's rows stay in their order
                if tables[name].write(whole):
                    groups[name].append(bucket)
    return groups, measured


def _note(store: Store, path: Path, problem: BadRecord | OSError, result: Collected, set_aside: bool) -> None:
    """Note in `result` a record that cannot be used, and set it aside if it is bad."""
    if isinstance(problem, FileNotFoundError):
        return  # another collector has set it aside meanwhile
    if isinstance(problem, NewerRecord):
        result.unread[str(path)] = str(problem)
    elif isinstance(problem, BadRecord):
        result.set_aside[str(path)] = str(problem)
        if set_aside:
            try:
                quarantine(store, path, str(problem))
            except OSError as error:
                del result.set_aside[str(path)]
                result.unread[str(path)] = f"{problem}; and it could not be set aside: {error.strerror or error}"
    else:
        result.unread[str(path)] = problem.strerror or str(problem)


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
