"""Slurm: is it here, what does it allow, what is in the queue, and submission through submitit."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .profile import Profile
from .worker import SlurmTask

__all__ = [
    "Queue",
    "Queued",
    "SchedulerSilent",
    "SubmissionRefused",
    "cluster_name",
    "job_name",
    "largest_array",
    "queue_of_mine",
    "slurm_here",
    "submit_array",
]

_TIMEOUT = 30
_NOT_CONFIGURED = ("Could not establish a configuration source", "No such file or directory")


class SchedulerSilent(Exception):
    """Slurm's controller did not answer, or not in time. Nothing is concluded from it."""


class SubmissionRefused(Exception):
    """sbatch refused an array; the message is its own."""


@dataclass(frozen=True)
class Queued:
    """An array element in the queue: its job name, its index (0 for a job that is no array), Slurm's state and
    reason.
    """

    name: str
    index: int
    job: str
    state: str
    reason: str


@dataclass(frozen=True)
class Queue:
    """A good listing of this user's jobs on one cluster, by (job name, index)."""

    cluster: str
    elements: dict[tuple[str, int], Queued]


def _ask(*command: str) -> str:
    # a filter that the user has set for squeue would hide living jobs
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SQUEUE_")}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, env=environment)
    except subprocess.TimeoutExpired:
        raise SchedulerSilent(f"{command[0]} gave no answer within {_TIMEOUT} s") from None
    except OSError as error:
        raise SchedulerSilent(f"{command[0]} cannot be started: {error.strerror}") from None
    if answer.returncode != 0:
        said = " ".join(answer.stderr.split()) or f"exit code {answer.returncode}"
        raise SchedulerSilent(f"{' '.join(command[:2])}: {said}")
    return answer.stdout


def slurm_here() -> bool:
    """Whether this machine belongs to a Slurm cluster: sbatch is on the PATH and Slurm finds its configuration.

    Programs of Slurm that were never configured are no Slurm. A configured one whose controller is silent is an
    error, not an absence.

    Raises:
        SchedulerSilent: it is configured, and does not answer.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        return False
    try:
        _ask("scontrol", "show", "config")
    except SchedulerSilent as error:
        if not os.environ.get("SLURM_CONF") and any(text in str(error) for text in _NOT_CONFIGURED):
            return False
        raise
    return True


@functools.cache
def _configuration() -> dict[str, str]:
    lines = (line.partition("=") for line in _ask("scontrol", "show", "config").splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def cluster_name() -> str:
    """The cluster that Slurm's commands speak to here.

    Raises:
        SchedulerSilent: the controller did not answer.
    """
    return _configuration().get("ClusterName", "")


def largest_array() -> int:
    """How many elements an array may have (MaxArraySize, which is one more than the highest index allowed).

    Raises:
        SchedulerSilent: the controller did not answer.
    """
    found = re.match(r"\d+", _configuration().get("MaxArraySize", ""))
    return max(1, int(found[0])) if found else 1000


def job_name(token: str, array: int) -> str:
    """The job name of an array of a launch: what it is recognised by, however job ids are reused."""
    return f"isosweep-{token}-{array}"


def queue_of_mine() -> Queue:
    """Every job of this user that may still run, in hidden partitions too: one squeue.

    Raises:
        SchedulerSilent: no good listing was to be had.
    """
    found = {}
    for line in _ask("squeue", "--me", "-a", "-h", "-r", "-t", "all", "-o", "%j|%K|%i|%T|%r").splitlines():
        name, _, rest = line.partition("|")
        index, job, state, reason = (rest.split("|", 3) + [""] * 4)[:4]
        if state in _GONE:
            continue
        number = int(index) if index.isdigit() else 0
        found[name, number] = Queued(name, number, job, state, reason)
    return Queue(cluster_name(), found)


# States in which a job that squeue still shows will never run again.
_GONE = frozenset(
    {
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "PREEMPTED",
        "BOOT_FAIL",
        "DEADLINE",
        "OUT_OF_MEMORY",
        "REVOKED",
    }
)


@contextmanager
def _submission_environment(options: Iterable[str]) -> Iterator[None]:
    """Hide what would win over the batch script: a surrounding job's SLURM_* variables (its limits and CPU binding),
    and SBATCH_* of what isosweep or the profile's `options` say. SLURM_CONF stays, it says which cluster; so does an
    SBATCH_ACCOUNT, say, where the profile has none.
    """
    ours = {"SBATCH_" + name.upper().replace("-", "_") for name in (*_OURS, *options)}
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if (name.startswith(("SLURM_", "SRUN_")) and name != "SLURM_CONF") or name in ours
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


# As sbatch names their variables: what every submission says itself.
_OURS = (
    "array-inx",
    "job-name",
    "timelimit",
    "output",
    "error",
    "open-mode",
    "signal",
    "requeue",
    "no-requeue",
    "wait",
    "ignore-pbs",
)


def submit_array(profile: Profile, folder: Path, name: str, tasks: Sequence[SlurmTask]) -> str:
    """Submit one array, an element for each task in order, and return its job id.

    Raises:
        SubmissionRefused: with what sbatch said.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    options = dict(profile.sbatch)
    wckey = options.pop("wckey", None)
    with _submission_environment(options):
        executor = submitit.SlurmExecutor(folder=folder, python=profile.python)
        executor.update_parameters(
            job_name=name,
            array_parallelism=profile.array_parallelism,
            signal_delay_s=profile.signal_delay,
            wckey=wckey,
            setup=["set -e", *profile.setup, *_imports(tasks[0])],
            additional_parameters={**options, "requeue": True},  # the profile's time among them
        )
        try:
            if len(tasks) == 1:
                return str(executor.submit(tasks[0]).job_id)
            jobs = executor.map_array(_call, tasks)
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, OSError) as error:
            raise SubmissionRefused(" ".join(str(error).split())) from None
    return str(jobs[0].job_id).partition("_")[0]


def _imports(task: SlurmTask) -> list[str]:
    """Shell lines that let the job import the launch's snapshot: not the working folder, nor the checkout."""
    lines = ["export PYTHONSAFEPATH=1"]
    if task.task.code is not None:
        lines.append(f'export PYTHONPATH={shlex.quote(task.task.code)}"${{PYTHONPATH:+:$PYTHONPATH}}"')
    return lines


def _call(task: SlurmTask) -> str:
    return task()
