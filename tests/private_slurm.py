"""A private Slurm on this machine: one controller, a few nodes on one host, its own munge, files and ports.

    with PrivateSlurm() as slurm:
        job = slurm.sbatch("--array=0-2", wrap="hostname")
        slurm.wait(job, "COMPLETED")

What it guarantees:

- Nothing is shared with another Slurm on the host, private or not: configuration, munge key and socket, state, spools
  and logs lie under one root; ports are free ones (on the loopback address alone, where the host's name means
  127.0.0.1). Several can live side by side.
- Every daemon, munged too, runs as whoever starts it: as root, jobs of any user run (with the default root, which all
  may pass through); as anybody else, jobs of that user alone. No systemd, no cgroups; nothing of the machine's own is
  touched.
- `stop` ends every daemon by its pid (and the start time of that pid, so that a pid used again is left alone), the job
  steps of its nodes and their processes, and removes the root. A cluster whose owner was killed is cleared by the next
  start.

It needs the programs in PROGRAMS (Debian: slurmctld slurmd slurm-client munge) and Python's standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from slurm_daemons import PROGRAMS, SlurmDaemons, SlurmError, SlurmMissing, clear_orphans, missing_programs
from slurm_processes import Process, until

__all__ = [
    "ENDED",
    "PROGRAMS",
    "Job",
    "PrivateSlurm",
    "Process",
    "SlurmError",
    "SlurmMissing",
    "clear_orphans",
    "missing_programs",
    "require_slurm",
]

ENDED = (
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL", "PREEMPTED",
)  # fmt: skip
"""The states of a job that has ended."""


class Job(NamedTuple):
    """A job, or an element of an array, as squeue shows it."""

    id: str
    """`12`, or `12_3` for an element of an array."""
    state: str
    reason: str
    node: str
    partition: str
    name: str


def require_slurm() -> None:
    """Skip the pytest test, with the reason, where programs are missing; fail it if ISOSWEEP_REQUIRE_SLURM=1."""
    missing = missing_programs()
    if not missing:
        return
    import pytest

    reason = f"no private Slurm: {', '.join(missing)} not found (Debian: slurmctld slurmd slurm-client munge)"
    if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
        pytest.fail(f"ISOSWEEP_REQUIRE_SLURM=1, but {reason}")
    pytest.skip(reason)


class PrivateSlurm(SlurmDaemons):
    """A Slurm cluster of its own on this host: jobs in it, and faults of it. Its arguments are those of
    `SlurmDaemons`.
    """

    # ---------------------------------------------------------------- use

    @contextlib.contextmanager
    def active(self) -> Iterator[PrivateSlurm]:
        """This process's own environment is that of `env()` for a while, for libraries that call sbatch themselves."""
        before = dict(os.environ)
        try:
            os.environ.clear()
            os.environ.update(self.env(before))
            yield self
        finally:
            os.environ.clear()
            os.environ.update(before)

    def sbatch(self, *options: str | Path, wrap: str | None = None) -> str:
        """Submit a script (the last option) or a command line (`wrap`); its job id. What it prints: `output`."""
        array = any(str(option).startswith(("--array", "-a")) for option in options)
        words: list[str | Path] = [f"--output={self.folder}/jobs/{'%A_%a' if array else '%j'}.out", *options]
        if wrap is not None:
            words.append(f"--wrap={wrap}")
        return self.run("sbatch", "--parsable", *words).stdout.strip().split(";")[0]

    def output(self, job: str) -> str:
        """What a job of `sbatch` (`12`, or `12_3`) has printed so far; empty if nothing."""
        file = self.folder / "jobs" / f"{job}.out"
        return file.read_text() if file.exists() else ""

    def squeue(self, job: str | None = None) -> list[Job]:
        """All jobs it still knows, ended ones too, one for each element of an array; with `job`, those of that id."""
        form = "%i|%T|%r|%N|%P|%j"
        done = self.run("squeue", "--noheader", "--array", "--states=all", f"--format={form}")
        jobs = []
        for line in done.stdout.splitlines():
            identity, state, reason, node, partition, name = line.split("|", 5)
            if job is None or job in (identity, identity.partition("_")[0]):
                jobs.append(Job(identity, state, reason, node, partition, name))
        return jobs

    def job(self, identity: str) -> dict[str, str]:
        """`scontrol show job` of one job or element as a dictionary: JobState, Restarts, NodeList, Reason, …"""
        text = self.run("scontrol", "--oneliner", "show", "job", identity).stdout
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def nodes_state(self) -> dict[str, str]:
        """Node → state as sinfo spells it (idle, mixed, allocated, down*, drained, …; a star: it does not answer)."""
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").stdout.split("\n")
        return dict(sorted({(words[0], words[1]) for line in lines if len(words := line.split()) == 2}))

    def node_reason(self, node: str) -> str:
        """Why a node takes no jobs, as it or an administrator told the controller; empty where nobody has."""
        return self.run("sinfo", "--noheader", "--list-reasons", f"--nodes={node}", "--format=%E").stdout.strip()

    def config(self) -> dict[str, str]:
        """`scontrol show config` as a dictionary."""
        lines = self.run("scontrol", "show", "config").stdout.splitlines()
        pairs = (line.split("=", 1) for line in lines if "=" in line)
        return {key.strip(): value.strip() for key, value in pairs}

    def wait(self, job: str, *states: str, timeout: float = 120.0) -> list[Job]:
        """Wait until every element of a job is in one of these states (any state that ends, if none is given)."""
        wanted = states or ENDED
        seen: list[Job] = []

        def reached() -> bool:
            seen[:] = self.squeue(job)
            return bool(seen) and all(one.state in wanted for one in seen)

        if not until(reached, timeout):
            raise self.failure(f"job {job} is not {'/'.join(wanted)} after {timeout:g} s: {seen}")
        return seen

    # ---------------------------------------------------------------- between tests

    def clear(self) -> list[str]:
        """As new: every daemon runs, every node takes jobs, and there are none; what of that was not so.

        A job that is ending already is waited for and not told of. Raises SlurmError where it cannot be done.
        """
        found = []
        for daemon in self.daemons.values():
            daemon.signal(signal.SIGCONT)
        missing = [name for name in ("slurmctld", *self.nodes) if not self._runs(name)]
        for name in missing:
            self._end([name], signal.SIGKILL, 0.0)
            found.append(f"no {name}")
        if self._controller_killed or "slurmctld" in missing:
            # It may have forgotten its last jobs and gives their numbers again; a slurmd that remembers one of them
            # refuses the second, and is drained for it (`Duplicate jobid`).
            for node in self.nodes:
                self.kill_node(node, down=False)
            missing = [*(name for name in missing if name == "slurmctld"), *self.nodes]
            self._controller_killed = False
        if "slurmctld" in missing:
            self.start_controller()
        jobs = [job for job in self.squeue() if job.state not in ENDED]
        found += [f"job {job.id} {job.state} ({job.name})" for job in jobs if job.state != "COMPLETING"]
        if jobs:
            self.run("scancel", *sorted({job.id.partition("_")[0] for job in jobs}))
            for process in self.job_processes():
                process.signal(signal.SIGKILL)
        for node in missing:
            if node != "slurmctld":
                self.start_node(node)
        for node, state in self.nodes_state().items():
            if state.startswith(("down", "drain")):
                found.append(f"{node} {state} ({self.node_reason(node)})")
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        self.wait_idle()
        return found

    def _runs(self, name: str) -> bool:
        return name in self.daemons and self.daemons[name].alive()

    def renew(self) -> None:
        """Stopped, whatever is left of it, and started anew."""
        self.stop()
        if self._temporary:
            self.root = None
        self.start()

    # ---------------------------------------------------------------- faults

    def kill_node(self, node: str, *, down: bool = True) -> None:
        """A node dies: SIGKILL to its slurmd, then to its steps and all processes of its jobs.

        down: tell the controller at once, which requeues the node's jobs; otherwise it notices after SlurmdTimeout.
        """
        self._end([node], signal.SIGKILL, 0.0)
        self._kill_steps(node)
        if down:
            self.down(node)

    def start_node(self, node: str, timeout: float = 120.0) -> None:
        """The node's slurmd is started (again); returns once the node takes jobs."""
        self._start_slurmd(node)
        if not until(lambda: self._check() and self._listens(node), timeout):
            raise self.failure(f"slurmd of {node} does not listen after {timeout:g} s")

        def usable() -> bool:
            self._check()
            return self.nodes_state().get(node) in {"idle", "mixed", "allocated"}

        # It comes back by itself when it registers, a moment after it listens.
        if not until(usable, 3.0):
            self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)  # unless it just has
            if not until(usable, timeout):
                raise self.failure(f"{node} is {self.nodes_state().get(node)} after {timeout:g} s")

    def stop_controller(self, *, kill: bool = False) -> None:
        """slurmctld ends, saving its state (kill: with SIGKILL, saving nothing); jobs go on, commands fail."""
        self._end(["slurmctld"], signal.SIGKILL if kill else signal.SIGTERM, 60.0)
        self._controller_killed = self._controller_killed or kill

    def start_controller(self, timeout: float = 120.0) -> None:
        """slurmctld starts from the state it saved; returns once it and every living node have spoken."""
        self._start_controller(timeout)
        living = [node for node in self.nodes if node in self.daemons]

        def heard() -> bool:
            if self.run("sinfo", "--noheader", check=False).returncode != 0:
                return False
            states = self.nodes_state()
            return not any(states.get(node, "unknown").startswith("unk") for node in living)

        if not until(heard, timeout):
            raise self.failure(f"slurmctld does not answer, or its nodes do not, after {timeout:g} s")

    def restart_controller(self, *, kill: bool = False) -> None:
        """`stop_controller`, then `start_controller`."""
        self.stop_controller(kill=kill)
        self.start_controller()

    @contextlib.contextmanager
    def hanging_controller(self) -> Iterator[None]:
        """While inside, slurmctld is stopped (SIGSTOP): it takes connections and answers nothing."""
        controller = self.daemon("slurmctld")
        controller.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            controller.signal(signal.SIGCONT)

    def down(self, node: str, reason: str = "test") -> None:
        """Mark a node DOWN: its jobs are requeued."""
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", f"Reason={reason}")

    def drain(self, node: str, reason: str = "test") -> None:
        """Mark a node DRAIN: its jobs go on, it takes no others."""
        self.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    def resume(self, node: str) -> None:
        """Undo `down` or `drain`."""
        self.run("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def requeue(self, job: str) -> None:
        """`scontrol requeue` a job, or an element as ARRAY_TASK (an element's bare job id may name the whole array)."""
        self.run("scontrol", "requeue", job)
