"""Whose a process is: the steps of a private Slurm's nodes, and the processes of its jobs, found in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from slurm_configuration import CLUSTER_NAME
from slurm_processes import Process, descendants, environment_of, pids, with_open

__all__ = ["processes_of_jobs", "starting_steps_of", "steps_of"]


def steps_of(folder: Path, nodes: Iterable[str]) -> list[Process]:
    """The slurmstepd processes of these nodes of the cluster in `folder`: those that listen on a socket in a spool."""
    spools = [f"{folder}/spool/{name}/" for name in nodes]
    inodes = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split(maxsplit=7)
        if len(words) == 8 and words[3] == "00010000" and any(words[7].startswith(spool) for spool in spools):
            inodes.add(f"socket:[{words[6]}]")
    return with_open(inodes) if inodes else []


def starting_steps_of(folder: Path) -> list[Process]:
    """The slurmstepd processes of any node of the cluster in `folder`, those too that do not listen yet: after the end
    of their slurmd they would go on and start their job.
    """
    found = []
    for pid in pids():
        try:
            name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if b"slurmstepd" in name and environment_of(pid).get("SLURM_CONF") == str(folder / "slurm.conf"):
            process = Process.of(pid)
            found += [process] if process is not None else []
    return found


def processes_of_jobs(folder: Path, nodes: Iterable[str], job: str | None = None) -> list[Process]:
    """The living processes of jobs (not slurmstepd): by descent from a step, or by environment where they left it.

    job: the SLURM_JOB_ID of one job, or `ARRAY_TASK` for an element of an array.
    """
    names = list(nodes)
    below = {process.pid for process in descendants({step.pid for step in steps_of(folder, names)})}
    found = []
    for pid in pids():
        if pid == os.getpid():
            continue
        variables = environment_of(pid)
        ours = (
            variables.get("SLURM_CONF") == str(folder / "slurm.conf")
            and variables.get("SLURM_CLUSTER_NAME") == CLUSTER_NAME
            and variables.get("SLURMD_NODENAME") in names
        )
        if job is not None:
            element = f"{variables.get('SLURM_ARRAY_JOB_ID')}_{variables.get('SLURM_ARRAY_TASK_ID')}"
            ours = ours and job in (variables.get("SLURM_JOB_ID"), element)
        elif pid in below:
            ours = True
        process = Process.of(pid) if ours else None
        if process is not None:
            found.append(process)
    return found
