"""Records read by the hundred are those read one by one, and what is wrong with one is told of that one alone."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, Measurement, TrainingPoint
from isosweep.store import records
from isosweep.store.many_records import RecordReader
from isosweep.store.records import BadRecord, NewerRecord, encode_record, publish_record, read_record, record_path
from isosweep.store.store import Store
from isosweep.sweep.settings import DataSettings, MeasureSettings, NetworkSettings, Run

OLD = Path(__file__).parent / "records_of_format_3"
NAN = float("nan")


def measurement(kind: int, shift: float) -> Measurement:
    """Five kinds of what may be measured: each has columns that others lack."""
    values = np.array([3.0, 2.0, -0.0, NAN]) + shift
    blocks = (
        (FisherBlock(0, "all", values, 3.0, 4.0, 2, 1e-15), FisherBlock(0, "layer1", None, 1.0, 2.0, 1)),
        (FisherBlock(0, "all", values, 3.0, 4.0, None, None, values, values, values, values),),
        (),
        (FisherBlock(0, "all", None, 3.0, 4.0, 2, None),),
        (),
    )[kind]
    sample = JacobianSample(0, 0, np.abs(values), values)
    layer = LayerActivity(0, 1, "layer1", 0.5, NAN, 1.0 if kind == 3 else None)
    points = (TrainingPoint(0, 0.0, {"train_loss": shift}), TrainingPoint(1, 0.5, {"hessian_eigenvalues": values}))
    return Measurement(
        blocks,
        (sample, sample) if kind in (0, 3) else (),
        (layer,) if kind != 4 else (),
        {"fisher_frobenius": shift},
        points if kind == 3 else (),
        "diverged" if kind == 3 else "done",
    )


def write(store: Store, number: int) -> Path:
    network = NetworkSettings(2, 4, "tanh", init="orthogonal", gain=1.0, bias_std=0.0)
    data = DataSettings("gaussian", 8, "unit", 1.0, 64, 10)
    run = Run(network, data, MeasureSettings(None, None), number, f"{number:020x}")
    measured = measurement(number % 5, float(number))
    assert publish_record(
        store, run.id, measured.outcome, encode_record(run, measured, measured.outcome, 1, {"hostname": f"n{number}"})
    )
    return record_path(store, run.id, measured.outcome)


def one_by_one(paths: list[Path]) -> pa.Table:
    return pa.Table.from_batches([read_record(path).replace_schema_metadata(None) for path in paths])


def same(left: pa.Table, right: pa.Table) -> bool:
    """Equal to the bit, NaN being NaN."""
    return repr(left.to_pylist()) == repr(right.to_pylist()) and left.schema == right.schema


@pytest.mark.parametrize("numbers", [[1], [0, 5, 10], range(80), [*range(0, 200, 5), 3], []])
def test_they_are_those_read_one_by_one_in_the_order_asked_for(tmp_path: Path, numbers: list[int]) -> None:
    store = Store(tmp_path)
    paths = [write(store, number) for number in numbers]
    random.Random(0).shuffle(paths)
    reader = RecordReader()
    for _ in range(2):  # the second time it knows every kind
        found = reader.read(paths)
        assert not found.problems
        assert same(found.table, one_by_one(paths) if paths else records.record_schema().empty_table())


def test_older_ones_among_them_are_read_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = sorted(OLD.glob("*.arrow"))
    paths = [write(store, 0), old[0], write(store, 1), *old[1:], write(store, 5)]
    assert len(old) == 4
    found = RecordReader().read(paths)
    assert not found.problems
    assert same(found.table, one_by_one(paths))


def test_a_flipped_bit_anywhere_or_a_missing_tail_is_told_of_that_one_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    paths = [write(store, number) for number in (0, 5, 10)]
    reader = RecordReader()
    reader.read(paths)
    whole, others = paths[1].read_bytes(), one_by_one([paths[0], paths[2]])
    draw = random.Random(0)
    torn = [whole[:length] for length in (0, 7, 16, 100, len(whole) // 2, len(whole) - 11, len(whole) - 1)]
    for _ in range(250):
        altered = bytearray(whole)
        altered[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        torn.append(bytes(altered))
    for data in (*torn, whole + b"\0"):
        paths[1].write_bytes(data)
        found = reader.read(paths)
        assert list(found.problems) == [1]
        assert isinstance(found.problems[1], BadRecord)
        assert same(found.table, others)


def test_what_lacks_what_is_anothers_and_what_is_of_a_newer_isosweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    paths = [write(store, number) for number in (0, 5, 10, 15, 20)]
    reader = RecordReader()
    reader.read(paths)
    paths[1].unlink()
    shutil.copy(paths[0], paths[2])
    paths[3].unlink()
    with monkeypatch.context() as newer:
        newer.setattr(records, "RECORD_FORMAT", records.RECORD_FORMAT + 1)
        write(store, 15)
    found = reader.read(paths)
    assert isinstance(found.problems.pop(1), FileNotFoundError)
    assert "its name does not say" in str(found.problems.pop(2))
    assert isinstance(found.problems.pop(3), NewerRecord)
    assert not found.problems
    assert same(found.table, one_by_one([paths[0], paths[4]]))


def test_records_alike_have_the_same_head_and_no_empty_columns(tmp_path: Path) -> None:
    """What collecting quickly, and small records, rest upon."""
    store = Store(tmp_path)
    heads = set()
    for number in (0, 5, 10):
        data = write(store, number).read_bytes()
        heads.add(data[: 16 + int.from_bytes(data[12:16], "little")])
    assert len(heads) == 1
    columns = pa.ipc.open_file(write(store, 4)).schema.names
    assert columns == ["run_id", "outcome", "version", "digest", "settings", "provenance", "scalars"]
