"""What the cluster says of itself, and a real job of the profile on one of its nodes."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from isosweep.cluster.profile import Profile, ProfileError, check_device
from isosweep.cluster.slurm import (
    SchedulerSilent,
    cluster_name,
    configuration,
    has_accounting,
    largest_array,
    queue_of_mine,
    say,
)
from isosweep.cluster.snapshot import freeze
from isosweep.cluster.submit import SubmissionRefused, check_submission, submit_call
from isosweep.doctor.finding import Finding, good, problem, warning
from isosweep.doctor.node import REPORT, TAKEN, Examination, findings_of
from isosweep.launching.output import telling_line
from isosweep.store.publish import publish
from isosweep.store.store import Store

__all__ = ["check_cluster", "check_on_a_node"]

_LOOK_EVERY = 1.0
_JOB_TIME = "00:05:00"


def check_cluster(profile: Profile, store: Store) -> Iterator[Finding]:
    """The controller, its limits, its accounts, and whether it takes the profile; nothing is submitted."""
    try:
        settings = configuration()
    except SchedulerSilent as error:
        yield problem("Slurm: controller", str(error), "see `scontrol ping`; status works without, launch does not")
        return
    yield good("Slurm: controller", f"cluster {cluster_name()}, {settings.get('SLURM_VERSION', 'version unknown')}")
    if shutil.which("srun") is None:
        yield problem("Slurm: srun", "not on the PATH", "without it no job runs: load Slurm's module")
    yield good(
        "Slurm: limits",
        f"arrays of up to {largest_array()} tasks, {settings.get('MaxJobCount', '?')} jobs in all"
        + ("".join(f", {said}" for said in _own_limits())),
    )
    yield from _accounts()
    if settings.get("TrackWCKey", "").lower() in ("yes", "1") and "wckey" not in profile.sbatch:
        yield warning("Slurm: wckey", "this cluster keeps wckeys", "name yours in the profile: [sbatch] wckey")
    else:
        yield good("Slurm: wckey", str(profile.sbatch.get("wckey", "none asked for, none sent")))
    preempted = settings.get("PreemptMode", "OFF")
    yield good("Slurm: preemption", preempted if "CANCEL" not in preempted else f"{preempted}: runs are launched anew")
    try:
        check_device(profile)
        check_submission(profile, store.jobs / "check", 1)
        yield good("Slurm: profile", f"{profile.name} ({profile.origin}) is taken")
    except ProfileError as error:
        yield problem("Slurm: profile", str(error), "mend the profile")
    except (SubmissionRefused, SchedulerSilent) as error:
        yield problem("Slurm: profile", str(error), "change that option in the profile, or with --sbatch")


def _own_limits() -> list[str]:
    """Limits of this user's own, where the accounts tell them."""
    try:
        if not has_accounting():
            return []
        text = say("sacctmgr", "-nP", "show", "assoc", "where", "user=" + _me(), "format=MaxSubmit,MaxJobs", timeout=15)
    except SchedulerSilent:
        return []
    pairs = [line.split("|") for line in text.splitlines() if "|" in line]
    submit = sorted({int(a) for a, _ in pairs if a.isdigit()})
    return [f"{submit[0]} submitted at a time for you"] if submit else []


def _me() -> str:
    import getpass

    return getpass.getuser()


def _accounts() -> Iterator[Finding]:
    if not has_accounting():
        yield warning(
            "Slurm: accounting",
            "none",
            "jobs that Slurm has forgotten count as lost after the grace period, and nobody can say of what",
        )
        return
    try:
        say("sacct", "-X", "-n", "--starttime", "now-1minutes", timeout=15)
        yield good("Slurm: accounting", "sacct answers")
    except SchedulerSilent as error:
        yield warning("Slurm: accounting", str(error), "status does without it: old failures may lack their cause")


def check_on_a_node(profile: Profile, store: Store, patience: float) -> Iterator[Finding]:
    """Submit one short job of the profile, wait for it, and say what the node reports.

    Args:
        patience: seconds to wait for the job to start and end; it is cancelled then.
    """
    token = secrets.token_hex(4)
    folder = store.jobs / f"doctor-{token}"
    folder.mkdir(parents=True)
    publish(folder / TAKEN, b"launcher")
    name = f"isosweep-doctor-{token}"
    short = replace(profile, sbatch={**profile.sbatch, "time": _JOB_TIME}, signal_delay=min(profile.signal_delay, 60))
    try:
        job = submit_call(short, folder, name, freeze(store).folder, Examination(str(folder), profile.device))
    except SubmissionRefused as error:
        yield problem("node: a job runs", str(error), "mend the profile")
        return
    try:
        yield from _wait(folder, name, job, profile, patience)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(folder: Path, name: str, job: str, profile: Profile, patience: float) -> Iterator[Finding]:
    deadline = time.monotonic() + patience
    state = reason = ""
    while time.monotonic() < deadline:
        if (folder / REPORT).exists():
            yield from findings_of(json.loads((folder / REPORT).read_bytes()), profile.device)
            return
        try:
            queue = queue_of_mine()
        except SchedulerSilent:
            time.sleep(_LOOK_EVERY)
            continue
        if (ended := queue.ended.get((name, 0))) is not None:
            time.sleep(_LOOK_EVERY)  # the file server may be behind the controller
            if REPORT not in _names(folder):
                said = telling_line(folder.glob("*_log.*")) or "and wrote no log"
                yield problem("node: a job runs", f"job {job} ended as {ended.state}: {said}", _remedy(folder))
                return
            continue
        if (one := queue.elements.get((name, 0))) is not None:
            state, reason = one.state, one.reason
        time.sleep(_LOOK_EVERY)
    subprocess.run(["scancel", job], capture_output=True, timeout=60, check=False)
    yield warning(
        "node: a job runs",
        f"job {job} is still {state or 'nowhere to be seen'} after {patience:g} s ({reason or 'no reason given'})",
        "wait longer with --patience, or ask for another partition",
    )


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _remedy(folder: Path) -> str:
    if not list(folder.glob("*_log.*")):
        return "the node does not see the store, most likely: keep it on a file system that all nodes mount"
    return "see that the profile's setup lines and python work on a node"
