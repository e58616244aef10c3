"""A private Slurm on this machine: one controller, a few nodes on one host, its own munge, files and ports.

As a library, for tests:

    with PrivateSlurm() as slurm:
        job = slurm.sbatch("--array=0-2", wrap="hostname")
        slurm.wait(job, "COMPLETED")

As a command, for `make slurm-up` and `make slurm-down`:

    python tests/private_slurm.py up [--root DIR]      # prints what to export; outlives the command
    python tests/private_slurm.py down [--root DIR]    # stops exactly that one, by pid

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

import argparse
import contextlib
import json
import os
import pwd
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
PREFIX = "isosweep-slurm-"
STATE_FILE = "state.json"
# A step's socket, <root>/spool/n1/n1_1234567.4294967291, must fit into the 107 characters of a Unix socket's name.
LONGEST_ROOT = 70
# Files that stand in for GPUs: gres.conf wants one that exists for each.
_GPU_FILES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
# Variables that Slurm's commands read as options, or that a surrounding job has set.
_SLURM_VARIABLES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SCANCEL_", "SACCT_")
_CLUSTER_NAME = "isosweep"


class SlurmMissing(RuntimeError):
    """Programs of Slurm or munge are not on this machine; the message lists them."""


class SlurmError(RuntimeError):
    """The private Slurm did not do what it should in time; the message carries the tails of its logs."""


class _PortClashError(Exception):
    """Another process took a port between its choice and its use."""


class Process(NamedTuple):
    """A process that stays itself: a pid, and when the pid's process started (clock ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The living process with this pid; None if there is none (a zombie is none)."""
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat.started)

    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone or the pid is another's by now."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Job(NamedTuple):
    """A job, or an element of an array, as squeue shows it."""

    id: str
    """`12`, or `12_3` for an element of an array."""
    state: str
    reason: str
    node: str
    partition: str
    name: str


def missing_programs() -> list[str]:
    """The programs of PROGRAMS that this machine lacks; empty where a private Slurm can be started."""
    return [name for name in PROGRAMS if _which(name) is None]


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


class PrivateSlurm:
    """A Slurm cluster of its own on this host. See the module's text for what it guarantees.

    root            where its files lie: absent or empty before, removed by `stop`; a new folder under /tmp by default
    nodes           how many; they are called n1, n2, …
    cpus            per node; more than the machine has is allowed
    memory_mb       per node; a job that asks for none gets its share by CPUs
    gres            GPUs per node (fake ones on device files; True is 1, False none)
    partitions      name → priority tier; the first is the default one; a higher tier preempts a lower by requeue
    max_array_size  MaxArraySize (an element's index stays below it); Slurm's own default if None
    cred_expire     seconds, 5 or more; a requeued job starts again after about this time and one second
    kill_wait       seconds between SIGTERM and SIGKILL
    min_job_age     seconds that a finished job stays known to squeue and scontrol
    settings        further lines of slurm.conf, by name; they win over those made here
    hidden          a folder that nodes and their jobs see empty, as one that is not shared (root's right to mount)
    before_controller  called when munge runs and slurmctld does not yet: for a slurmdbd of one's own
    """

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        nodes: int = 2,
        cpus: int = 2,
        memory_mb: int = 4000,
        gres: bool | int = True,
        partitions: Mapping[str, int] | None = None,
        max_array_size: int | None = None,
        cred_expire: int = 5,
        kill_wait: int = 5,
        min_job_age: int = 300,
        settings: Mapping[str, str | int] | None = None,
        before_controller: Callable[[PrivateSlurm], None] | None = None,
        hidden: Path | None = None,
    ) -> None:
        self.root = Path(root).resolve() if root is not None else None
        self.nodes = [f"n{i}" for i in range(1, nodes + 1)]
        self.cpus = cpus
        self.memory_mb = memory_mb
        self.gpus = int(gres)
        self.partitions = dict(partitions or {"low": 1, "high": 10})
        self.max_array_size = max_array_size
        self.cred_expire = cred_expire
        self.kill_wait = kill_wait
        self.min_job_age = min_job_age
        self.settings = dict(settings or {})
        self.before_controller = before_controller
        self.hidden = hidden
        self.ports: dict[str, int] = {}
        self._daemons: dict[str, Process] = {}
        self._handles: dict[str, subprocess.Popen[bytes]] = {}
        self._detached = False
        self._running = False
        if cred_expire < 5:
            raise ValueError(f"cred_expire is {cred_expire}: below 5 Slurm takes its default, 120 seconds, instead")
        if self.gpus > len(_GPU_FILES):
            raise ValueError(f"at most {len(_GPU_FILES)} fake GPUs a node, not {self.gpus}")
        if self.root is not None and len(str(self.root)) > LONGEST_ROOT:
            raise ValueError(f"root is {len(str(self.root))} characters long, at most {LONGEST_ROOT} fit: {self.root}")

    # ---------------------------------------------------------------- life

    def __enter__(self) -> PrivateSlurm:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, detached: bool = False, timeout: float = 60.0) -> PrivateSlurm:
        """Start the daemons and return once every node is idle; else stop them and raise SlurmError.

        detached: the cluster outlives this process. Otherwise its daemons are told to end when this process dies.
        """
        missing = missing_programs()
        if missing:
            raise SlurmMissing(f"not found: {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)")
        if self._running:
            raise RuntimeError(f"already running in {self.root}")
        self._detached = detached
        clear_orphans()
        self._make_root()
        self._running = True
        try:
            for attempt in range(4):
                try:
                    self._start_daemons(timeout)
                except _PortClashError as clash:
                    self._end_daemons()
                    if attempt == 3:
                        raise self._failure(f"no free ports after four tries ({clash})") from None
                else:
                    return self
        except BaseException:
            self.stop()
            raise
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End all that this cluster started, by pid, and remove its root. Doing it twice does no harm."""
        if not self._running:
            return
        self._end_daemons()
        self._running = False
        if os.environ.get("ISOSWEEP_KEEP_SLURM") == "1":
            print(f"ISOSWEEP_KEEP_SLURM=1: {self.root} is kept", file=sys.stderr)
            (self._root / STATE_FILE).unlink(missing_ok=True)
            return
        shutil.rmtree(self._root, ignore_errors=True)

    @classmethod
    def attach(cls, root: Path | str) -> PrivateSlurm:
        """The cluster that lives in this root, started by another process; FileNotFoundError if there is none."""
        state = json.loads((Path(root) / STATE_FILE).read_text())
        try:
            cluster = cls(root, **state["arguments"])
        except (TypeError, ValueError):
            # Written by another version of this file: enough is known to stop it.
            cluster = cls(root, nodes=state["arguments"]["nodes"])
        cluster.ports = state["ports"]
        cluster._detached = state["owner"] is None
        cluster._daemons = {name: Process(*process) for name, process in state["daemons"].items()}
        cluster._running = True
        return cluster

    @property
    def alive(self) -> bool:
        """Whether every daemon of a whole cluster runs (a killed node makes it False)."""
        names = {"munged", "slurmctld", *self.nodes}
        return names <= self._daemons.keys() and all(self._daemons[name].alive() for name in names)

    # ---------------------------------------------------------------- use

    @property
    def conf(self) -> Path:
        """Its slurm.conf: the value of SLURM_CONF."""
        return self._root / "slurm.conf"

    def exports(self) -> dict[str, str]:
        """What a shell must export to talk to this cluster."""
        path = {} if shutil.which("sbatch") else {"PATH": _search_path()}
        return {"SLURM_CONF": str(self.conf), **path}

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """A whole environment for client commands: `base` (by default this process's) less traces of another Slurm."""
        source = os.environ if base is None else base
        kept = {key: value for key, value in source.items() if not key.startswith(_SLURM_VARIABLES)}
        return {**kept, "SLURM_CONF": str(self.conf), "PATH": _search_path()}

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

    def run(
        self, *argv: str | Path, check: bool = True, timeout: float = 60.0, cwd: Path | str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command against this cluster, its output captured as text; if `check`, a failure raises SlurmError."""
        words = [str(word) for word in argv]
        done = subprocess.run(
            words, env=self.env(), capture_output=True, text=True, timeout=timeout, cwd=cwd or self._root, check=False
        )
        if check and done.returncode != 0:
            raise self._failure(f"{shlex.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def sbatch(self, *options: str | Path, wrap: str | None = None) -> str:
        """Submit a script (the last option) or a command line (`wrap`); its job id. What it prints: `output`."""
        array = any(str(option).startswith(("--array", "-a")) for option in options)
        words: list[str | Path] = [f"--output={self._root}/jobs/{'%A_%a' if array else '%j'}.out", *options]
        if wrap is not None:
            words.append(f"--wrap={wrap}")
        return self.run("sbatch", "--parsable", *words).stdout.strip().split(";")[0]

    def output(self, job: str) -> str:
        """What a job of `sbatch` (`12`, or `12_3`) has printed so far; empty if nothing."""
        file = self._root / "jobs" / f"{job}.out"
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

    def config(self) -> dict[str, str]:
        """`scontrol show config` as a dictionary."""
        lines = self.run("scontrol", "show", "config").stdout.splitlines()
        pairs = (line.split("=", 1) for line in lines if "=" in line)
        return {key.strip(): value.strip() for key, value in pairs}

    def wait(self, job: str, *states: str, timeout: float = 60.0) -> list[Job]:
        """Wait until every element of a job is in one of these states (any state that ends, if none is given)."""
        wanted = states or ENDED
        seen: list[Job] = []

        def reached() -> bool:
            seen[:] = self.squeue(job)
            return bool(seen) and all(one.state in wanted for one in seen)

        if not _until(reached, timeout):
            raise self._failure(f"job {job} is not {'/'.join(wanted)} after {timeout:g} s: {seen}")
        return seen

    def wait_idle(self, nodes: Iterable[str] | None = None, timeout: float = 60.0) -> None:
        """Wait until these nodes (all by default) are idle; SlurmError with the tails of the logs otherwise."""
        wanted = list(nodes or self.nodes)
        states: dict[str, str] = {}

        def idle() -> bool:
            self._check_daemons()
            listed = self.run("sinfo", "--noheader", "--Node", "--format=%N %T", check=False).stdout.splitlines()
            states.update(tuple(line.split()[:2]) for line in listed if line.split())  # type: ignore[misc]
            return all(states.get(node) == "idle" for node in wanted)

        if not _until(idle, timeout):
            raise self._failure(f"nodes are not idle after {timeout:g} s: {states or 'the controller does not answer'}")

    def log(self, name: str, lines: int = 20) -> str:
        """The tail of a daemon's log: munged, slurmctld, n1, n2, …"""
        with contextlib.suppress(OSError):
            return "\n".join((self._root / "log" / name).read_text(errors="replace").splitlines()[-lines:])
        return ""

    # ---------------------------------------------------------------- faults

    def daemon(self, name: str) -> Process:
        """The process of a daemon: munged, slurmctld, or a node's slurmd by the node's name."""
        return self._daemons[name]

    def steps(self, node: str | None = None) -> list[Process]:
        """The slurmstepd processes of a node (of all by default): those that listen on a socket in its spool."""
        spools = [f"{self._root}/spool/{name}/" for name in ([node] if node else self.nodes)]
        inodes = set()
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            words = line.split(maxsplit=7)
            if len(words) == 8 and words[3] == "00010000" and any(words[7].startswith(spool) for spool in spools):
                inodes.add(f"socket:[{words[6]}]")
        return _with_open(inodes) if inodes else []

    def job_processes(self, node: str | None = None, job: str | None = None) -> list[Process]:
        """The living processes of jobs (not slurmstepd): by descent from a step, or by environment where they left it.

        job: the SLURM_JOB_ID of one job, or `ARRAY_TASK` for an element of an array.
        """
        below = {process.pid for process in _descendants({step.pid for step in self.steps(node)})}
        found = []
        for pid in _pids():
            if pid == os.getpid():
                continue
            variables = _environment(pid)
            ours = (
                variables.get("SLURM_CONF") == str(self.conf)
                and variables.get("SLURM_CLUSTER_NAME") == _CLUSTER_NAME
                and variables.get("SLURMD_NODENAME") in ([node] if node else self.nodes)
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

    def kill_node(self, node: str, *, down: bool = True) -> None:
        """A node dies: SIGKILL to its slurmd, then to its steps and all processes of its jobs.

        down: tell the controller at once, which requeues the node's jobs; otherwise it notices after SlurmdTimeout.
        """
        self._end([node], signal.SIGKILL, 0.0)
        self._kill_steps(node)
        if down:
            self.down(node)

    def start_node(self, node: str, timeout: float = 60.0) -> None:
        """The node's slurmd is started (again); returns once the node takes jobs."""
        self._start_slurmd(node)
        if not _until(lambda: self._check_daemons() and self._listens(node), timeout):
            raise self._failure(f"slurmd of {node} does not listen after {timeout:g} s")

        def usable() -> bool:
            self._check_daemons()
            return self.nodes_state().get(node) in {"idle", "mixed", "allocated"}

        if not _until(usable, 3.0):
            self.resume(node)
            if not _until(usable, timeout):
                raise self._failure(f"{node} is {self.nodes_state().get(node)} after {timeout:g} s")

    def stop_controller(self, *, kill: bool = False) -> None:
        """slurmctld ends, saving its state (kill: with SIGKILL, saving nothing); jobs go on, commands fail."""
        self._end(["slurmctld"], signal.SIGKILL if kill else signal.SIGTERM, 15.0)

    def start_controller(self, timeout: float = 60.0) -> None:
        """slurmctld starts from the state it saved; returns once it and every living node have spoken."""
        self._start_controller(timeout)
        living = [node for node in self.nodes if node in self._daemons]

        def heard() -> bool:
            if self.run("sinfo", "--noheader", check=False).returncode != 0:
                return False
            states = self.nodes_state()
            return not any(states.get(node, "unknown").startswith("unk") for node in living)

        if not _until(heard, timeout):
            raise self._failure(f"slurmctld does not answer, or its nodes do not, after {timeout:g} s")

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

    # ---------------------------------------------------------------- within

    @property
    def _root(self) -> Path:
        if self.root is None:
            raise RuntimeError("not started")
        return self.root

    def _make_root(self) -> None:
        if self.root is None:
            self.root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_short_temporary_folder())).resolve()
        else:
            self.root.mkdir(parents=True, exist_ok=True)
            if any(self.root.iterdir()):
                raise FileExistsError(f"{self.root} is not empty: a private Slurm wants a folder of its own")
        self.root.chmod(0o755)
        for folder in ("munge", "state", "log", "jobs", *(f"spool/{node}" for node in self.nodes)):
            (self.root / folder).mkdir(parents=True)
        # Every user's jobs may write their logs there; the key is read by its owner alone.
        (self.root / "jobs").chmod(0o1777)
        key = self.root / "munge" / "key"
        key.touch(mode=0o400)
        key.chmod(0o600)
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)

    def _save_state(self) -> None:
        owner = None if self._detached else Process.of(os.getpid())
        state = {
            "arguments": {
                "nodes": len(self.nodes),
                "cpus": self.cpus,
                "memory_mb": self.memory_mb,
                "gres": self.gpus,
                "partitions": self.partitions,
                "max_array_size": self.max_array_size,
                "cred_expire": self.cred_expire,
                "kill_wait": self.kill_wait,
                "min_job_age": self.min_job_age,
                "settings": self.settings,
            },
            "owner": owner,
            "ports": self.ports,
            "daemons": self._daemons,
        }
        fresh = self._root / f"{STATE_FILE}.new"
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(self._root / STATE_FILE)

    def _configuration(self) -> str:
        root, host, user = self._root, socket.gethostname().split(".")[0], pwd.getpwuid(os.geteuid()).pw_name
        lines: dict[str, str | int] = {
            "ClusterName": _CLUSTER_NAME,
            # An address of its own, so that the host's name need not resolve.
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": self.ports["slurmctld"],
            "SlurmUser": user,
            "SlurmdUser": user,
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={root}/munge/socket,cred_expire={self.cred_expire}",
            "StateSaveLocation": f"{root}/state",
            "SlurmdSpoolDir": f"{root}/spool/%n",
            "SlurmctldPidFile": f"{root}/slurmctld.pid",
            "SlurmdPidFile": f"{root}/%n.pid",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "MpiDefault": "none",
            "MailProg": "/bin/true",
            "JobAcctGatherType": "jobacct_gather/linux",
            "JobAcctGatherFrequency": 2,
            "AccountingStorageType": "accounting_storage/none",
            "JobCompType": "jobcomp/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_CPU_Memory",
            "DefMemPerCPU": self.memory_mb // self.cpus,
            "SlurmdParameters": "config_overrides",
            "SchedulerType": "sched/backfill",
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1",
            "PriorityType": "priority/basic",
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
            "JobRequeue": 1,
            "ReturnToService": 2,
            "SlurmctldTimeout": 30,
            "SlurmdTimeout": 60,
            "MessageTimeout": 20,
            "InactiveLimit": 0,
            "KillWait": self.kill_wait,
            "MinJobAge": self.min_job_age,
        }
        if _host_is_loopback():
            # The daemons listen on the address that the host's name has, instead of on all: right for this one alone.
            lines["CommunicationParameters"] = "NoInAddrAny,NoCtldInAddrAny"
        if self.gpus:
            lines["GresTypes"] = "gpu"
        if self.max_array_size is not None:
            lines["MaxArraySize"] = self.max_array_size
        lines.update(self.settings)
        text = [f"{key}={value}" for key, value in lines.items()]
        gres = f" Gres=gpu:{self.gpus}" if self.gpus else ""
        text += [
            f"NodeName={node} NodeHostName={host} NodeAddr=127.0.0.1 Port={self.ports[node]} CPUs={self.cpus}"
            f" RealMemory={self.memory_mb}{gres} State=UNKNOWN"
            for node in self.nodes
        ]
        text += [
            f"PartitionName={name} Nodes={','.join(self.nodes)} PriorityTier={tier} State=UP MaxTime=INFINITE"
            f" Default={'YES' if index == 0 else 'NO'}"
            for index, (name, tier) in enumerate(self.partitions.items())
        ]
        return "\n".join(text) + "\n"

    def _start_daemons(self, timeout: float) -> None:
        names = ["slurmctld", *self.nodes]
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.conf.write_text(self._configuration())
        gres = [f"NodeName={node} Name=gpu File={file}" for node in self.nodes for file in _GPU_FILES[: self.gpus]]
        (self._root / "gres.conf").write_text("".join(f"{line}\n" for line in gres))
        munge = self._root / "munge"
        # --force: a root that others may not pass through is a warning, not an error; it serves its owner.
        self._spawn(
            "munged",
            [
                *("munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key"),
                *(f"--pid-file={munge}/pid", f"--seed-file={munge}/seed", f"--log-file={munge}/log"),
            ],
        )
        if not _until(lambda: self._check_daemons() and (munge / "socket").exists(), timeout):
            raise self._failure(f"munged has no socket after {timeout:g} s")
        if self.before_controller is not None:
            self.before_controller(self)
        self._start_controller(timeout)
        for node in self.nodes:
            self._start_slurmd(node)
        self.wait_idle(timeout=timeout)

    def _start_controller(self, timeout: float) -> None:
        self._spawn("slurmctld", ["slurmctld", "-D", "-f", str(self.conf)])
        if not _until(lambda: self._check_daemons() and self._listens("slurmctld"), timeout):
            raise self._failure(f"slurmctld does not listen after {timeout:g} s")

    def _start_slurmd(self, node: str) -> None:
        words = ["slurmd", "-D", "-N", node, "-f", str(self.conf)]
        if self.hidden is not None:
            slurmd = _which("slurmd") or "slurmd"
            mount = f"mount -t tmpfs none {shlex.quote(str(self.hidden))} && exec {shlex.join([slurmd, *words[1:]])}"
            words = ["unshare", "--mount", "sh", "-c", mount]
        self._spawn(node, words)

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        """Start a daemon in the foreground, so that its pid is known, and in a session that no Ctrl-C reaches."""
        known = self._daemons.get(name)
        if known is not None and known.alive():
            raise RuntimeError(f"{name} already runs, pid {known.pid}")
        program = _which(command[0])
        if program is None:
            raise SlurmMissing(f"not found: {command[0]}")
        words = [program, *command[1:]]
        setpriv = shutil.which("setpriv")
        # The signal comes when the thread that started the daemon ends: only the main thread lives long enough.
        if not self._detached and setpriv and threading.current_thread() is threading.main_thread():
            words = [setpriv, "--pdeathsig", "TERM", "--", *words]
        with (self._root / "log" / name).open("ab") as log:
            handle = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._root,
                env=self.env(),
                start_new_session=True,
            )
        process = Process.of(handle.pid)
        self._handles[name] = handle
        self._daemons[name] = process or Process(handle.pid, -1)
        self._save_state()

    def _check_daemons(self) -> bool:
        """True while all run that should; else _PortClashError where its log says that, or SlurmError."""
        for name, handle in self._handles.items():
            if handle.poll() is None:
                continue
            if "Address already in use" in self.log(name):
                raise _PortClashError(f"{name}: its port is in use")
            raise self._failure(f"{name} ended with {handle.returncode}")
        return True

    def _listens(self, name: str) -> bool:
        return _listening(self._daemons[name], self.ports[name])

    def _failure(self, message: str) -> SlurmError:
        parts = [message]
        for name in ("munged", "slurmctld", *self.nodes):
            tail = self.log(name)
            if tail:
                parts.append(f"--- {name}\n{tail}")
        return SlurmError("\n".join(parts))

    def _end(self, names: Iterable[str], number: int, patience: float) -> None:
        """Signal these daemons, wait, then SIGKILL what is left; forget them."""
        chosen = {name: self._daemons.pop(name) for name in names if name in self._daemons}
        handles = [handle for name in chosen if (handle := self._handles.pop(name, None)) is not None]
        # slurmctld has a helper of its own (slurmscriptd), which ends with it unless it is stopped just then.
        below = _descendants({process.pid for process in chosen.values() if process.alive()})
        for process in chosen.values():
            process.signal(number)
            process.signal(signal.SIGCONT)

        def gone() -> bool:
            for handle in handles:
                handle.poll()
            return not any(process.alive() for process in [*chosen.values(), *below])

        if not _until(gone, patience):
            for process in [*chosen.values(), *below]:
                process.signal(signal.SIGKILL)
            _until(gone, 10.0)
        if chosen:
            self._save_state()

    def _kill_steps(self, node: str | None = None) -> None:
        """SIGKILL to steps first (they would report the end of their jobs), then to the jobs, until none is left."""

        def none_left() -> bool:
            steps = self.steps(node)
            processes = self.job_processes(node)
            for process in [*steps, *processes]:
                process.signal(signal.SIGKILL)
            return not steps and not processes

        if not _until(none_left, 10.0):
            raise self._failure(f"job steps outlive SIGKILL: {self.steps(node)} {self.job_processes(node)}")

    def _end_daemons(self) -> None:
        self._end(self.nodes, signal.SIGKILL, 0.0)
        self._kill_steps()
        self._end(["slurmctld", "munged"], signal.SIGTERM, 3.0)


ENDED = (
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL", "PREEMPTED",
)  # fmt: skip
"""The states of a job that has ended."""


def clear_orphans() -> list[Path]:
    """Stop the private clusters of this user whose owner died without doing so; their roots."""
    cleared = []
    for state in Path(_short_temporary_folder()).glob(f"{PREFIX}*/{STATE_FILE}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            owner = json.loads(state.read_text())["owner"]
            if owner is not None and state.stat().st_uid == os.geteuid() and not Process(*owner).alive():
                PrivateSlurm.attach(state.parent).stop()
                cleared.append(state.parent)
    return cleared


# -------------------------------------------------------------------- processes, ports


class _Stat(NamedTuple):
    parent: int
    started: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    words = text.rpartition(")")[2].split()
    return None if words[0] in "ZXx" else _Stat(int(words[1]), int(words[19]))


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]


def _descendants(roots: set[int]) -> list[Process]:
    """The living processes below these pids, themselves not among them."""
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None}
    below, grown = set(roots), True
    while grown:
        more = {pid for pid, stat in stats.items() if stat.parent in below} - below
        below |= more
        grown = bool(more)
    return [Process(pid, stats[pid].started) for pid in below - roots if pid in stats]


def _environment(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    words = (word.partition("=") for word in raw.decode(errors="replace").split("\0"))
    return {key: value for key, equals, value in words if equals}


def _with_open(links: set[str]) -> list[Process]:
    """The living processes that hold a file descriptor with one of these link texts."""
    found = []
    for pid in _pids():
        process = Process.of(pid) if _holds(pid, links) else None
        if process is not None:
            found.append(process)
    return found


def _holds(pid: int, links: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    held = False
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(folder):
            # Descriptors come and go while they are read.
            with contextlib.suppress(OSError):
                held = held or os.readlink(f"{folder}/{descriptor}") in links
    return held


def _listening(process: Process, port: int) -> bool:
    """Whether this very process listens on this TCP port, seen without connecting to it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{words[9]}]")
    return bool(inodes) and _holds(process.pid, inodes)


def _free_ports(count: int) -> list[int]:
    """Free TCP ports, outside the range from which the kernel hands out ports of outgoing connections."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(15000, 32000), 2000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise _PortClashError(f"fewer than {count} free ports between 15000 and 32000")


def _host_is_loopback() -> bool:
    with contextlib.suppress(OSError):
        return socket.gethostbyname(socket.gethostname()) == "127.0.0.1"
    return False


def _until(condition: Callable[[], object], timeout: float, pause: float = 0.05) -> bool:
    """Ask again and again until it is true; False after `timeout` seconds. It is asked once at least."""
    end = time.monotonic() + timeout
    while True:
        if condition():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(pause)


def _search_path() -> str:
    """PATH, with the folders of system programs at its end."""
    folders = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    return ":".join(dict.fromkeys([*folders, "/usr/local/sbin", "/usr/sbin", "/sbin"]))


def _which(name: str) -> str | None:
    return shutil.which(name, path=_search_path())


def _short_temporary_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) + len(PREFIX) + 8 <= LONGEST_ROOT else "/tmp"


# -------------------------------------------------------------------- command


def _default_root() -> Path:
    return Path(_short_temporary_folder()) / f"isosweep-private-slurm-{os.geteuid()}"


def _print_exports(cluster: PrivateSlurm) -> None:
    for key, value in cluster.exports().items():
        print(f"export {key}={shlex.quote(value)}")


def _up(root: Path, arguments: dict[str, Any]) -> int:
    if (root / STATE_FILE).exists():
        cluster = PrivateSlurm.attach(root)
        if cluster.alive:
            print(f"A private Slurm already runs in {root}.", file=sys.stderr)
            _print_exports(cluster)
            return 0
        print(f"The private Slurm in {root} is not whole: it is started anew.", file=sys.stderr)
        cluster.stop()
    began = time.monotonic()
    try:
        cluster = PrivateSlurm(root, **arguments).start(detached=True)
    except (SlurmMissing, SlurmError, FileExistsError, ValueError) as error:
        print(f"No private Slurm: {error}", file=sys.stderr)
        return 1
    nodes = ", ".join(cluster.nodes)
    took = time.monotonic() - began
    print(f"A private Slurm ({nodes}) runs in {root} after {took:.1f} s. To use it:", file=sys.stderr)
    _print_exports(cluster)
    return 0


def _down(root: Path) -> int:
    try:
        cluster = PrivateSlurm.attach(root)
    except FileNotFoundError:
        print(f"No private Slurm in {root}.", file=sys.stderr)
        return 0
    cluster.stop()
    print(f"The private Slurm in {root} is stopped and its files removed.", file=sys.stderr)
    return 0


def _status(root: Path) -> int:
    try:
        cluster = PrivateSlurm.attach(root)
    except FileNotFoundError:
        print(f"No private Slurm in {root}.", file=sys.stderr)
        return 1
    _print_exports(cluster)
    for name in ("munged", "slurmctld", *cluster.nodes):
        process = cluster._daemons.get(name)
        text = f"pid {process.pid}" if process is not None and process.alive() else "not running"
        print(f"{name}: {text}", file=sys.stderr)
    return 0 if cluster.alive else 1


def main(argv: Sequence[str] | None = None) -> int:
    """`up` and `status` print only lines for a shell on stdout (`eval "$(… up)"`), all else on stderr."""
    parser = argparse.ArgumentParser(prog="private_slurm", description="A private Slurm on this machine.")
    parser.add_argument("action", choices=["up", "down", "status"])
    parser.add_argument("--root", type=Path, default=_default_root(), help="where its files lie (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="per node")
    parser.add_argument("--gpus", type=int, default=1, help="fake ones, per node")
    parser.add_argument("--max-array-size", type=int, default=None)
    given = parser.parse_args(argv)
    root = given.root.resolve()
    if given.action == "down":
        return _down(root)
    if given.action == "status":
        return _status(root)
    arguments = {"nodes": given.nodes, "cpus": given.cpus, "gres": given.gpus, "max_array_size": given.max_array_size}
    return _up(root, arguments)


if __name__ == "__main__":
    sys.exit(main())
