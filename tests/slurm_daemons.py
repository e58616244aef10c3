"""The daemons of a private Slurm: munged, slurmctld and a slurmd a node, started and ended by their pids."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm_configuration import GPU_FILES, gres_conf, slurm_conf
from slurm_jobs import processes_of_jobs, starting_steps_of, steps_of
from slurm_processes import (
    PortClashError,
    Process,
    descendants,
    free_ports,
    listening,
    search_path,
    until,
    which,
)

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
PREFIX = "isosweep-slurm-"
STATE_FILE = "state.json"
# A step's socket, <root>/spool/n1/n1_1234567.4294967291, must fit into the 107 characters of a Unix socket's name.
LONGEST_ROOT = 70
# Variables that Slurm's commands read as options, or that a surrounding job has set.
_SLURM_VARIABLES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SCANCEL_", "SACCT_")


class SlurmMissing(RuntimeError):
    """Programs of Slurm or munge are not on this machine; the message lists them."""


class SlurmError(RuntimeError):
    """The private Slurm did not do what it should in time; the message carries the tails of its logs."""


def missing_programs() -> list[str]:
    """The programs of PROGRAMS that this machine lacks; empty where a private Slurm can be started."""
    return [name for name in PROGRAMS if which(name) is None]


class SlurmDaemons:
    """The daemons of a cluster, their files, and their end; see `private_slurm` for what is guaranteed.

    root            where its files lie: absent or empty before, removed by `stop`; a new folder under /tmp by default
    nodes           how many; they are called n1, n2, …
    cpus            per node; more than the machine has is allowed
    memory_mb       per node; a job that asks for none gets its share by CPUs
    gres            GPUs per node (fake ones on device files; True is 1, False none)
    partitions      name → priority tier; the first is the default one; a higher tier preempts a lower by requeue
    max_array_size  MaxArraySize (an element's index stays below it); Slurm's own default if None
    cred_expire     seconds, 5 or more; a requeued job starts again after about this time and one second, and a step
                    that takes longer to reach its node is refused
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
        cred_expire: int = 10,
        kill_wait: int = 5,
        min_job_age: int = 300,
        settings: Mapping[str, str | int] | None = None,
        before_controller: Callable[[Self], None] | None = None,
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
        self.daemons: dict[str, Process] = {}
        self._handles: dict[str, subprocess.Popen[bytes]] = {}
        self._detached = False
        self._running = False
        self._controller_killed = False
        self._temporary = root is None
        if cred_expire < 5:
            raise ValueError(f"cred_expire is {cred_expire}: below 5 Slurm takes its default, 120 seconds, instead")
        if self.gpus > len(GPU_FILES):
            raise ValueError(f"at most {len(GPU_FILES)} fake GPUs a node, not {self.gpus}")
        if self.root is not None and len(str(self.root)) > LONGEST_ROOT:
            raise ValueError(f"root is {len(str(self.root))} characters long, at most {LONGEST_ROOT} fit: {self.root}")

    # ---------------------------------------------------------------- life

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, detached: bool = False, timeout: float = 120.0) -> Self:
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
                    self._start_all(timeout)
                except PortClashError as clash:
                    self._end_all()
                    if attempt == 3:
                        raise self.failure(f"no free ports after four tries ({clash})") from None
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
        self._end_all()
        self._running = False
        if os.environ.get("ISOSWEEP_KEEP_SLURM") == "1":
            print(f"ISOSWEEP_KEEP_SLURM=1: {self.root} is kept", file=sys.stderr)
            (self.folder / STATE_FILE).unlink(missing_ok=True)
            return
        shutil.rmtree(self.folder, ignore_errors=True)

    @classmethod
    def attach(cls, root: Path | str) -> Self:
        """The cluster that lives in this root, started by another process; FileNotFoundError if there is none."""
        state = json.loads((Path(root) / STATE_FILE).read_text())
        try:
            cluster = cls(root, **state["arguments"])
        except (TypeError, ValueError):
            # Written by another version of this file: enough is known to stop it.
            cluster = cls(root, nodes=state["arguments"]["nodes"])
        cluster.ports = state["ports"]
        cluster._detached = state["owner"] is None
        cluster.daemons = {name: Process(*process) for name, process in state["daemons"].items()}
        cluster._running = True
        return cluster

    @property
    def alive(self) -> bool:
        """Whether every daemon of a whole cluster runs (a killed node makes it False)."""
        names = {"munged", "slurmctld", *self.nodes}
        return names <= self.daemons.keys() and all(self.daemons[name].alive() for name in names)

    # ---------------------------------------------------------------- files and commands

    @property
    def conf(self) -> Path:
        """Its slurm.conf: the value of SLURM_CONF."""
        return self.folder / "slurm.conf"

    def exports(self) -> dict[str, str]:
        """What a shell must export to talk to this cluster."""
        path = {} if shutil.which("sbatch") else {"PATH": search_path()}
        return {"SLURM_CONF": str(self.conf), **path}

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """A whole environment for client commands: `base` (by default this process's) less traces of another Slurm."""
        source = os.environ if base is None else base
        kept = {key: value for key, value in source.items() if not key.startswith(_SLURM_VARIABLES)}
        return {**kept, "SLURM_CONF": str(self.conf), "PATH": search_path()}

    def run(
        self, *argv: str | Path, check: bool = True, timeout: float = 120.0, cwd: Path | str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command against this cluster, its output captured as text; if `check`, a failure raises SlurmError."""
        words = [str(word) for word in argv]
        done = subprocess.run(
            words, env=self.env(), capture_output=True, text=True, timeout=timeout, cwd=cwd or self.folder, check=False
        )
        if check and done.returncode != 0:
            raise self.failure(f"{shlex.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def wait_idle(self, nodes: Iterable[str] | None = None, timeout: float = 120.0) -> None:
        """Wait until these nodes (all by default) are idle; SlurmError with the tails of the logs otherwise."""
        wanted = list(nodes or self.nodes)
        states: dict[str, str] = {}

        def idle() -> bool:
            self._check()
            listed = self.run("sinfo", "--noheader", "--Node", "--format=%N %T", check=False).stdout.splitlines()
            states.update(tuple(line.split()[:2]) for line in listed if line.split())  # type: ignore[misc]
            return all(states.get(node) == "idle" for node in wanted)

        if not until(idle, timeout):
            raise self.failure(f"nodes are not idle after {timeout:g} s: {states or 'the controller does not answer'}")

    def log(self, name: str, lines: int = 20) -> str:
        """The tail of a daemon's log: munged, slurmctld, n1, n2, …"""
        with contextlib.suppress(OSError):
            return "\n".join((self.folder / "log" / name).read_text(errors="replace").splitlines()[-lines:])
        return ""

    # ---------------------------------------------------------------- processes

    def daemon(self, name: str) -> Process:
        """The process of a daemon: munged, slurmctld, or a node's slurmd by the node's name."""
        return self.daemons[name]

    def steps(self, node: str | None = None) -> list[Process]:
        """The slurmstepd processes of a node (of all by default)."""
        return steps_of(self.folder, [node] if node else self.nodes)

    def job_processes(self, node: str | None = None, job: str | None = None) -> list[Process]:
        """The living processes of jobs, of a node (of all by default); see `slurm_jobs.processes_of_jobs`."""
        return processes_of_jobs(self.folder, [node] if node else self.nodes, job)

    # ---------------------------------------------------------------- within

    @property
    def folder(self) -> Path:
        if self.root is None:
            raise RuntimeError("not started")
        return self.root

    def _make_root(self) -> None:
        if self.root is None:
            self.root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=short_temporary_folder())).resolve()
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
            "daemons": self.daemons,
        }
        fresh = self.folder / f"{STATE_FILE}.new"
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(self.folder / STATE_FILE)

    def _start_all(self, timeout: float) -> None:
        names = ["slurmctld", *self.nodes]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.conf.write_text(slurm_conf(self))
        (self.folder / "gres.conf").write_text(gres_conf(self))
        munge = self.folder / "munge"
        # --force: a root that others may not pass through is a warning, not an error; it serves its owner.
        self._spawn(
            "munged",
            [
                *("munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key"),
                *(f"--pid-file={munge}/pid", f"--seed-file={munge}/seed", f"--log-file={munge}/log"),
            ],
        )
        if not until(lambda: self._check() and (munge / "socket").exists(), timeout):
            raise self.failure(f"munged has no socket after {timeout:g} s")
        if self.before_controller is not None:
            self.before_controller(self)
        self._start_controller(timeout)
        for node in self.nodes:
            self._start_slurmd(node)
        self.wait_idle(timeout=timeout)

    def _start_controller(self, timeout: float) -> None:
        self._spawn("slurmctld", ["slurmctld", "-D", "-f", str(self.conf)])
        if not until(lambda: self._check() and self._listens("slurmctld"), timeout):
            raise self.failure(f"slurmctld does not listen after {timeout:g} s")

    def _start_slurmd(self, node: str) -> None:
        words = ["slurmd", "-D", "-N", node, "-f", str(self.conf)]
        if self.hidden is not None:
            slurmd = which("slurmd") or "slurmd"
            mount = f"mount -t tmpfs none {shlex.quote(str(self.hidden))} && exec {shlex.join([slurmd, *words[1:]])}"
            words = ["unshare", "--mount", "sh", "-c", mount]
        self._spawn(node, words)

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        """Start a daemon in the foreground, so that its pid is known, and in a session that no Ctrl-C reaches."""
        known = self.daemons.get(name)
        if known is not None and known.alive():
            raise RuntimeError(f"{name} already runs, pid {known.pid}")
        program = which(command[0])
        if program is None:
            raise SlurmMissing(f"not found: {command[0]}")
        words = [program, *command[1:]]
        setpriv = shutil.which("setpriv")
        # The signal comes when the thread that started the daemon ends: only the main thread lives long enough.
        if not self._detached and setpriv and threading.current_thread() is threading.main_thread():
            words = [setpriv, "--pdeathsig", "TERM", "--", *words]
        with (self.folder / "log" / name).open("ab") as log:
            handle = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.env(),
                start_new_session=True,
            )
        process = Process.of(handle.pid)
        self._handles[name] = handle
        self.daemons[name] = process or Process(handle.pid, -1)
        self._save_state()

    def _check(self) -> bool:
        """True while all run that should; else PortClashError where its log says that, or SlurmError."""
        for name, handle in self._handles.items():
            if handle.poll() is None:
                continue
            if "Address already in use" in self.log(name):
                raise PortClashError(f"{name}: its port is in use")
            raise self.failure(f"{name} ended with {handle.returncode}")
        return True

    def _listens(self, name: str) -> bool:
        return listening(self.daemons[name], self.ports[name])

    def failure(self, message: str) -> SlurmError:
        """An error with this message and the tails of all logs, to be raised."""
        parts = [message]
        for name in ("munged", "slurmctld", *self.nodes):
            tail = self.log(name)
            if tail:
                parts.append(f"--- {name}\n{tail}")
        return SlurmError("\n".join(parts))

    def _end(self, names: Iterable[str], number: int, patience: float) -> None:
        """Signal these daemons, wait, then SIGKILL what is left; forget them."""
        chosen = {name: self.daemons.pop(name) for name in names if name in self.daemons}
        handles = [handle for name in chosen if (handle := self._handles.pop(name, None)) is not None]
        # slurmctld has a helper of its own (slurmscriptd), which ends with it unless it is stopped just then.
        below = descendants({process.pid for process in chosen.values() if process.alive()})
        for process in chosen.values():
            process.signal(number)
            process.signal(signal.SIGCONT)

        def gone() -> bool:
            for handle in handles:
                handle.poll()
            return not any(process.alive() for process in [*chosen.values(), *below])

        if not until(gone, patience):
            for process in [*chosen.values(), *below]:
                process.signal(signal.SIGKILL)
            if not until(gone, 60.0):
                raise self.failure(f"{', '.join(chosen)}, or what they had started, outlive SIGKILL: {below}")
        if chosen:
            self._save_state()

    def _kill_steps(self, node: str | None = None) -> None:
        """SIGKILL to steps first (they would report the end of their jobs), then to the jobs, until none is left."""

        met: set[Process] = set()

        def none_left() -> bool:
            steps = [*self.steps(node), *(starting_steps_of(self.folder) if node is None else [])]
            processes = self.job_processes(node)
            for process in [*steps, *processes]:
                process.signal(signal.SIGKILL)
            # One that is about to end has no environment any more, and is found no longer.
            met.update(steps, processes)
            return not steps and not processes and not any(process.alive() for process in met)

        if not until(none_left, 60.0):
            raise self.failure(f"job steps outlive SIGKILL: {self.steps(node)} {self.job_processes(node)}")

    def _end_all(self) -> None:
        self._end(self.nodes, signal.SIGKILL, 0.0)
        self._kill_steps()
        self._end(["slurmctld", "munged"], signal.SIGTERM, 3.0)


def clear_orphans() -> list[Path]:
    """Stop the private clusters of this user whose owner died without doing so; their roots."""
    cleared = []
    for state in Path(short_temporary_folder()).glob(f"{PREFIX}*/{STATE_FILE}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            owner = json.loads(state.read_text())["owner"]
            if owner is not None and state.stat().st_uid == os.geteuid() and not Process(*owner).alive():
                SlurmDaemons.attach(state.parent).stop()
                cleared.append(state.parent)
    return cleared


def short_temporary_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) + len(PREFIX) + 8 <= LONGEST_ROOT else "/tmp"
