"""Tables on disk: Parquet files written a row group at a time under a temporary name, and given their own together.

Readers skip the row groups that cannot hold what they look for. Tables sorted by run id need nothing for that but the
least and the largest id of each group; the table `runs`, which is in the sweep's order, has a Bloom filter beside.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Collection, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from isosweep.store.publish import TEMPORARY_PREFIX

__all__ = ["COLLECTION", "Table", "collection_of", "read_group"]

# In every table's metadata: which collection wrote it. Tables that go together have the same.
COLLECTION = b"isosweep.collection"
_LEVEL = 1  # of zstd: measured floats hardly shrink, and a higher level only takes longer
# Rows of a group in a table that is written at once, and how often its Bloom filter may be wrong about a group.
_GROUP_ROWS, _FALSE_POSITIVES = 4096, 0.01


class Table:
    """A Parquet file under way: a row group for each `write`, zstd, dictionaries for text alone.

    Args:
        found_by: a text column of values in no order, by which rows are to be found all the same.
    """

    def __init__(self, path: Path, schema: pa.Schema, collection: str, *, found_by: str | None = None):
        self.path = path
        self.schema = schema.with_metadata({**(schema.metadata or {}), COLLECTION: collection.encode()})
        self.temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        try:
            self.writer = pq.ParquetWriter(
                self.temporary,
                self.schema,
                compression="zstd",
                compression_level=_LEVEL,
                use_dictionary=texts or False,
                bloom_filter_options=found_by and {found_by: {"ndv": _GROUP_ROWS, "fpp": _FALSE_POSITIVES}},
            )
        except OSError:
            self.temporary.unlink(missing_ok=True)
            raise

    def write(self, table: pa.Table, *, split: bool = False) -> bool:
        """Append a row group (`split`: several, of some thousand rows), the columns in the schema's order and types;
        False, and nothing, where it has no rows.
        """
        if table.num_rows:
            rows = _GROUP_ROWS if split else table.num_rows
            self.writer.write_table(table.select(self.schema.names).cast(self.schema), row_group_size=rows)
        return bool(table.num_rows)

    def publish(self) -> None:
        """Give the finished file its name, over an older one."""
        self.temporary.replace(self.path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self.writer.close()
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)


def collection_of(path: Path) -> str | None:
    """Which collection wrote a table; None where there is none, or another program's."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    found = metadata.get(COLLECTION)
    return None if found is None else found.decode()


def read_group(file: pq.ParquetFile, group: int, keep: Collection[str] | None, schema: pa.Schema) -> pa.Table:
    """A row group as a table of `schema`'s columns, less the runs that are not in `keep` (None: all are)."""
    table = file.read_row_group(group, columns=list(schema.names)).replace_schema_metadata(None)
    if keep is None:
        return table
    return table.filter(pa.compute.is_in(table["run_id"], pa.array(list(keep), pa.string())))


def concatenated(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables of one schema in one, an empty one if there are none."""
    found = [table.select(schema.names).cast(schema) for table in tables if table.num_rows]
    return pa.concat_tables(found) if found else schema.empty_table()
