"""What cannot work is refused: the cause in one sentence, exit 5, and nothing half submitted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import faults
import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from isosweep.store.status import look
from isosweep.store.store import Store

from .conftest import PROFILE

pytestmark = pytest.mark.slurm


@pytest.fixture
def on_slurm(command: Command, slurm: PrivateSlurm) -> Command:
    command.write("profile.toml", PROFILE)
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    return command


def refused(command: Command, *words: object, **environment: str) -> str:
    """What is said: one line, and no traceback."""
    done = command.run("launch", "tiny.yaml", *words, check=5, **environment)
    lines = [line for line in done.stderr.splitlines() if line.startswith("isosweep: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("partition=nowhere", "partition = 'nowhere', from flag --sbatch"),
        ("gres=unobtainium:1", "gres"),
        ("no-such-option=1", "this Slurm's sbatch knows no option 'no-such-option'"),
        ("nodes=77", "node"),
    ],
)
def test_what_sbatch_would_refuse(on_slurm: Command, slurm: PrivateSlurm, option: str, said: str) -> None:
    before = {job.id for job in slurm.squeue()}  # some of which it may forget meanwhile
    assert said in refused(on_slurm, "--profile", "profile.toml", "--sbatch", option)
    # a dry run says the same
    assert said in refused(on_slurm, "--profile", "profile.toml", "--sbatch", option, "--dry-run")
    assert not (on_slurm.folder / "isosweep-store").exists()
    assert {job.id for job in slurm.squeue()} <= before


def test_an_option_of_the_profile_that_this_slurm_does_not_know(on_slurm: Command, slurm: PrivateSlurm) -> None:
    before = {job.id for job in slurm.squeue()}  # some of which it may forget meanwhile
    on_slurm.write("profile.toml", PROFILE + 'no-such-option = "1"\n')
    said = refused(on_slurm, "--profile", "profile.toml")
    assert "this Slurm's sbatch knows no option 'no-such-option'" in said
    assert "profile.toml" in said
    assert not (on_slurm.folder / "isosweep-store").exists()
    assert {job.id for job in slurm.squeue()} <= before


def test_no_srun(on_slurm: Command, slurm: PrivateSlurm, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for name in ("sbatch", "scontrol", "squeue"):
        (few / name).symlink_to(shutil.which(name, path=slurm.env()["PATH"]) or "")
    assert "srun is not" in refused(on_slurm, "--profile", "profile.toml", PATH=str(few))


@pytest.mark.whole
def test_a_limit_that_is_reached_half_way(on_slurm: Command, slurm: PrivateSlurm) -> None:
    """The second array is refused: the first runs, the rest is free at once, and the next launch carries on."""
    script = """\
case "$1" in --test-only|--help) exec "$REAL" "$@";; esac
echo >> calls
[ $(wc -l < calls) -eq 2 ] && echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2 && exit 1
exec "$REAL" "$@"
"""
    path = faults.shadow_command(on_slurm.folder / "bin", "sbatch", script, {**os.environ, **on_slurm.environment})
    words = ("--profile", "profile.toml", "--runs-per-task", "1")
    assert "QOSMaxSubmitJobPerUserLimit" in refused(on_slurm, *words, PATH=path["PATH"])
    again = on_slurm.json("launch", "tiny.yaml", *words, "--wait", PATH=path["PATH"])
    assert again["runs"] == 1
    assert again["states"] == {"done": 4}


@pytest.mark.whole
def test_python_missing_on_the_node(on_slurm: Command) -> None:
    on_slurm.write("profile.toml", 'python = "/nowhere/python3"\n' + PROFILE)
    said = refused(on_slurm, "--profile", "profile.toml", "--wait")
    assert "before any run could begin" in said
    assert "/nowhere/python3" in said


@pytest.mark.whole
def test_a_store_that_nodes_do_not_share(command: Command) -> None:
    place = command.folder / "mine alone"
    place.mkdir()
    with PrivateSlurm(nodes=1, hidden=place) as cluster:
        command.write("profile.toml", PROFILE)
        command.environment |= {"SLURM_CONF": str(cluster.conf), "PATH": cluster.env()["PATH"]}
        said = refused(command, "--profile", "profile.toml", "--wait", "--store", place / "store")
        assert "does not see the store" in said
        assert not look(Store(place / "store")).in_hand
        found = command.json("doctor", "--profile", "profile.toml", "--store", place / "store", check=5)["findings"]
        (bad,) = [one for one in found if one["state"] == "problem"]
        assert "does not see the store" in bad["remedy"]


@pytest.mark.whole
def test_jobs_of_a_hidden_partition_are_seen(command: Command) -> None:
    """Whose jobs squeue leaves out unless it is told not to: their tasks would look dead."""
    with PrivateSlurm(nodes=1) as cluster:
        conf = cluster.conf.read_text()
        cluster.conf.write_text(conf.replace("PartitionName=low ", "PartitionName=low Hidden=YES "))
        cluster.restart_controller()
        command.write("profile.toml", PROFILE)
        command.environment |= {"SLURM_CONF": str(cluster.conf), "PATH": cluster.env()["PATH"]}
        (job,) = command.json(
            "launch", "tiny.yaml", "--profile", "profile.toml", "--runs-per-task", "4", "--sbatch", "begin=now+1hour"
        )["jobs"]
        hidden = cluster.run("squeue", "-h").stdout
        seen = command.json("status", "tiny.yaml", check=4, ISOSWEEP_GRACE="0")
        assert seen["counts"] == {"pending": 4}
        assert seen["waiting"] == {"BeginTime": 4}
        assert job in hidden or hidden == ""
        # scancel that does not answer: the tasks are void all the same, and that is said
        shadow = faults.shadow_command(
            command.folder / "bin", "scancel", "echo no contact >&2; exit 1", {**os.environ, **command.environment}
        )
        said = command.run("cancel", "tiny.yaml", PATH=shadow["PATH"]).stderr
        assert "no contact" in said
        assert command.json("status", "tiny.yaml", check=3)["counts"] == {"cancelled": 4}
