"""Where the output of a task's job is, and its last words."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from isosweep.store.status import OpenTask
from isosweep.store.store import Store

__all__ = ["last_words", "outputs", "telling_line"]

_TAIL = 8192
_LONGEST = 300
# Lines of Slurm's own that only say that, not why.
_NOISE = re.compile(
    r"srun: (error: .*(Exited with|task .*: (Killed|Terminated)|Aborting|launch failed)|Terminating|Job step)"
    r"|srun: .*cancelled|slurmstepd: error: \*\*\*|submitit "
)


def outputs(store: Store, task: OpenTask, job: str | None = None) -> list[Path]:
    """The files that hold what a task printed; none if there are none yet. `job` is its job's id, where it is known."""
    folder = store.jobs / task.launch.token
    if task.launch.about["backend"] == "local":
        return sorted(folder.glob("pool.log"))
    if job is not None:
        return sorted(folder.glob(f"{job}_0_log.*"))
    starts = list(accumulate(task.launch.about["arrays"], initial=0))
    array = next(i for i in range(len(starts) - 1) if task.task < starts[i + 1])
    try:
        job = json.loads((folder / f"array-{array}.json").read_bytes())["job"]
    except (OSError, ValueError, KeyError):
        job = _claimed(task)
        if job is None:
            return []
    index = task.task - starts[array]
    element = f"{job}_{index}" if task.launch.about["arrays"][array] > 1 else job
    return sorted(folder.glob(f"{element}_0_log.*"))


def _claimed(task: OpenTask) -> str | None:
    """The job (of an array, its id) that claimed the task, for want of the launcher's own note."""
    job = task.entry.owner.get("job") if task.entry is not None else None
    return str(job).partition("_")[0] if job else None


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
            text = stream.read().decode(errors="replace")
    except OSError:
        return
    yield from (line.strip() for line in text.splitlines() if line.strip())


def last_words(store: Store, task: OpenTask, job: str | None = None) -> str | None:
    """The line of a job's output that says most likely why it ended: the last on standard error that is not Slurm's
    own. None where there is none; where the job could not even make its log, it says that.
    """
    files = outputs(store, task, job)
    if not files:
        return f"it wrote no log into {store.jobs / task.launch.token}: its node does not see the store, most likely"
    return telling_line(files)


def telling_line(files: Iterable[Path]) -> str | None:
    """The last line of a job's output that is more than Slurm's saying that it ended; standard error first."""
    for path in sorted(files, key=lambda p: p.suffix):  # .err, then .out
        lines = list(_lines(path))
        telling = [line for line in lines if not _NOISE.match(line)] or lines
        if telling:
            return telling[-1].removeprefix("slurmstepd: error: ")[:_LONGEST]
    return None
