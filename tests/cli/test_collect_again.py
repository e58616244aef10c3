"""Collecting again reads only what is new, and leaves what a first collection would: whoever came between."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_records import publish_made

from isosweep.store.attempts import publish_attempt
from isosweep.store.records import record_path
from isosweep.store.store import Store
from isosweep.sweep.settings import Run
from isosweep.sweep.sweep import Sweep, load
from isosweep.tables import collect as module
from isosweep.tables.collect import collect
from isosweep.tables.parquet import collection_of

SPEC = """\
name: again
network: {depth: [1, 2], width: 4, activation: tanh, init: orthogonal, gain: [0.9, 1.1]}
data: {name: gaussian, inputs: 4, classes: 2, samples: 4}
measure: {fisher: {samples: 2, likelihood: gaussian}, jacobian: {samples: 2}}
seeds: 15
"""
NAMES = ("runs", "fisher", "jacobian", "layers", "training")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    (tmp_path / "again.yaml").write_text(SPEC)
    return load(tmp_path / "again.yaml")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def record(store: Store, run: Run, shift: float = 0.0) -> None:
    """A sound record whose numbers follow from the run's id."""
    draw = np.random.default_rng(int(run.id[:8], 16))
    publish_made(store, run, np.sort(draw.random(4))[::-1] + shift, singular=2)


def tables(folder: Path) -> dict[str, pa.Table]:
    return {name: pq.read_table(folder / f"{name}.parquet").replace_schema_metadata(None) for name in NAMES}


def check_fresh(sweep: Sweep, store: Store, out: Path, tmp_path: Path) -> None:
    """The tables in `out` are those of a collection into an empty folder, and belong together."""
    fresh = tmp_path / f"fresh-{random.random()}"
    collect(sweep, store, fresh)
    again, first = tables(out), tables(fresh)
    for name in NAMES:
        assert again[name].equals(first[name]), name
    assert len({collection_of(out / f"{name}.parquet") for name in NAMES}) == 1


@pytest.mark.parametrize("buckets", [4, 500])
def test_again_and_again(
    sweep: Sweep, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    """Records come in any order, one fails, one is torn and computed anew with other numbers."""
    monkeypatch.setattr(module, "_BUCKET_RUNS", buckets)
    out, runs = tmp_path / "out", sorted(sweep.runs(), key=lambda run: run.id)
    random.Random(0).shuffle(runs)
    assert collect(sweep, store, out).statuses == {"missing": 60}
    for step, part in enumerate((runs[:7], runs[7:8], runs[8:50])):
        for run in part:
            record(store, run)
        if step == 1:
            publish_attempt(store, runs[55].id, "failed", "ValueError: planted", "t-0")
        assert collect(sweep, store, out).read == len(part)
        check_fresh(sweep, store, out, tmp_path)
    stamps = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    result = collect(sweep, store, out)
    assert (result.read, result.statuses["done"], result.environments) == (0, 50, {"abc": 50})
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == stamps

    torn = record_path(store, runs[3].id, "done")
    torn.unlink()
    torn.write_bytes(b"torn")
    assert collect(sweep, store, out).statuses == {"done": 49, "failed": 1, "missing": 10}
    check_fresh(sweep, store, out, tmp_path)
    record(store, runs[3], shift=1.0)
    assert collect(sweep, store, out).read == 1
    check_fresh(sweep, store, out, tmp_path)


def test_tables_of_different_collections_are_not_built_upon(sweep: Sweep, store: Store, tmp_path: Path) -> None:
    """One table was put back from a copy: everything is read anew, and the five agree again."""
    out, runs = tmp_path / "out", sweep.runs()
    record(store, runs[0])
    collect(sweep, store, out)
    old = (out / "fisher.parquet").read_bytes()
    record(store, runs[1])
    collect(sweep, store, out)
    (out / "fisher.parquet").write_bytes(old)
    assert collect(sweep, store, out).read == 2
    check_fresh(sweep, store, out, tmp_path)


def test_other_arguments_are_another_collection(sweep: Sweep, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    record(store, sweep.runs()[0])
    collect(sweep, store, out)
    more = load(tmp_path / "again.yaml", ["seeds=16"])
    assert collect(more, store, out).statuses == {"done": 1, "missing": 63}
    check_fresh(more, store, out, tmp_path)


def test_two_collectors_at_different_moments_leave_tables_of_one(
    sweep: Sweep, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes while the first is giving its files their names, and has seen one record more."""
    out, runs = tmp_path / "out", sweep.runs()
    record(store, runs[0])
    publish = module.Table.publish
    came: list[int] = []

    def interrupted(table: module.Table) -> None:
        publish(table)
        if table.path.name == "jacobian.parquet" and not came:
            came.append(1)
            record(store, runs[1])
            other = threading.Thread(target=collect, args=(sweep, store, out))
            other.start()
            other.join()

    monkeypatch.setattr(module.Table, "publish", interrupted)
    assert collect(sweep, store, out).statuses["done"] == 2
    check_fresh(sweep, store, out, tmp_path)
