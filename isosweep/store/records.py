"""Records: one immutable Arrow IPC file a run, whole or not at all, with a checksum over every byte and the digest of
what was measured.

A record is one row: settings and provenance as JSON, measured arrays as lists. A file has the columns alone that its
run measured, and reads as `record_schema` whatever they are. Its outcome is in its name, so that a listing tells which
runs are finished. A file that is torn, altered or not a record is told from a sound one by `read_record` and can be set
aside by `quarantine`. Many at once are read by `isosweep.store.many_records`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isosweep.measurement.training_columns import TRAINING_COLUMNS

from .publish import publish
from .store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from isosweep.measurement.measurement import Measurement
    from isosweep.sweep.settings import Run

__all__ = [
    "BLANK",
    "CHECKSUM",
    "OUTCOMES",
    "BadRecord",
    "NewerRecord",
    "RecordFile",
    "checksum_of",
    "decode_record",
    "encode_record",
    "has_record",
    "list_records",
    "publish_record",
    "quarantine",
    "read_record",
    "record_files",
    "record_path",
    "record_schema",
    "widened",
]

OUTCOMES = ("done", "diverged")
# 2: errors and density of a matrix-free Fisher. 3: training. 4: columns that hold something alone, the checksum at the
# foot alone. What a record lacks reads as null.
RECORD_FORMAT = 4
CHECKSUM = b"isosweep.checksum"
# What stands in the checksum's place while it is taken: text that occurs nowhere else.
BLANK = hashlib.sha256(b"the checksum of an isosweep record").hexdigest().encode()


class BadRecord(Exception):
    """A file among the records that is torn, altered, or no record."""


class NewerRecord(BadRecord):
    """A sound record that only a newer isosweep can read: nothing to set aside."""


def record_path(store: Store, run: str, outcome: str) -> Path:
    """Where the record of a run with this outcome is."""
    return store.records / store.fan(run) / f"{run}.{outcome}.arrow"


@functools.cache
def record_schema() -> pa.Schema:
    """The columns of a record."""
    import pyarrow as pa

    values = pa.list_(pa.float64())
    fisher = pa.struct(
        [
            ("step", pa.int64()),
            ("block", pa.string()),
            ("eigenvalues", values),
            ("lambda_max", pa.float64()),
            ("trace", pa.float64()),
            ("rank", pa.int64()),
            ("abs_error", pa.float64()),
            ("errors", values),
            ("density_nodes", values),
            ("density_counts", values),
            ("density_errors", values),
        ]
    )
    jacobian = pa.struct(
        [("step", pa.int64()), ("sample", pa.int64()), ("singular_values", values), ("log_singular_values", values)]
    )
    layers = pa.struct(
        [
            ("step", pa.int64()),
            ("layer", pa.int64()),
            ("block", pa.string()),
            ("q", pa.float64()),
            ("correlation", pa.float64()),
            ("scale", pa.float64()),
            ("orthogonality_error", pa.float64()),
        ]
    )
    training = pa.struct(
        [
            ("step", pa.int64()),
            ("epoch", pa.float64()),
            *((column.name, values if column.is_list else pa.float64()) for column in TRAINING_COLUMNS),
        ]
    )
    return pa.schema(
        [
            ("run_id", pa.string()),
            ("outcome", pa.string()),
            ("version", pa.int64()),
            ("digest", pa.string()),
            ("settings", pa.string()),
            ("provenance", pa.string()),
            ("scalars", pa.string()),
            ("fisher", pa.list_(fisher)),
            ("jacobian", pa.list_(jacobian)),
            ("layers", pa.list_(layers)),
            ("training", pa.list_(training)),
        ]
    )


def encode_record(run: Run, measurement: Measurement, outcome: str, version: int, provenance: dict[str, Any]) -> bytes:
    """The bytes of a record, sealed with their checksum."""
    import pyarrow as pa

    from isosweep.sweep.settings import to_json

    unknown = {name for point in measurement.training for name in point.values} - {c.name for c in TRAINING_COLUMNS}
    assert not unknown, f"{unknown} are no columns of the training curve: see TRAINING_COLUMNS"
    row = {
        "run_id": run.id,
        "outcome": outcome,
        "version": version,
        "digest": measurement.digest,
        "settings": to_json(run),
        "provenance": json.dumps(provenance, sort_keys=True),
        "scalars": json.dumps({k: repr(v) for k, v in sorted(measurement.scalars.items())}),
        "fisher": [vars(block) for block in measurement.fisher],
        "jacobian": [vars(sample) for sample in measurement.jacobian],
        "layers": [vars(layer) for layer in measurement.layers],
        "training": [{"step": point.step, "epoch": point.epoch, **point.values} for point in measurement.training],
    }
    metadata = {CHECKSUM: BLANK, b"isosweep.format": str(RECORD_FORMAT).encode()}
    batch = pa.RecordBatch.from_pylist([row], schema=_columns_of(row).with_metadata(metadata))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return _seal(sink.getvalue().to_pybytes())


def _columns_of(row: dict[str, Any]) -> pa.Schema:
    """The columns of `record_schema` that hold something in this row: of a list of structs, the fields that do.

    An Arrow file names its columns twice and keeps its books of every one, so that empty ones were half of a small
    record.
    """
    import pyarrow as pa

    fields = []
    for column in record_schema():
        kind, value = column.type, row[column.name]
        if pa.types.is_list(kind):
            if not value:
                continue
            parts = [part for part in kind.value_type if any(item.get(part.name) is not None for item in value)]
            kind = pa.list_(pa.struct(parts))
        fields.append(pa.field(column.name, kind))
    return pa.schema(fields)


def _seal(data: bytes) -> bytes:
    """Write the checksum into its place in the footer's metadata. In the same metadata at the file's head the place
    stays blank: the heads of all records with the same columns are the same bytes, and need be read once. An older
    isosweep, which looks at the footer, finds the checksum right and the format too new for it.
    """
    before, _, after = data.rpartition(BLANK)
    return before + hashlib.sha256(data).hexdigest().encode() + after


def checksum_of(*parts: bytes | memoryview) -> bytes:
    """The checksum of a file that comes in these parts, the checksum itself being `BLANK` in them."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest().encode()


def _unseal(data: bytes) -> pa.ipc.RecordBatchFileReader:
    """The data opened, if they are the bytes that were sealed; else raises `BadRecord`."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.BufferReader(data))
        metadata = reader.schema.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadRecord(f"no whole Arrow file: {str(error).splitlines()[0]}") from None
    checksum = metadata.get(CHECKSUM)  # the footer's; up to format 3 it is at the head too
    if checksum is None:
        raise BadRecord("an Arrow file, but no record of isosweep")
    if checksum_of(data.replace(checksum, BLANK)) != checksum:
        raise BadRecord("the checksum does not fit the content: the file was altered")
    if int(metadata.get(b"isosweep.format", b"0")) > RECORD_FORMAT:
        raise NewerRecord("a sound record in the format of a newer isosweep")
    return reader


def publish_record(store: Store, run: str, outcome: str, encoded: bytes) -> bool:
    """Publish a run's record; False if the run has one already (whatever its outcome), which then stays.

    Raises:
        OSError: the store cannot be written; nothing is lost but this measurement.
    """
    assert outcome in OUTCOMES, outcome
    if any(record_path(store, run, other).exists() for other in OUTCOMES if other != outcome):
        return False
    return publish(record_path(store, run, outcome), encoded)


def list_records(store: Store) -> dict[str, str]:
    """Run id → outcome of every record in the store; no file is opened."""
    found: dict[str, str] = {}
    try:
        folders = [entry.path for entry in os.scandir(store.records) if entry.is_dir()]
    except FileNotFoundError:
        return found
    for folder in folders:
        for name in os.listdir(folder):
            parts = name.split(".")
            if len(parts) == 3 and parts[2] == "arrow" and parts[1] in OUTCOMES:
                found[parts[0]] = parts[1]
    return found


class RecordFile(NamedTuple):
    """Which file a record is: inode and time stamp, by which a file put in its place, or written over, differs; and its
    size in bytes.
    """

    stamp: str
    size: int


def record_files(store: Store) -> dict[str, RecordFile]:
    """Run id → the file of its record. No file is opened."""
    files: dict[str, RecordFile] = {}
    try:
        folders = [entry.path for entry in os.scandir(store.records) if entry.is_dir()]
    except FileNotFoundError:
        return files
    for folder in folders:
        for entry in os.scandir(folder):
            if entry.name.endswith(".arrow"):
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat()
                    stamp = f"{found.st_ino}.{found.st_mtime_ns}"
                    files[entry.name.partition(".")[0]] = RecordFile(stamp, found.st_size)
    return files


def has_record(store: Store, run: str) -> bool:
    """Whether the run has a record; lists its folder first, which refreshes a network file system's memory of it."""
    try:
        return any(
            name.startswith(run + ".") and name.endswith(".arrow")
            for name in os.listdir(store.records / store.fan(run))
        )
    except FileNotFoundError:
        return False


def read_record(path: Path, name: str | None = None) -> pa.RecordBatch:
    """The record in the file: a batch of one row (see `record_schema`).

    Args:
        name: the record's name, where the file has another.

    Raises:
        BadRecord: torn, altered, foreign, or another run's than its name says.
        OSError: the file cannot be read at all.
    """
    return decode_record(path.read_bytes(), name or path.name)


def decode_record(data: bytes, name: str) -> pa.RecordBatch:
    """The record whose file of this name holds these bytes.

    Raises:
        BadRecord: as `read_record`.
    """
    import pyarrow as pa

    reader = _unseal(data)
    try:
        batch = reader.get_batch(0)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadRecord(f"cannot be decoded: {str(error).splitlines()[0]}") from None
    batch = widened(batch)
    if not batch.schema.equals(record_schema(), check_metadata=False) or batch.num_rows != 1:
        raise BadRecord("its columns are not a record's")
    run = batch.column("run_id")[0].as_py()
    if name != f"{run}.{batch.column('outcome')[0].as_py()}.arrow":
        raise BadRecord(f"it holds the record of {run}, which its name does not say")
    return batch


def widened(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Records with null, or an empty list, for the columns that they lack; as they are if they have others beside."""
    import pyarrow as pa

    wanted = record_schema()
    if batch.schema.equals(wanted, check_metadata=False) or not set(batch.schema.names) <= set(wanted.names):
        return batch
    columns = []
    for field in wanted:
        at = batch.schema.get_field_index(field.name)
        column = batch.column(at) if at >= 0 else _lacking(field.type, batch.num_rows)
        if pa.types.is_list(field.type) and pa.types.is_list(column.type) and column.type != field.type:
            column = _widened_structs(column, field.type)
        columns.append(column)
    fields = [pa.field(field.name, column.type) for field, column in zip(wanted, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=batch.schema.metadata))


def _lacking(kind: pa.DataType, rows: int) -> pa.Array:
    """A column that no file has: empty lists, or nulls."""
    import pyarrow as pa

    if not pa.types.is_list(kind):
        return pa.nulls(rows, kind)
    return pa.ListArray.from_arrays(pa.array([0] * (rows + 1), pa.int32()), pa.array([], kind.value_type))


def _widened_structs(column: pa.ListArray, wanted: pa.ListType) -> pa.ListArray:
    """A list of structs with null for the fields that `wanted` has and it has not; as it is if it has others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inner = column.flatten()
    if not (pa.types.is_struct(inner.type) and pa.types.is_struct(wanted.value_type)):
        return column
    names = [field.name for field in inner.type]
    if not set(names) <= {field.name for field in wanted.value_type}:
        return column
    parts = [
        inner.field(names.index(field.name)) if field.name in names else pa.nulls(len(inner), field.type)
        for field in wanted.value_type
    ]
    structs = pa.StructArray.from_arrays(parts, names=[field.name for field in wanted.value_type])
    return pa.ListArray.from_arrays(pc.subtract(column.offsets, column.offsets[0]), structs)


def quarantine(store: Store, path: Path, reason: str) -> Path | None:
    """Set a bad file aside, with the reason beside it, so that its run can be computed again. Nothing is deleted.

    None where there was nothing to do: another collector was faster, and the record may have been computed anew since.

    Raises:
        OSError: the store cannot be written; the file is where it was.
    """
    number = 0
    while True:
        target = store.quarantine / (path.name if not number else f"{path.name}.{number}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
            break
        except FileExistsError:
            number += 1
        except FileNotFoundError:
            return None
    try:
        read_record(target, path.name)
        sound = True
    except BadRecord:
        sound = False
    if sound:
        target.unlink()
        return None
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), target.stat()):
            path.unlink()
    publish(target.with_name(target.name + ".reason"), (reason + "\n").encode())
    return target
