"""Checkpoints as files: whole or not at all, their own run's and version's or an error, never lost."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isosweep.measurement.environment import DECISIVE
from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, TrainingPoint
from isosweep.training import checkpoint_file
from isosweep.training import checkpoints as module
from isosweep.training.checkpoint_file import Content, OtherCheckpoint, TornCheckpoint, decode, encode
from isosweep.training.checkpoints import CheckpointError, Checkpoints
from isosweep.training.trajectory import EpochSums, Trajectory

ARRAYS = st.dictionaries(
    st.text(max_size=8),
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
    ),
    max_size=4,
)
VALUES = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.floats() | st.text(max_size=5), max_size=4)


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@settings(max_examples=60, deadline=None)
@given(arrays=ARRAYS, values=VALUES)
def test_what_is_written_is_read(arrays: dict[str, np.ndarray], values: dict[str, object]) -> None:
    found = decode(encode(Content("r", 3, values, arrays)), "r", 3)
    assert repr(found.values) == repr({**dict(sorted(values.items()))}) or found.values == values
    assert found.arrays.keys() == arrays.keys()
    assert all(equal(found.arrays[name], array) for name, array in arrays.items())


SOUND = encode(Content("run", 1, {"step": 7}, {"x": np.arange(9.0)}))


@settings(max_examples=80, deadline=None)
@given(at=st.integers(0, len(SOUND) - 1), flip=st.integers(1, 255), cut=st.booleans())
def test_a_changed_byte_or_a_missing_end_is_seen(at: int, flip: int, cut: bool) -> None:
    data = SOUND[:at] if cut else SOUND[:at] + bytes([SOUND[at] ^ flip]) + SOUND[at + 1 :]
    with pytest.raises(TornCheckpoint):
        decode(data, "run", 1)


def test_anothers_is_told_from_a_torn_one() -> None:
    with pytest.raises(OtherCheckpoint, match="run run, not of other"):
        decode(SOUND, "other", 1)
    with pytest.raises(OtherCheckpoint, match="measurement version 1"):
        decode(SOUND, "run", 2)


HERE = dict.fromkeys(DECISIVE, "the same")


def box(folder: Path, run: str = "run", version: int = 1, **environment: str) -> Checkpoints:
    return Checkpoints(folder / "own", run, version, 1.0, HERE | environment)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    own = box(tmp_path)
    assert own.load() is None
    for step in (5, 10, 15):
        own.save(step, Content("run", 1, {"step": step}))
    assert sorted(p.name for p in own.folder.iterdir()) == [own.path(10).name, own.path(15).name]
    assert box(tmp_path).load().values == {"step": 15}


def test_a_torn_one_is_set_aside_and_the_one_before_is_used(tmp_path: Path) -> None:
    own = box(tmp_path)
    for step in (5, 10):
        own.save(step, Content("run", 1, {"step": step}))
    torn = own.path(10).read_bytes()[:-1]
    own.path(10).write_bytes(torn)
    with pytest.warns(UserWarning, match="no whole checkpoint"):
        assert own.load().values == {"step": 5}
    aside = own.folder / (own.path(10).name + ".torn")
    assert aside.read_bytes() == torn
    own.path(5).write_bytes(b"")
    with pytest.warns(UserWarning, match="no whole checkpoint"):
        assert own.load() is None
    assert aside.exists()


@pytest.mark.parametrize(("run", "version"), [("other", 1), ("run", 2)])
def test_anothers_is_an_error_and_stays(tmp_path: Path, run: str, version: int) -> None:
    path = box(tmp_path).save(5, Content("run", 1))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"cannot be gone on from.*move it away"):
        box(tmp_path, run, version).load()
    assert path.read_bytes() == before


def test_one_of_the_first_format_is_an_error_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As isosweep named and wrote them before environments had a word in it."""
    monkeypatch.setattr(checkpoint_file, "FORMAT", 1)
    first = encode(Content("run", 1))
    monkeypatch.undo()
    own = box(tmp_path)
    own.folder.mkdir()
    path = own.folder / "step-000000000005.checkpoint"
    path.write_bytes(first)
    with pytest.raises(CheckpointError, match=r"of format 1 .* writes format 2"):
        own.load()
    assert path.read_bytes() == first


def test_in_another_environment_class_a_run_begins_anew_and_loses_nothing(tmp_path: Path) -> None:
    there, here = box(tmp_path, torch_version="2.12"), box(tmp_path, torch_version="2.13")
    for step in (5, 10):
        there.save(step, there.content({"step": step}, {}))
    with pytest.warns(
        UserWarning, match=r"begins anew: its checkpoint of step 10 .*torch_version was '2.12' and is '2.13'"
    ):
        assert here.load() is None
    for step in (2, 4, 6):
        here.save(step, here.content({"step": step}, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert here.load().values == {"step": 6}
        assert there.load().values == {"step": 10}
    assert len(list(here.folder.iterdir())) == 4


def test_nothing_changes_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = box(tmp_path)
    own.save(5, Content("run", 1, {"step": 5}))

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        own.save(10, Content("run", 1, {"step": 10}))
    assert own.load().values == {"step": 5}


def test_when_one_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: clock)
    own = box(tmp_path)
    assert not own.due(good_moment=True)
    clock = 30.0
    assert own.due(good_moment=True)
    assert not own.due(good_moment=False)
    clock = 61.0
    assert own.due(good_moment=False)

    def slow(path: Path, data: bytes) -> None:
        nonlocal clock
        clock += 1.0

    monkeypatch.setattr(module, "replace", slow)
    own.save(5, Content("run", 1))
    clock += 50
    assert not own.due(good_moment=True), "a second of writing every 50 is 2 %"
    clock += 9
    assert not own.due(good_moment=False)
    clock += 2
    assert own.due(good_moment=False)


def test_a_trajectory_survives_to_the_bit() -> None:
    one = Trajectory(
        [FisherBlock(0, "all", np.array([1 / 3, np.nan]), 1 / 3, 2.0, None, 1e-16), FisherBlock(5, "l", None, 1, 2, 3)],
        [JacobianSample(0, 1, np.array([0.1]), np.array([-np.inf]))],
        [LayerActivity(5, 1, "layer1", 0.1, np.nan, 1.5, None)],
        [TrainingPoint(5, 0.1 + 0.2, {"a": np.nan, "b": np.array([1 / 7]), "c": np.inf})],
        {"s": np.nan, "t": 0.1},
        5,
        EpochSums(1, 2, 0.1, 3.0, 1 / 3),
        None,
    )
    values, arrays = one.pack()
    content = decode(encode(Content("r", 1, values, arrays)), "r", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = Trajectory.unpack(content.values, dict(content.arrays))
    assert repr(other) == repr(one)
