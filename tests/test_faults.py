"""Each fault does what it says, and undoes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import faults
import private_slurm
import pytest
from private_slurm import PrivateSlurm


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[faults.SmallDisk]:
    try:
        with faults.small_disk(tmp_path / "disk", "256k", files=20) as small:
            yield small
    except faults.FaultUnavailable as unavailable:
        pytest.skip(str(unavailable))
    assert not os.path.ismount(tmp_path / "disk")


def test_a_small_disk_fills_and_is_freed(disk: faults.SmallDisk) -> None:
    disk.fill()
    with pytest.raises(OSError, match="No space"):
        (disk.path / "more").write_bytes(b"x" * 5000)
    disk.free()
    (disk.path / "more").write_bytes(b"x" * 5000)


def test_a_small_disk_runs_out_of_files(disk: faults.SmallDisk) -> None:
    def use_up() -> None:
        for number in range(30):
            (disk.path / str(number)).touch()

    with pytest.raises(OSError, match="No space"):
        use_up()


def test_a_small_disk_turns_read_only_for_root_too(disk: faults.SmallDisk) -> None:
    disk.read_only()
    with pytest.raises(OSError, match="Read-only"):
        (disk.path / "more").touch()
    disk.writable()
    (disk.path / "more").touch()


def test_a_command_and_its_children_are_killed_at_the_chosen_instant(tmp_path: Path) -> None:
    code = "import subprocess, sys, pathlib, time; p = subprocess.Popen(['sleep', '600'])\n"
    code += "pathlib.Path(sys.argv[1]).write_text(str(p.pid)); print('said', flush=True); time.sleep(600)"
    mark = tmp_path / "mark"
    killed, text = faults.run_and_kill(
        [sys.executable, "-c", code, mark], lambda: mark.exists() and mark.read_text() != ""
    )
    assert killed
    faults.wait_until(lambda: private_slurm.Process.of(int(mark.read_text())) is None)
    assert faults.run_and_kill(["echo", "done"], lambda: False) == (False, "done\n")
    assert text in ("said\n", "")


def test_files_are_torn_flipped_and_aged(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(100))
    stamp = file.stat().st_mtime_ns
    faults.flip_bit(file)
    assert sum(file.read_bytes()) == 1
    faults.tear(file, 0.25)
    assert file.stat().st_size == 25
    assert file.stat().st_mtime_ns == stamp
    faults.age(file, 3600)
    assert 3599 < time.time() - file.stat().st_mtime < 3700


def test_a_command_is_shadowed(tmp_path: Path) -> None:
    env = faults.shadow_command(tmp_path / "bin", "echo", '"$REAL" not "$@"; exit 3', os.environ)
    done = subprocess.run(["sh", "-c", "env echo this"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "not this\n")


@pytest.mark.slurm
def test_one_process_of_one_element_is_killed_and_its_siblings_live() -> None:
    private_slurm.require_slurm()
    with PrivateSlurm() as slurm:
        job = slurm.sbatch("--array=0-1", wrap="sleep 601 || echo killed; sleep 600")
        slurm.wait(job, "RUNNING")
        faults.wait_until(
            lambda: len([p for p in slurm.job_processes() if "sleep" in faults._command_line(p.pid)]) == 2
        )
        assert len(faults.kill_job(slurm, f"{job}_0", containing="sleep 601")) == 1
        faults.wait_until(lambda: "killed" in slurm.output(f"{job}_0"))
        assert "killed" not in slurm.output(f"{job}_1")
        slurm.wait(job, "RUNNING", timeout=60)
        faults.kill_job(slurm, f"{job}_1")
        slurm.wait(f"{job}_1", "FAILED")
        assert [one.state for one in slurm.squeue(f"{job}_0")] == ["RUNNING"]
