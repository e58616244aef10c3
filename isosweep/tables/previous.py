"""What an earlier collection left in a folder, so that only what is new since then is read.

Beside the tables lies ``.collected.parquet``: for every run of the sweep what its row was made from (the outcome and
the file number of its record, or the state of a run without one). It bears the same collection id as the tables; where
one differs (another collector came between, a file was replaced by hand) it is not used, and everything is read anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from isosweep.tables.parquet import COLLECTION, Table, collection_of

__all__ = ["STATE", "Previous", "read_previous", "state_table"]

STATE = ".collected.parquet"
_ABOUT = b"isosweep.about"
_SCHEMA = pa.schema([("run_id", pa.string()), ("made_from", pa.string())])


@dataclass(frozen=True)
class Previous:
    """An earlier collection.

    Attributes:
        about: what all of it depends on: the sweep, isosweep's code, the number of buckets.
        made_from: what each run's row was made from.
        groups: table → bucket of each of its row groups, in order.
    """

    folder: Path
    about: dict[str, Any]
    made_from: dict[str, str]
    groups: dict[str, list[int]]

    def file(self, name: str) -> pq.ParquetFile:
        """A table, to be read by row groups."""
        return pq.ParquetFile(self.folder / f"{name}.parquet")


def state_table(
    folder: Path,
    collection: str,
    about: dict[str, Any],
    made_from: dict[str, str],
    groups: dict[str, list[int]],
) -> Table:
    """The state of a collection, ready to be published with its tables."""
    noted = json.dumps({"about": about, "groups": groups}, sort_keys=True).encode()
    table = Table(folder / STATE, _SCHEMA.with_metadata({_ABOUT: noted}), collection)
    table.write(pa.table({"run_id": list(made_from), "made_from": list(made_from.values())}, schema=_SCHEMA))
    table.writer.close()
    return table


def read_previous(folder: Path, names: tuple[str, ...], about: dict[str, Any]) -> Previous | None:
    """The collection in this folder, if it is whole and depends on nothing else than `about`."""
    try:
        state = pq.read_table(folder / STATE)
        noted = json.loads(state.schema.metadata[_ABOUT])
        collection = state.schema.metadata[COLLECTION].decode()
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    if noted["about"] != about or any(collection_of(folder / f"{name}.parquet") != collection for name in names):
        return None
    made_from = dict(zip(state["run_id"].to_pylist(), state["made_from"].to_pylist(), strict=True))
    return Previous(folder, about, made_from, noted["groups"])
