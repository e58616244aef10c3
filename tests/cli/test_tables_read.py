"""The tables of a collection as others read them: pandas, pyarrow, DuckDB and polars, a column or one run, without
going through the whole file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from made_records import publish_made

from isosweep.store.store import Store
from isosweep.sweep.sweep import Sweep, load
from isosweep.tables import collect as module
from isosweep.tables import parquet
from isosweep.tables.collect import collect

SPEC = """\
name: read
network: {depth: [1, 2], width: 4, activation: tanh, init: orthogonal, gain: [0.9, 1.1]}
data: {name: gaussian, inputs: 4, classes: 2, samples: 4}
measure: {fisher: {samples: 2, likelihood: gaussian}, jacobian: {samples: 2}}
seeds: 30
"""
GROUPS = 12
SORTED = ("fisher", "jacobian", "layers")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Path]:
    """120 runs in tables of a dozen row groups."""
    folder = tmp_path_factory.mktemp("read")
    (folder / "read.yaml").write_text(SPEC)
    sweep, store = load(folder / "read.yaml"), Store(folder / "store").create()
    draw = np.random.default_rng(0)
    for run in sweep.runs():
        publish_made(store, run, np.sort(draw.random(40))[::-1], singular=4)
    with pytest.MonkeyPatch.context() as small:
        small.setattr(module, "_BUCKET_RUNS", len(sweep.runs()) // GROUPS)
        small.setattr(parquet, "_GROUP_ROWS", len(sweep.runs()) // GROUPS)
        collect(sweep, store, folder / "tables")
    return sweep, folder / "tables"


def test_all_four_read_the_same_column_and_the_same_run(collected: tuple[Sweep, Path]) -> None:
    sweep, folder = collected
    for name in (*SORTED, "runs"):
        path = str(folder / f"{name}.parquet")
        column = "q" if name == "layers" else "sample" if name == "jacobian" else "lambda_max"
        column = "fisher_lambda_max" if name == "runs" else column
        whole = pq.read_table(path, columns=[column])[column].to_pylist()
        assert pd.read_parquet(path, columns=[column])[column].tolist() == whole
        assert pl.read_parquet(path, columns=[column])[column].to_list() == whole
        assert [row[0] for row in duckdb.sql(f"select {column} from '{path}'").fetchall()] == whole
        run = sweep.runs()[77].id
        rows = pq.read_table(path, filters=[("run_id", "==", run)]).to_pylist()
        assert {row["run_id"] for row in rows} == {run}
        keys = list(rows[0])
        frame = pd.read_parquet(path, filters=[("run_id", "==", run)])
        assert plain(frame.to_dict("records")) == plain(rows)
        assert plain(pl.scan_parquet(path).filter(pl.col("run_id") == run).collect().to_dicts()) == plain(rows)
        found = duckdb.sql(f"select * from '{path}' where run_id = '{run}'").fetchall()
        assert plain([dict(zip(keys, values, strict=True)) for values in found]) == plain(rows)


def plain(rows: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    """Rows without what is null, which a data frame tells by NaN; arrays as lists."""
    found = []
    for row in rows:
        lists = {str(name): list(v) if isinstance(v, (list, np.ndarray)) else v for name, v in row.items()}
        found.append({n: v for n, v in lists.items() if v is not None and v is not pd.NA and v == v})
    return found


def test_one_runs_rows_are_in_one_row_group(collected: tuple[Sweep, Path]) -> None:
    """The ids' least and largest leave one group for pandas and pyarrow to read."""
    sweep, folder = collected
    for name in SORTED:
        path = folder / f"{name}.parquet"
        file = pq.ParquetFile(path)
        assert file.num_row_groups == GROUPS
        (fragment,) = ds.dataset(path).get_fragments()
        for run in sweep.runs():
            assert len(fragment.subset(ds.field("run_id") == run.id).row_groups) == 1
        for group in range(GROUPS):
            column = file.metadata.row_group(group).column(0)
            assert column.compression == "ZSTD"
            assert column.statistics.has_min_max


@pytest.mark.parametrize("name", [*SORTED, "runs"])
def test_duckdb_scans_one_row_group_for_one_run(collected: tuple[Sweep, Path], tmp_path: Path, name: str) -> None:
    """In `runs`, which is in the sweep's order, by the Bloom filters, which may rarely take a group too many."""
    sweep, folder = collected
    said = tmp_path / "profile.json"
    with duckdb.connect() as connection:
        connection.execute("PRAGMA enable_profiling='json'")
        connection.execute(f"PRAGMA profiling_output='{said}'")
        scanned = []
        for run in sweep.runs()[::10]:
            query = f"select * from '{folder / name}.parquet' where run_id = '{run.id}'"
            assert len(connection.execute(query).fetchall()) == {"runs": 1, "fisher": 1}.get(name, 2)
            scan = next(one for one in operators(json.loads(said.read_text())) if one["type"] == "TABLE_SCAN")
            assert scan["total_row_groups_to_scan"] == GROUPS
            scanned.append(scan["row_groups_scanned"])
    assert sum(scanned) <= len(scanned) + (2 if name == "runs" else 0)


def operators(node: dict[str, Any] | list[Any]) -> list[dict[str, Any]]:
    """Every operator of DuckDB's account of a query."""
    if isinstance(node, list):
        return [one for item in node for one in operators(item)]
    below = operators(node.get("children", [])) + operators(node.get("operator", []))
    return [*([node] if "type" in node else []), *below]


def test_polars_reads_one_row_group_for_one_run(
    collected: tuple[Sweep, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    sweep, folder = collected
    with pl.Config(verbose=True):
        for name in SORTED:
            capfd.readouterr()
            rows = pl.scan_parquet(folder / f"{name}.parquet").filter(pl.col("run_id") == sweep.runs()[5].id).collect()
            assert len(rows)
            assert f"reading 1 / {GROUPS} row groups" in capfd.readouterr().err


def test_an_axis_is_skipped_by_too(collected: tuple[Sweep, Path]) -> None:
    """`runs` is in the sweep's order: half of its groups have the one depth, half the other."""
    _, folder = collected
    (fragment,) = ds.dataset(folder / "runs.parquet").get_fragments()
    assert len(fragment.subset(ds.field("depth") == 2).row_groups) == GROUPS // 2
