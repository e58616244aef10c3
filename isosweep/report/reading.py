"""Tables of a sweep, read as far as a figure needs them.

`runs` is held whole; spectra stay on disk and are streamed for the runs that are asked for, batch by batch, so that the
memory needed does not grow with the sweep.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

__all__ = ["Tables", "TablesError", "load_tables"]

# What the report reads of every run; a table that lacks one of them gets it empty.
_EXPECTED: dict[str, Any] = {
    "run_id": "",
    "status": "missing",
    "seed": None,
    "depth": None,
    "width": None,
    "activation": None,
    "init": None,
    "gain": np.nan,
    "bias_std": np.nan,
    "failure_cause": None,
    "fisher_lambda_max": np.nan,
    "fisher_trace": np.nan,
    "fisher_condition_number": np.nan,
    "jacobian_s_max": np.nan,
    "environment_class": None,
    "code_id": None,
    "seconds": np.nan,
}
_NUMERIC = ("gain", "bias_std", "q_star", "negative_slope", "seconds", "peak_memory_bytes")
_NUMERIC_PREFIXES = (
    "fisher_lambda",
    "fisher_trace",
    "fisher_cond",
    "fisher_abs",
    "fisher_rank",
    "jacobian_s",
    "jacobian_log",
)
_BATCH_ROWS = 4096


class TablesError(Exception):
    """A folder that holds no tables the report can read; the message says where and what to do."""


@dataclass(frozen=True)
class Tables:
    """The tables of one sweep: `runs` in memory, one row a planned run; the spectra on disk."""

    runs: pd.DataFrame
    folder: Path | None = None
    sweep: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The sweep's name: of sweep.json, else of the rows, else of the folder."""
        if self.sweep.get("name"):
            return str(self.sweep["name"])
        if "sweep" in self.runs and len(self.runs):
            names = sorted({str(value) for value in self.runs["sweep"].dropna()})
            if names:
                return ", ".join(names[:3])
        return self.folder.name if self.folder is not None else "sweep"

    def has(self, table: str) -> bool:
        """Whether the folder holds this table."""
        return self.folder is not None and (self.folder / f"{table}.parquet").is_file()

    def whole(self, table: str, run_ids: Sequence[str]) -> pd.DataFrame:
        """All rows of a long table for the runs named, as far as its columns hold single numbers or words."""
        assert self.folder is not None
        dataset = pa.dataset.dataset(self.folder / f"{table}.parquet", format="parquet")
        columns = [field.name for field in dataset.schema if not pa.types.is_nested(field.type)]
        wanted = pa.dataset.field("run_id").isin(list(run_ids))
        frame: pd.DataFrame = dataset.to_table(columns=columns, filter=wanted).to_pandas()
        return frame

    def ids_beyond_start(self, table: str) -> set[str]:
        """The runs that have rows of a long table at a step after the first."""
        assert self.folder is not None
        dataset = pa.dataset.dataset(self.folder / f"{table}.parquet", format="parquet")
        found = dataset.to_table(columns=["run_id"], filter=pa.dataset.field("step") > 0)["run_id"]
        return set(found.unique().to_pylist())

    def rows(
        self, table: str, run_ids: Sequence[str], columns: Sequence[str], step: int = 0, block: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Rows of a long table for the runs named, at one step, lists as numpy arrays; in the table's order."""
        if not self.has(table) or not len(run_ids):
            return
        assert self.folder is not None
        dataset = pa.dataset.dataset(self.folder / f"{table}.parquet", format="parquet")
        names = [name for name in columns if name in dataset.schema.names]
        wanted = pa.dataset.field("run_id").isin(list(run_ids))
        if "step" in dataset.schema.names:
            wanted = wanted & (pa.dataset.field("step") == step)
        if block is not None:
            wanted = wanted & (pa.dataset.field("block") == block)
        for batch in dataset.to_batches(columns=names, filter=wanted, batch_size=_BATCH_ROWS):
            yield from _batch_rows(batch)


def _batch_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    plain: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            values, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
            valid = column.is_valid().to_numpy(zero_copy_only=False)
            plain[name] = [
                values[start:stop] if ok else None
                for start, stop, ok in zip(offsets[:-1], offsets[1:], valid, strict=True)
            ]
        else:
            plain[name] = column.to_pylist()
    for index in range(batch.num_rows):
        yield {name: values[index] for name, values in plain.items()}


def _prepared(runs: pd.DataFrame) -> pd.DataFrame:
    runs = runs.copy()
    for name, empty in _EXPECTED.items():
        if name not in runs:
            runs[name] = empty
    for name in runs.columns:
        if name in _NUMERIC or name.startswith(_NUMERIC_PREFIXES):
            runs[name] = pd.to_numeric(runs[name], errors="coerce").astype(float)
    runs["status"] = runs["status"].fillna("missing").astype(str)
    return runs.sort_values("run_id", kind="stable").reset_index(drop=True)


def load_tables(folder: str | Path) -> Tables:
    """The tables in `folder`, as `isosweep collect` writes them.

    Raises:
        TablesError: no readable runs.parquet there.
    """
    folder = Path(folder)
    path = folder / "runs.parquet"
    if not path.is_file():
        raise TablesError(f"no runs.parquet in {folder}; `isosweep collect SPEC --out {folder}` writes the tables")
    try:
        runs = pyarrow.parquet.read_table(path).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise TablesError(f"{path} is not a readable Parquet file ({error}); collect the tables again") from error
    described: Mapping[str, Any] = {}
    if (folder / "sweep.json").is_file():
        try:
            described = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise TablesError(f"{folder / 'sweep.json'} is not JSON ({error}); collect the tables again") from error
    return Tables(_prepared(runs), folder, described)
