"""Accounts: away, hanging, and telling what squeue has forgotten; on a real slurmdbd with a database of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import private_slurm
import pytest
from conftest import Command
from private_accounting import PrivateAccounting, require_accounting
from private_slurm import PrivateSlurm

from isosweep.cluster.slurm import accounted, configuration, has_accounting

from .faulty import PROFILE, Faulty

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
fault = pytest.mark.fault


@pytest.fixture(scope="module")
def accounts() -> Iterator[PrivateAccounting]:
    private_slurm.require_slurm()
    require_accounting()
    with PrivateAccounting() as made:
        yield made


@pytest.fixture(scope="module")
def with_accounts(accounts: PrivateAccounting) -> Iterator[PrivateSlurm]:
    # squeue forgets what has ended after two seconds, at the next look that the controller takes
    settings, start = accounts.settings(), accounts.start
    with PrivateSlurm(nodes=1, settings=settings, before_controller=start, min_job_age=2) as cluster:
        yield cluster


def ended_for_squeue(faulty: Faulty, job: str) -> None:
    """Wait until squeue has forgotten a job: about a minute."""
    faulty.until(lambda: not faulty.cluster.squeue(job), 180)


@fault(
    "accounting there, squeue has forgotten the jobs",
    "sacct names what became of them",
    "--only cancelled",
)
def test_accounts_tell_what_squeue_has_forgotten(
    command: Command, with_accounts: PrivateSlurm, undisturbed: dict[str, str]
) -> None:
    faulty = Faulty(command, with_accounts, undisturbed)
    job = faulty.held()
    faulty.cluster.run("scancel", job)
    ended_for_squeue(faulty, job)
    with faulty.cluster.active():
        configuration.cache_clear()
        assert has_accounting()
        (name,) = {f"isosweep-{path.name}-0" for path in faulty.store.jobs.iterdir()}
        faulty.until(lambda: accounted([name], time.time()))
    assert faulty.counts() == {"cancelled": 3}
    assert faulty.heal("--only", "cancelled") == {"done": 3}


@fault("slurmdbd hanging", "said, with a time-out; nothing is concluded from it", "--only cancelled")
def test_accounts_hang(
    command: Command, accounts: PrivateAccounting, with_accounts: PrivateSlurm, undisturbed: dict[str, str]
) -> None:
    faulty = Faulty(command, with_accounts, undisturbed)
    job = faulty.held()
    faulty.cluster.run("scancel", job)
    ended_for_squeue(faulty, job)
    with accounts.hanging():
        seen = command.json("status", "faulty.yaml", check=4, ISOSWEEP_SLURM_TIMEOUT="3")
        assert "no answer within 3 s" in seen["accounts_silent"]
        assert seen["counts"].get("done") is None
        assert seen["counts"].keys() <= {"running", "pending"}  # alive, as far as anybody knows
    assert faulty.heal("--only", "cancelled") == {"done": 3}


@fault("slurmdbd away", "said; squeue alone decides, then the grace", "by default")
def test_accounts_away(
    command: Command, accounts: PrivateAccounting, with_accounts: PrivateSlurm, undisturbed: dict[str, str]
) -> None:
    faulty = Faulty(command, with_accounts, undisturbed)
    accounts.end_daemon()
    try:
        job = faulty.held()
        faulty.cluster.run("scancel", job)
        ended_for_squeue(faulty, job)
        seen = command.json("status", "faulty.yaml", check=4, ISOSWEEP_SLURM_TIMEOUT="5")
        assert seen["accounts_silent"]
        # the accounts would say cancelled; without them the runs are lost, and taken
        assert faulty.heal(ISOSWEEP_SLURM_TIMEOUT="5") == {"done": 3}
    finally:
        accounts.start(with_accounts)


@pytest.mark.parametrize("name", ["account", "qos"])
def test_an_account_or_qos_that_is_not_there_is_refused(
    command: Command, with_accounts: PrivateSlurm, name: str
) -> None:
    """In one sentence that names where it came from, with exit code 5, and nothing written or submitted."""
    command.environment |= {"SLURM_CONF": str(with_accounts.conf), "PATH": with_accounts.env()["PATH"]}
    command.write("plain.toml", PROFILE)
    command.write("own.toml", PROFILE + f'{name} = "nowhere"\n')
    before = {job.id for job in with_accounts.squeue()}  # some of which it may forget meanwhile
    for words, origin in (
        (("--profile", "plain.toml", "--sbatch", f"{name}=nowhere"), "flag --sbatch"),
        (("--profile", "own.toml"), "file own.toml"),
    ):
        done = command.run("launch", "tiny.yaml", *words, check=5)
        (said,) = [line for line in done.stderr.splitlines() if line.startswith("isosweep: ")]
        assert f"{name} = 'nowhere', from {origin}" in said
        assert "Traceback" not in done.stderr
        assert not (command.folder / "isosweep-store").exists()
    assert {job.id for job in with_accounts.squeue()} <= before
