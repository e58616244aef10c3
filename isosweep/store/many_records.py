"""Many records at once: the files are read by several threads and become one table, in the order asked for.

A record's head, its schema, is the same bytes in every record with the same columns. So the first of each kind is read
by `isosweep.store.records.read_record`, and the others by what was learned from it: where the checksum is, and that
what lies between head and footer can be strung together to one stream behind one head. Every byte of every file goes
through its checksum all the same; a file that is in any way unlike the first goes the long way, which knows what is
wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from isosweep.store.records import (
    BLANK,
    CHECKSUM,
    BadRecord,
    checksum_of,
    decode_record,
    record_schema,
    widened,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ManyRecords", "RecordReader"]

_READERS = 4
# Files that a thread reads before it looks for further work.
_AT_A_TIME = 32
# Of an Arrow file: magic and padding, then a message's mark and length; the end of a stream; the footer's length and
# the magic again.
_MAGIC, _MARK = 8, 8
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_TAIL = 10


@dataclass
class ManyRecords:
    """Records that were asked for together.

    Attributes:
        table: the sound ones (see `record_schema`), in the order asked for; a chunk a column.
        problems: of the others, by their place among those asked for: why.
    """

    table: pa.Table
    problems: dict[int, BadRecord | OSError] = field(default_factory=dict)


class _Cut(NamedTuple):
    """A record's file, cut: its schema's message, the messages of its batch, and the length of its footer."""

    head: bytes
    body: bytes
    footer: int


def _cut(data: bytes) -> _Cut | None:
    """The parts of an Arrow file; None if it has not even their lengths."""
    head = _MAGIC + _MARK + int.from_bytes(data[_MAGIC + 4 : _MAGIC + _MARK], "little")
    footer = int.from_bytes(data[-_TAIL:-6], "little")
    end = len(data) - _TAIL - footer
    if not head < end or data[end - len(_END_OF_STREAM) : end] != _END_OF_STREAM:
        return None
    return _Cut(data[_MAGIC:head], data[head : end - len(_END_OF_STREAM)], footer)


class RecordReader:
    """Reads records by the hundred. It learns the kinds of records that it meets, and is used again for the next."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_READERS)
        # (head, length of the footer) → how far from the file's end its checksum begins
        self._checksum_at: dict[tuple[bytes, int], int] = {}

    def read(self, paths: Sequence[Path]) -> ManyRecords:
        """The records of these files; what is wrong with one is told of it, and is no error of the others."""
        import pyarrow as pa

        pieces = [paths[start : start + _AT_A_TIME] for start in range(0, len(paths), _AT_A_TIME)]
        read = [one for piece in self._pool.map(self._read_some, pieces) for one in piece]
        found = ManyRecords(record_schema().empty_table())
        alike: dict[bytes, list[int]] = {}
        single: list[tuple[int, pa.RecordBatch]] = []
        for place, one in enumerate(read):
            if isinstance(one, _Cut):
                alike.setdefault(one.head, []).append(place)
            elif isinstance(one, (BadRecord, OSError)):
                found.problems[place] = one
            else:
                single.append((place, one))
        places, batches = [place for place, _ in single], [batch for _, batch in single]
        for head, members in alike.items():
            batch = _strung(head, [one.body for place in members if isinstance(one := read[place], _Cut)])
            names = [paths[place].name for place in members]
            if batch is not None and _names(batch) == names:
                batches.append(batch)
                places += members
                continue
            for place in members:  # one of them is not what its name says
                try:
                    batches.append(decode_record(paths[place].read_bytes(), paths[place].name))
                    places.append(place)
                except (BadRecord, OSError) as error:
                    found.problems[place] = error
        if batches:
            plain = [batch.replace_schema_metadata(None) for batch in batches]
            found.table = pa.Table.from_batches(plain).combine_chunks()
        if places != sorted(places):
            order = sorted(range(len(places)), key=places.__getitem__)
            found.table = found.table.take(pa.array(order, pa.int64()))
        return found

    def _read_some(self, paths: Sequence[Path]) -> list[_Cut | pa.RecordBatch | BadRecord | OSError]:
        found: list[_Cut | pa.RecordBatch | BadRecord | OSError] = []
        for path in paths:
            try:
                found.append(self._read(path))
            except (BadRecord, OSError) as error:
                found.append(error)
        return found

    def _read(self, path: Path) -> _Cut | pa.RecordBatch:
        """A record of a known kind, its checksum verified; or one read the long way, whose kind is known then.

        Raises:
            BadRecord, OSError: as `isosweep.store.records.read_record`.
        """
        with open(path, "rb", buffering=0) as file:
            data = file.readall()
        cut = _cut(data)
        if cut is not None and (at := self._checksum_at.get((cut.head, cut.footer))) is not None:
            view = memoryview(data)
            if checksum_of(view[:-at], BLANK, view[len(BLANK) - at :]) == data[-at : len(BLANK) - at]:
                return cut
        batch = decode_record(data, path.name)
        if cut is not None and BLANK in cut.head:
            self._checksum_at[cut.head, cut.footer] = len(data) - data.rindex(batch.schema.metadata[CHECKSUM])
        return batch


def _strung(head: bytes, bodies: Sequence[bytes]) -> pa.RecordBatch | None:
    """The records in one batch of `record_schema`; None if they do not fit one stream."""
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(pa.py_buffer(b"".join((head, *bodies, _END_OF_STREAM)))) as stream:
            table = stream.read_all().combine_chunks()
        return widened(table.to_batches()[0]) if len(table) == len(bodies) else None
    except (pa.ArrowException, OSError, ValueError):
        return None


def _names(batch: pa.RecordBatch) -> list[str]:
    """What the records' files should be called."""
    pairs = zip(batch.column("run_id").to_pylist(), batch.column("outcome").to_pylist(), strict=True)
    return [f"{run}.{outcome}.arrow" for run, outcome in pairs]
