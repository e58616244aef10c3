"""What a launch promises, on this machine and on a real Slurm alike: the same files, states and records."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Command

import isosweep
from isosweep.store.records import read_record

from .conftest import Backend


def check_tables(backend: Backend) -> None:
    """The tables as their schema says, and consistent with each other."""
    runs = backend.runs("tiny.yaml")
    folder = backend.command.folder / "tables"
    # beside what the next collect goes on from
    assert {p.name for p in folder.iterdir() if not p.name.startswith(".")} == {
        "runs.parquet",
        "fisher.parquet",
        "jacobian.parquet",
        "layers.parquet",
        "training.parquet",
        "sweep.json",
    }
    fisher = pq.read_table(folder / "fisher.parquet").to_pylist()
    assert {row["block"] for row in fisher} == {"all", "layer1", "layer2", "layer3", "readout"}
    for row in fisher:
        whole = runs[row["run_id"]]
        if row["block"] == "all":
            assert len(row["eigenvalues"]) == 6 * 9
            assert row["eigenvalues"] == sorted(row["eigenvalues"], reverse=True)
            assert row["eigenvalues"][0] == row["lambda_max"] == whole["fisher_lambda_max"]
        else:
            assert row["eigenvalues"] is None
            # a diagonal block of a positive matrix
            assert 0 < row["lambda_max"] <= whole["fisher_lambda_max"] * (1 + 1e-12)
    for run, whole in runs.items():
        blocks = [row["trace"] for row in fisher if row["run_id"] == run and row["block"] != "all"]
        assert abs(sum(blocks) - whole["fisher_trace"]) < 1e-12 * whole["fisher_trace"]
    jacobian = pq.read_table(folder / "jacobian.parquet").to_pylist()
    assert len(jacobian) == 4 * 2
    assert all(
        max(r["singular_values"][0] for r in jacobian if r["run_id"] == run) == row["jacobian_s_max"]
        for run, row in runs.items()
    )
    assert {row["hostname"] is not None and len(row["environment_class"]) for row in runs.values()} == {12}


def check_bits(backend: Backend) -> None:
    """The recorded digests are those of `isosweep.execute` in this process."""
    for run in isosweep.load(backend.command.folder / "tiny.yaml").runs():
        record = read_record(backend.records()[run.id])
        assert record.column("digest")[0].as_py() == isosweep.execute(run).digest


def test_a_sweep_is_launched_once_and_added_to(backend: Backend) -> None:
    backend.launch("tiny.yaml")
    first = backend.runs("tiny.yaml")
    assert len(first) == 4
    assert {row["status"] for row in first.values()} == {"done"}
    assert backend.records().keys() == first.keys()
    check_tables(backend)
    check_bits(backend)
    stamps = {run: path.stat().st_mtime_ns for run, path in backend.records().items()}

    again = backend.launch("tiny.yaml")
    assert "0 runs" in again.stderr

    # a third seed is two more runs; the four are left alone
    more = backend.command.json("launch", "tiny.yaml", *backend.options, "--set", "seeds=3")
    assert more["runs"] == 2
    assert more["skipped"] == {"done": 4}
    assert len(backend.records()) == 6
    assert {run: backend.records()[run].stat().st_mtime_ns for run in stamps} == stamps
    assert backend.command.json("status", "tiny.yaml", "--set", "seeds=3")["counts"] == {"done": 6}


@pytest.mark.whole
def test_failures_are_attempts_with_their_cause_and_the_others_go_on(backend: Backend) -> None:
    backend.launch("troubled.yaml", check=3)
    rows = backend.runs("troubled.yaml")
    by_mode = {mode: [r for r in rows.values() if r["mode"] == mode] for mode in ("fine", "raises", "dies")}
    assert [r["status"] for r in by_mode["fine"]] == ["done", "done"]
    assert [r["status"] for r in by_mode["raises"]] == ["failed", "failed"]
    assert {r["status"] for r in by_mode["dies"]} <= {"failed", "oom"}
    assert all(
        "planted failure" in str(r["failure_cause"]) and "trouble.py" in str(r["failure_cause"])
        for r in by_mode["raises"]
    )
    assert all("SIGKILL" in str(r["failure_cause"]) or r["status"] == "oom" for r in by_mode["dies"])
    assert all(r["digest"] is None for r in by_mode["raises"])

    groups = backend.command.json("status", "troubled.yaml", check=3)["failures"]
    assert sum(g["runs"] for g in groups) == 4
    failed = str(by_mode["raises"][0]["run_id"])
    assert "ArithmeticError: planted failure" in backend.command.run("logs", failed[:12]).stdout

    # from another folder, where the user's module is not
    elsewhere = Command(backend.command.folder / "elsewhere", backend.command.environment)
    elsewhere.folder.mkdir()
    assert elsewhere.json("run", by_mode["fine"][0]["run_id"], "--store", backend.store)["agrees"]

    # failures are not taken again by themselves, and are when named
    assert backend.command.json("launch", "troubled.yaml", *backend.options, check=3)["runs"] == 0
    named = backend.command.json(
        "launch", "troubled.yaml", *backend.options, "--only", "failed", "--where", "mode=raises", check=3
    )
    assert named["runs"] == 2
    assert [r["attempts"] for r in backend.runs("troubled.yaml").values() if r["mode"] == "raises"] == [2, 2]


def test_a_torn_record_is_set_aside_and_computed_anew(backend: Backend) -> None:
    backend.launch("tiny.yaml")
    before = backend.runs("tiny.yaml")
    torn, flipped, foreign, _ = sorted(backend.records().values())
    torn.write_bytes(torn.read_bytes()[:-100])
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    foreign.write_bytes(b"not a record")
    collected = backend.command.json("collect", "tiny.yaml", "--out", "tables")
    assert collected["counts"] == {"done": 1, "missing": 3}
    assert len(collected["set_aside"]) == 3
    assert len(list((backend.store / "quarantine").glob("*.reason"))) == 3
    assert backend.command.json("launch", "tiny.yaml", *backend.options)["runs"] == 3
    after = backend.runs("tiny.yaml")
    assert {run: row["digest"] for run, row in after.items()} == {run: row["digest"] for run, row in before.items()}


@pytest.mark.whole
def test_test_runs_come_first_and_stop_a_launch_that_cannot_work(backend: Backend) -> None:
    done = backend.launch("tiny.yaml", "--test")
    assert "every test run succeeded" in done.stderr
    assert len(backend.records()) == 4
    # of three shapes two fail: nothing else is launched
    backend.launch("troubled.yaml", "--test", check=3)
    states = backend.command.json("status", "troubled.yaml", check=4)["counts"]
    assert states["missing"] == 3


def test_a_dry_run_says_what_launch_does_and_writes_nothing(command: Command) -> None:
    planned = command.json("launch", "tiny.yaml", "--local", "--dry-run")
    assert not (command.folder / "isosweep-store").exists()
    done = command.json("launch", "tiny.yaml", "--local")
    assert len(planned["tasks"]) == done["tasks"]
    assert sorted(run for task in planned["tasks"] for run in task) == sorted(
        command.json("status", "tiny.yaml")["states"]
    )


def own_checkout(backend: Backend) -> Path:
    """A copy of isosweep that the backend's commands run from; nobody else edits it meanwhile."""
    checkout = backend.command.folder / "checkout"
    shutil.copytree(Path(isosweep.__file__).parent, checkout / "isosweep", ignore=shutil.ignore_patterns("__pycache__"))
    backend.command.environment |= {"PYTHONPATH": str(checkout)}
    return checkout


def test_jobs_import_the_code_of_their_launch(backend: Backend) -> None:
    """A copy of isosweep launches, is broken while its jobs are still to start, and they compute all the same."""
    checkout = own_checkout(backend)
    broken = checkout / "isosweep" / "measurement" / "execute.py"
    sound = broken.read_text()
    pool = backend.command.start("launch", "tiny.yaml", *backend.options)
    deadline = time.monotonic() + 240
    while not list(backend.store.glob("launches/*.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    broken.write_text("this is no Python\n")
    out, err = pool.communicate(timeout=240)
    assert pool.returncode == 0, out + err
    broken.write_text(sound)
    rows = backend.runs("tiny.yaml")
    assert {row["status"] for row in rows.values()} == {"done"}
    (code,) = {row["code_id"] for row in rows.values()}
    assert (backend.store / "code" / str(code) / "isosweep" / "measurement" / "execute.py").read_text() == sound


def test_a_changed_environment_stops_the_task_before_any_run(backend: Backend) -> None:
    """The snapshot itself is altered while the jobs wait: nothing is computed with it, and the difference is named."""
    own_checkout(backend)
    backend.launch("tiny.yaml", "--limit", "1", check=4)
    (code,) = (backend.store / "code").iterdir()
    (code / "isosweep" / "draws.py").write_text((code / "isosweep" / "draws.py").read_text() + "\n# another\n")
    backend.launch("tiny.yaml", check=4)
    rows = backend.runs("tiny.yaml")
    changed = [row for row in rows.values() if row["status"] == "environment_changed"]
    assert changed
    assert all("code" in str(row["failure_cause"]) for row in changed)
    assert sum(row["status"] == "done" for row in rows.values()) == 1
