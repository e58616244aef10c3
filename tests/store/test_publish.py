"""A name is given once, whole or not at all, by whichever of many processes is first, wherever any of them dies."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from faults import FaultUnavailable, small_disk

from isosweep.store.publish import TEMPORARY_PREFIX, publish
from isosweep.store.store import Store, StoreError

NAMES = 300
CALLS = ("open", "fsync", "link", "unlink", "close")


def _contest(folder: Path, who: int, gate: object, won: object) -> None:
    gate.wait()  # type: ignore[attr-defined]
    for number in range(NAMES):
        if publish(folder / f"{number}", f"{who}\n".encode() * 100):
            won.put((number, who))  # type: ignore[attr-defined]
    won.put(None)  # type: ignore[attr-defined]


def test_of_many_processes_one_wins_each_name(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    gate, won = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_contest, args=(tmp_path, who, gate, won)) for who in range(4)]
    for process in processes:
        process.start()
    wins, ended = [], 0
    while ended < 4:
        item = won.get(timeout=240)
        ended += item is None
        wins += [item] if item else []
    for process in processes:
        process.join()
    assert Counter(number for number, _ in wins) == dict.fromkeys(range(NAMES), 1)
    for number, who in wins:
        assert (tmp_path / f"{number}").read_bytes() == f"{who}\n".encode() * 100
    assert not list(tmp_path.glob(TEMPORARY_PREFIX + "*"))


def _die_at(path: Path, call: str, after: bool) -> None:
    """Publish in a child that ends, without clean-up, just before or after the first such system call of `publish`."""
    pid = os.fork()
    if pid == 0:
        real = getattr(os, call)

        def dying(*arguments: object, **keywords: object) -> object:
            if after:
                real(*arguments, **keywords)
            os._exit(77)

        setattr(os, call, dying)
        publish(path, b"x" * 5000)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, 77)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_crash_at_any_call_leaves_all_or_nothing(tmp_path: Path, call: str, after: bool) -> None:
    path = tmp_path / "name"
    _die_at(path, call, after)
    if path.exists():
        assert path.read_bytes() == b"x" * 5000
        assert not publish(path, b"other")
        assert path.read_bytes() == b"x" * 5000
    else:
        assert publish(path, b"other")
        assert path.read_bytes() == b"other"
    # whatever was left is a temporary, which no listing takes for anything
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith(TEMPORARY_PREFIX)} == {"name"}


def test_a_full_or_read_only_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", "64k") as disk:
            place = tmp_path / "disk"
            with pytest.raises(OSError, match="No space"):
                publish(place / "name", b"x" * 200_000)
            assert not list(place.iterdir())
            assert publish(place / "name", b"small")
            disk.read_only()
            with pytest.raises(OSError, match="Read-only"):
                publish(place / "other", b"small")
            disk.writable()
            assert (place / "name").read_bytes() == b"small"
            assert publish(place / "other", b"small")
    except FaultUnavailable as error:
        if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
            raise
        pytest.skip(str(error))


def test_a_folder_that_could_not_be_copied_is_told_in_a_line(tmp_path: Path) -> None:
    """What a disk that fills up while the code is copied does to every file, missing targets do here."""
    (tmp_path / "code").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "code" / name).symlink_to(tmp_path / "missing")
    store = Store(tmp_path / "store")
    told = r"cannot write the store .*: 3 files .*, the first: .*No such file"
    with pytest.raises(StoreError, match=told) as found, store.writing():
        shutil.copytree(tmp_path / "code", tmp_path / "copy")
    assert len(str(found.value)) < 4 * len(str(tmp_path)) + 200
