"""A record is read back as it was written, and any other bytes are told from it."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, Measurement
from isosweep.store import records
from isosweep.store.attempts import attempts_of, publish_attempt, read_attempt
from isosweep.store.publish import TEMPORARY_PREFIX
from isosweep.store.records import (
    BadRecord,
    NewerRecord,
    encode_record,
    has_record,
    list_records,
    publish_record,
    quarantine,
    read_record,
    record_path,
)
from isosweep.store.store import FORMAT, Store, StoreError
from isosweep.sweep.settings import (
    DataSettings,
    FisherSettings,
    JacobianSettings,
    MeasureSettings,
    NetworkSettings,
    Run,
)

RUN = Run(
    NetworkSettings(2, 4, "tanh", init="orthogonal", gain=1.0, bias_std=0.0),
    DataSettings("digits", 8, "unit", 1.0, 64, 10),
    MeasureSettings(FisherSettings(4, "categorical", "summary"), JacobianSettings(1)),
    0,
    "0123456789abcdef0123",
)


def measurement(values: list[float]) -> Measurement:
    array = np.array(values)
    return Measurement(
        (FisherBlock(0, "all", array, 3.0, 4.0, 2, 1e-15), FisherBlock(0, "layer1", None, 1.0, 2.0, 1)),
        (JacobianSample(0, 0, np.abs(array), array),),
        (LayerActivity(0, 1, "layer1", 0.5, float("nan")),),
        {"fisher_frobenius": 5.0, "jacobian_log_s_min": float("-inf")},
    )


def write(store: Store, values: list[float]) -> Path:
    publish_record(store, RUN.id, "done", encode_record(RUN, measurement(values), "done", 1, {"hostname": "n1"}))
    return record_path(store, RUN.id, "done")


@settings(deadline=None)  # the first call imports pyarrow
@given(st.lists(st.floats(allow_nan=False), max_size=20))
def test_what_was_measured_comes_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    row = read_record(write(store, values)).to_pylist()[0]
    assert row["digest"] == measurement(values).digest
    assert np.array(row["fisher"][0]["eigenvalues"]).tobytes() == np.array(values).tobytes()
    assert row["fisher"][1]["eigenvalues"] is None
    assert json.loads(row["provenance"]) == {"hostname": "n1"}
    assert float(json.loads(row["scalars"])["jacobian_log_s_min"]) == float("-inf")


def test_any_flipped_bit_and_any_missing_tail_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = write(store, [1.0, 2.0, 3.0])
    whole = path.read_bytes()
    read_record(path)
    draw = random.Random(0)
    for _ in range(400):
        at, bit = draw.randrange(len(whole)), draw.randrange(8)
        altered = bytearray(whole)
        altered[at] ^= 1 << bit
        path.write_bytes(altered)
        with pytest.raises(BadRecord):
            read_record(path)
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadRecord):
            read_record(path)


def test_the_digest_sees_every_bit_and_no_provenance() -> None:
    base = measurement([1.0, 2.0]).digest
    assert measurement([1.0, np.nextafter(2.0, 3.0)]).digest != base
    assert measurement([1.0, -2.0]).digest != base
    assert measurement([0.0]).digest != measurement([-0.0]).digest
    assert measurement([1.0, 2.0]).digest == base


def test_a_record_is_published_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = write(store, [1.0])
    before = path.read_bytes()
    assert not publish_record(store, RUN.id, "done", encode_record(RUN, measurement([2.0]), "done", 1, {}))
    assert not publish_record(store, RUN.id, "diverged", encode_record(RUN, measurement([2.0]), "diverged", 1, {}))
    assert path.read_bytes() == before
    assert list_records(store) == {RUN.id: "done"}
    assert has_record(store, RUN.id)


def test_a_bad_record_is_set_aside_with_its_reason_and_never_deleted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(2):
        path = write(store, [1.0])
        path.write_bytes(b"torn")
        kept = quarantine(store, path, "torn")
        assert kept.read_bytes() == b"torn"
        assert not path.exists()
        assert len(list(store.quarantine.glob("*.reason"))) == number + 1


def test_a_sound_record_is_never_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that was computed anew since another collector judged the old one, nor a newer isosweep's."""
    store = Store(tmp_path)
    path = write(store, [1.0])
    assert quarantine(store, path, "what lay here before was torn") is None
    assert read_record(path).num_rows == 1
    assert not list(store.quarantine.iterdir())
    path.unlink()
    assert quarantine(store, path, "gone meanwhile") is None
    with monkeypatch.context() as newer:
        newer.setattr(records, "RECORD_FORMAT", records.RECORD_FORMAT + 1)
        write(store, [1.0])
    with pytest.raises(NewerRecord, match="newer isosweep"):
        read_record(path)


def test_a_flip_in_the_formats_number_is_noticed(tmp_path: Path) -> None:
    path = write(Store(tmp_path), [1.0])
    whole = path.read_bytes()
    key = b"isosweep.format"
    start = whole.rindex(key)
    for at in range(start - 24, start + len(key) + 24):  # the footer's copy is the one that is read
        altered = bytearray(whole)
        altered[at] ^= 64
        path.write_bytes(altered)
        with pytest.raises(BadRecord):
            read_record(path)


def test_a_record_under_another_runs_name_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = write(store, [1.0])
    other = path.with_name("f" * 20 + ".done.arrow")
    path.rename(other)
    with pytest.raises(BadRecord, match="its name does not say"):
        read_record(other)


def test_attempts_are_numbered_and_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for cause in ("first", "second"):
        publish_attempt(store, RUN.id, "failed", cause, "t-0", traceback="…")
    found = attempts_of(store, RUN.id)
    assert [(a.number, a.outcome, a.task) for a in found] == [(1, "failed", "t-0"), (2, "failed", "t-0")]
    assert [read_attempt(a)["cause"] for a in found] == ["first", "second"]
    found[0].path.write_bytes(b"{torn")
    assert "unreadable" in read_attempt(found[0])["cause"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (json.dumps({"format": FORMAT + 1, "uid": os.getuid()}), "newer isosweep"),
        (json.dumps({"format": FORMAT, "uid": os.getuid() + 1}), "belongs to user"),
        ("{", "not a store"),
    ],
)
def test_a_store_that_is_not_ours_is_refused(tmp_path: Path, header: str, said: str) -> None:
    (tmp_path / "store.json").write_text(header)
    with pytest.raises(StoreError, match=said):
        Store(tmp_path).create()
    assert [p.name for p in tmp_path.iterdir()] == ["store.json"]


def _create(root: Path, gate: Barrier, said: Queue[str]) -> None:
    gate.wait()
    try:
        Store(root).create()
        said.put("")
    except StoreError as error:
        said.put(str(error))


def test_many_launchers_may_make_one_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    gate, said = context.Barrier(6), context.Queue()
    for number in range(10):
        makers = [context.Process(target=_create, args=(tmp_path / f"{number}", gate, said)) for _ in range(6)]
        for maker in makers:
            maker.start()
        assert [said.get(timeout=240) for _ in makers] == [""] * 6
        for maker in makers:
            maker.join()


def test_what_a_killed_launcher_left_does_not_bar_the_store(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}n1-12-abc").write_bytes(b"isosweep")
    assert Store(tmp_path).create().exists


def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="name too long"):
        Store(tmp_path / ("a" * 300)).check_readable()


def test_a_folder_of_something_else_is_not_taken_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(StoreError, match="not empty and is no store"):
        Store(tmp_path).create()
