"""A sweep on a private Slurm that faults are brought upon, and what must hold of it after every one."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import faults
import pyarrow.parquet as pq
from conftest import Command
from private_slurm import PrivateSlurm

import isosweep
from isosweep.cluster.slurm import configuration
from isosweep.launching.observe import observe
from isosweep.store.records import read_record
from isosweep.store.status import look
from isosweep.store.store import Store

PROFILE = """\
device = "cpu"
[sbatch]
time = "00:10:00"
cpus-per-task = 1
"""

MODULE = """\
import os, pathlib, signal, sys, time
from torch import nn

def build(inputs, classes, width=5):
    if os.path.exists("pausable"):
        from isosweep.measurement.paused import Paused
        step = int(open("pausable").read())
        open("reached", "w").close()
        while not os.path.exists("go"):
            if sys.modules["__main__"]._pausing:
                open("pausable", "w").write(str(step + 1))
                raise Paused(step + 1, pathlib.Path("pausable"))
            time.sleep(0.02)
    if os.path.exists("kill-in-link"):
        os.remove("kill-in-link")
        def link(*names):
            os.kill(os.getpid(), signal.SIGKILL)
        os.link = link
    if os.path.exists("kill"):
        os.remove("kill")
        os.kill(os.getpid(), signal.SIGKILL)
    while os.path.exists("wait") and not os.path.exists("go"):
        time.sleep(0.02)
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, classes))
"""
SPEC = """\
name: faulty
network: {module: "faulty:build", width: [5]}
data: {name: digits, samples: 16}
measure: {fisher: {samples: 6}, jacobian: {samples: 2}}
seeds: 3
"""


def undisturbed_digests(folder: Path) -> dict[str, str]:
    """Run id → digest of the sweep, and one seed more, that nothing has happened to."""
    (folder / "faulty.py").write_text(MODULE)
    (folder / "faulty.yaml").write_text(SPEC)
    before = Path.cwd()
    os.chdir(folder)
    try:
        sweep = isosweep.load(folder / "faulty.yaml", ["seeds=4"])
        return {run.id: isosweep.execute(run, folder=folder).digest for run in sweep.runs()}
    finally:
        os.chdir(before)


class Faulty:
    """A sweep of three runs in a folder, launched on a private Slurm."""

    def __init__(self, command: Command, cluster: PrivateSlurm, digests: dict[str, str]):
        self.command, self.digests = command, digests
        command.write("profile.toml", PROFILE)
        command.write("faulty.py", MODULE)
        command.write("faulty.yaml", SPEC)
        self.store = Store(command.folder / "isosweep-store")
        self.words: tuple[object, ...] = ()
        self.sweep = isosweep.load(command.folder / "faulty.yaml")
        self.on(cluster)

    def on(self, cluster: PrivateSlurm) -> None:
        """Use this cluster from now on."""
        self.cluster = cluster
        self.command.environment |= {"SLURM_CONF": str(cluster.conf), "PATH": cluster.env()["PATH"]}

    def file(self, name: str, text: str = "") -> None:
        """Tell the runs' network something."""
        self.command.write(name, text)

    def launch(self, *words: object, **environment: str) -> list[str]:
        """The job ids."""
        return list(self._launch(*words, **environment)["jobs"])

    def _launch(self, *words: object, check: int | None = 0, **environment: str) -> dict[str, object]:
        given = ("launch", "faulty.yaml", "--profile", "profile.toml", *self.words, *words)
        return self.command.json(*given, check=check, **environment)

    def counts(self, **environment: str) -> dict[str, int]:
        """The states of the runs, as `status` sees them."""
        with self.cluster.active():
            os.environ.update(environment)
            configuration.cache_clear()  # another cluster may have been asked before
            seen = observe(self.store, [run.id for run in self.sweep.runs()])
        return dict(Counter(state.status for state in seen.states.values()))

    def until(self, condition: Callable[[], object], timeout: float = 240) -> None:
        try:
            faults.wait_until(condition, timeout, pause=0.2)
        except TimeoutError as error:
            states = {
                node: f"{state} {self.cluster.node_reason(node)}" for node, state in self.cluster.nodes_state().items()
            }
            raise self.cluster.failure(f"{error}; jobs {self.cluster.squeue()}; nodes {states}") from error

    def held(self, *words: object) -> str:
        """Launch as one task whose first run waits, and wait for that; the job."""
        self.file("wait")
        (job,) = self.launch("--runs-per-task", "3", *words)
        self.until(lambda: look(self.store).in_hand and self.child_works())
        return job

    def child_works(self) -> bool:
        """Whether a process that computes has come to the network."""
        return any("isosweep.cluster.child" in faults._command_line(p.pid) for p in self.cluster.job_processes())

    def go(self) -> None:
        self.file("go")

    def heal(self, *words: object, **environment: str) -> dict[str, int]:
        """Launch again, wait for all, and look at every record; the states."""
        self.go()
        given = {"ISOSWEEP_GRACE": "0.5", **environment}
        launched = self._launch("--wait", *words, check=None, **given)
        states = dict(launched["states"])  # type: ignore[call-overload]
        out = self.command.folder / f"tables-{time.monotonic_ns()}"
        self.command.run("collect", "faulty.yaml", "--out", out, *self.words)
        rows = pq.read_table(out / "runs.parquet").to_pylist()
        assert len(rows) == len({row["run_id"] for row in rows}) == 3
        for row in rows:
            if row["status"] == "done":
                assert row["digest"] == self.digests[row["run_id"]]
            else:
                assert row["failure_cause"], row
        found = [read_record(path).column("run_id")[0].as_py() for path in self.store.root.glob("records/*/*.arrow")]
        assert len(found) == len(set(found))
        assert len(set(found) & {row["run_id"] for row in rows}) == states.get("done", 0)
        assert not look(self.store).open_tasks
        return states
