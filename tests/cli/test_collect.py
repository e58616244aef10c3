"""Collecting what is there: nothing, only failures, records that cannot be read, and beside another collector."""

from __future__ import annotations

import os
import subprocess

import pyarrow.parquet as pq
import pytest
from conftest import Command, keep_records
from faults import FaultUnavailable, small_disk

from isosweep.store.attempts import publish_attempt
from isosweep.store.store import Store
from isosweep.sweep.sweep import load


def test_without_any_record(command: Command) -> None:
    """No store; then a store in which all runs failed, of a long and unprintable cause."""
    assert command.json("collect", "tiny.yaml", "--out", "none")["counts"] == {"missing": 4}
    assert not (command.folder / "isosweep-store").exists()
    store = Store(command.folder / "isosweep-store").create()
    for run in load(command.folder / "tiny.yaml").runs():
        publish_attempt(store, run.id, "failed", "ValueError: " + "ü\n" * 50_000, "t-0")
    assert command.json("collect", "tiny.yaml", "--out", "tables")["counts"] == {"failed": 4}
    rows = pq.read_table(command.folder / "tables" / "runs.parquet").to_pylist()
    assert {row["failure_cause"] for row in rows} == {"ValueError: ü"}
    assert pq.read_table(command.folder / "tables" / "fisher.parquet").num_rows == 0
    command.run("report", "tiny.yaml", "--tables", "again")
    assert "failed" in command.json("report", "tables", "--text")["text"]


def test_records_that_cannot_be_read_or_moved_are_told_and_left(done: Command) -> None:
    """A folder under a record's name cannot be linked aside; a name that leads nowhere is a record just moved away."""
    keep_records(done, 2)
    odd, gone = sorted(done.folder.glob("isosweep-store/records/*/*.arrow"))
    odd.unlink()
    odd.mkdir()
    gone.unlink()
    gone.symlink_to("nowhere")
    collected = done.json("collect", "tiny.yaml", "--out", "tables")
    assert collected["counts"] == {"missing": 4}
    assert list(collected["unread"]) == [str(odd)]
    assert not collected["set_aside"]
    assert odd.is_dir()
    # of two collectors at once each sets a torn record aside, or finds it gone
    odd.rmdir()
    odd.write_bytes(b"torn")
    both = [done.start("collect", "tiny.yaml", "--out", "tables") for _ in range(2)]
    for collector in both:
        _, err = collector.communicate(timeout=120)
        assert collector.returncode == 0, err
    assert len(list(done.folder.glob("isosweep-store/quarantine/*.reason"))) == 1
    assert not list((done.folder / "tables").glob(".tmp-*"))


def test_tables_are_replaced_all_or_none(command: Command) -> None:
    try:
        with small_disk(command.folder / "disk", "1m") as disk:
            command.run("collect", "tiny.yaml", "--out", disk.path / "tables")
            before = {p.name: p.read_bytes() for p in (disk.path / "tables").iterdir()}
            disk.fill()
            refused = command.run("collect", "tiny.yaml", "--out", disk.path / "tables", "--set", "seeds=5", check=2)
            assert "No space left" in refused.stderr
            disk.free()
            assert {p.name: p.read_bytes() for p in (disk.path / "tables").iterdir()} == before
    except FaultUnavailable as error:
        if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
            raise
        pytest.skip(str(error))


def test_a_reader_that_goes_away_changes_nothing(command: Command) -> None:
    """`isosweep … 2>&1 | head -1`: no traceback, and a launch goes on without its messages."""
    read, write = os.pipe()
    os.close(read)
    launched = subprocess.run(
        command.arguments("launch", "tiny.yaml", "--local", "--limit", "1"),
        cwd=command.folder,
        stderr=write,
        timeout=120,
        check=False,
    )
    assert launched.returncode == 4
    assert len(list(command.folder.glob("isosweep-store/records/*/*.arrow"))) == 1
    for words in (["status", "tiny.yaml"], ["status", "tiny.yaml", "--json"]):
        shown = subprocess.run(
            command.arguments(*words),
            cwd=command.folder,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
        assert shown.stderr == ""
    os.close(write)
