"""What Slurm says: is it here, what does it allow, what is in its queue, what became of jobs that have left it.

Every question is one command with a time-out, and a question that was not answered is told from one that was answered
with nothing.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = [
    "ENDED",
    "Partition",
    "Queue",
    "Queued",
    "SchedulerSilent",
    "accounted",
    "cluster_name",
    "configuration",
    "has_accounting",
    "job_name",
    "largest_array",
    "partitions",
    "queue_of_mine",
    "say",
    "slurm_here",
]

_TIMEOUT = 30.0
_NOT_CONFIGURED = ("Could not establish a configuration source", "No such file or directory")

# States in which a job will never run again. A job that Slurm is about to run again is shown as PENDING or REQUEUED.
ENDED = frozenset(
    [
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
    ]
)


class SchedulerSilent(Exception):
    """Slurm's controller, or its accounting, did not answer, or not in time. Nothing is concluded from it."""


@dataclass(frozen=True)
class Queued:
    """An array element as Slurm shows it: its job name, its index (0 for a job that is no array), Slurm's state and
    reason, and when it is expected to start (seconds since the epoch by the controller's clock), if it is.
    """

    name: str
    index: int
    job: str
    state: str
    reason: str
    starts: float | None = None


@dataclass(frozen=True)
class Queue:
    """A good listing of this user's jobs on one cluster, by (job name, index): those that may still run, and those
    that have ended and are still known.
    """

    cluster: str
    elements: dict[tuple[str, int], Queued]
    ended: dict[tuple[str, int], Queued] = field(default_factory=dict)


def _timeout() -> float:
    return float(os.environ.get("ISOSWEEP_SLURM_TIMEOUT", _TIMEOUT))


def say(*command: str, timeout: float | None = None) -> str:
    """What a command of Slurm's prints.

    Raises:
        SchedulerSilent: it fails, is not there, or takes longer than 30 s (or ISOSWEEP_SLURM_TIMEOUT seconds).
    """
    # a filter that the user has set for squeue or sacct would hide living jobs
    hidden = ("SQUEUE_", "SACCT_", "SLURM_TIME_FORMAT")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    limit = timeout or _timeout()
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise SchedulerSilent(f"{command[0]} gave no answer within {limit:g} s") from None
    except OSError as error:
        raise SchedulerSilent(f"{command[0]} cannot be started: {error.strerror}") from None
    if answer.returncode != 0:
        said = " ".join(answer.stderr.split()) or f"exit code {answer.returncode}"
        raise SchedulerSilent(f"{' '.join(command[:2])}: {said}")
    return answer.stdout


def slurm_here() -> bool:
    """Whether this machine belongs to a Slurm cluster: sbatch is on the PATH and Slurm finds its configuration.

    Programs of Slurm that were never configured are no Slurm. A configured one whose controller is silent, or that
    lacks srun, is an error, not an absence.

    Raises:
        SchedulerSilent: it is configured, and does not answer, or has no srun.
    """
    if shutil.which("sbatch") is None:
        return False
    try:
        say("scontrol", "show", "config")
    except SchedulerSilent as error:
        if not os.environ.get("SLURM_CONF") and any(text in str(error) for text in _NOT_CONFIGURED):
            return False
        raise
    if shutil.which("srun") is None:
        raise SchedulerSilent("sbatch is here and srun is not, without which no job runs; use --local to run here")
    return True


@functools.cache
def configuration() -> dict[str, str]:
    """Slurm's configuration as its controller has it.

    Raises:
        SchedulerSilent: the controller did not answer.
    """
    lines = (line.partition("=") for line in say("scontrol", "show", "config").splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def cluster_name() -> str:
    """The cluster that Slurm's commands speak to here; raises `SchedulerSilent`."""
    return configuration().get("ClusterName", "")


def largest_array() -> int:
    """How many elements an array may have (MaxArraySize, which is one more than the highest index allowed); raises
    `SchedulerSilent`.
    """
    found = re.match(r"\d+", configuration().get("MaxArraySize", ""))
    return max(1, int(found[0])) if found else 1000


def has_accounting() -> bool:
    """Whether the cluster keeps accounts, which sacct reads; raises `SchedulerSilent`."""
    return "slurmdbd" in configuration().get("AccountingStorageType", "")


def job_name(token: str, array: int) -> str:
    """The job name of an array of a launch: what it is recognised by, however job ids are reused."""
    return f"isosweep-{token}-{array}"


def _seconds(text: str) -> float | None:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None  # N/A


def queue_of_mine() -> Queue:
    """Every job of this user that Slurm still knows, in hidden partitions too: one squeue.

    Raises:
        SchedulerSilent: no good listing was to be had.
    """
    living: dict[tuple[str, int], Queued] = {}
    ended: dict[tuple[str, int], Queued] = {}
    for line in say("squeue", "--me", "-a", "-h", "-r", "-t", "all", "-o", "%j|%K|%i|%T|%S|%r").splitlines():
        name, _, rest = line.partition("|")
        if not name.startswith("isosweep-"):
            continue
        index, job, state, start, reason = (rest.split("|", 4) + [""] * 5)[:5]
        number = int(index) if index.isdigit() else 0
        one = Queued(name, number, job, state, reason, _seconds(start))
        # of two jobs of one name and index, which a submission repeated by sbatch itself may leave, the living counts
        (ended if state in ENDED else living)[name, number] = one
    return Queue(cluster_name(), living, {key: one for key, one in ended.items() if key not in living})


def accounted(names: Collection[str], since: float) -> dict[tuple[str, int], Queued]:
    """What Slurm's accounts say of jobs of these names, begun at `since` (seconds since the epoch) or later, that have
    ended: one sacct.

    Raises:
        SchedulerSilent: no good answer was to be had.
    """
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - 86400))  # clocks differ
    text = say(
        *("sacct", "-X", "-n", "-P", "--starttime", start, "--name", ",".join(sorted(names))),
        *("--format", "JobName%200,JobID%60,State%60"),
    )
    found: dict[tuple[str, int], Queued] = {}
    for line in text.splitlines():
        name, job, state = (line.split("|") + [""] * 3)[:3]
        state = state.split()[0] if state.split() else ""  # CANCELLED by 1000
        index = job.partition("_")[2]
        if state in ENDED and (index.isdigit() or "_" not in job):
            number = int(index) if index else 0
            found[name, number] = Queued(name, number, job, state, "")
    return found


@dataclass(frozen=True)
class Partition:
    """A partition: its name, whether jobs go there that name none, and whether its nodes have GPUs."""

    name: str
    default: bool
    gpus: bool


def partitions() -> list[Partition]:
    """The partitions that are up; raises `SchedulerSilent`."""
    found: dict[str, Partition] = {}
    for line in say("sinfo", "-h", "-o", "%P|%a|%G").splitlines():
        name, up, gres = (line.strip().split("|") + [""] * 3)[:3]
        if up == "up":
            plain = name.rstrip("*")
            before = found.get(plain)
            found[plain] = Partition(plain, name.endswith("*"), "gpu" in gres or (before is not None and before.gpus))
    return list(found.values())
