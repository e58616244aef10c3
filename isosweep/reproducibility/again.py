"""Runs computed anew, the way they were the first time: planned, published and carried out by the same processes as a
launch's, into a scratch store of their own. The store they come from is only read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from isosweep.cluster.profile import Profile
from isosweep.cluster.snapshot import Snapshot, freeze
from isosweep.launching.launch import Launcher
from isosweep.launching.observe import observe
from isosweep.measurement.code import code_id
from isosweep.store.attempts import attempts_of, read_attempt
from isosweep.store.status import UNFINISHED
from isosweep.store.store import Store
from isosweep.sweep.settings import ModuleSettings, Run
from isosweep.sweep.sweep import Sweep

from .result import Result, find_result

__all__ = ["CannotVerify", "Computer", "Failure", "Origin"]

_POLL_SECONDS = 2.0


class CannotVerify(Exception):
    """What was asked cannot be computed again here; the message says why, and what to do."""


@dataclass(frozen=True)
class Failure:
    """A run that gave no result the second time, and why."""

    cause: str


@dataclass(frozen=True)
class Origin:
    """Where recorded runs come from: a store, or what an archive was opened to, which is laid out as one.

    Attributes:
        folder: where modules are imported from that are not kept in the store (beside the sweep file).
    """

    store: Store
    folder: Path | None = None

    def code(self, recorded: str) -> Snapshot:
        """The code of this id, to compute with.

        Raises:
            CannotVerify: it is neither kept nor the one installed here.
        """
        kept = self.store.root / "code" / recorded
        if (kept / "isosweep").is_dir():
            if code_id(kept / "isosweep") != recorded:
                raise CannotVerify(f"the code kept in {kept} has been altered: its content is not that of its name")
            return Snapshot(recorded, str(kept))
        if code_id() == recorded:
            return Snapshot(recorded, None)
        raise CannotVerify(
            f"the code {recorded} is not kept in {self.store.root}, and this isosweep is {code_id()}: "
            "verify with --code current, or install the isosweep that measured"
        )

    def modules(self, result: Result) -> str | None:
        """The folder that a run's own module is imported from; None for a network that is not a user's."""
        if not isinstance(result.run.network, ModuleSettings):
            return None
        kept = result.provenance.get("modules_id")
        if kept is not None and (self.store.root / "modules" / kept).is_dir():
            return str(self.store.root / "modules" / kept)
        return str(self.folder) if self.folder is not None else None


@dataclass
class Computer:
    """Computes runs again.

    Attributes:
        scratch: a folder for the scratch stores; nothing else is written.
        backend: "local" or "slurm"; `profile` says how to ask.
        recorded_code: with the code that each result was recorded with, rather than the one imported here.
        workers: of the local pool.
        progress: called with (run id, status).
    """

    origin: Origin
    scratch: Path
    backend: str
    profile: Profile
    recorded_code: bool = False
    workers: int | None = None
    progress: Callable[[str, str], None] = lambda run, status: None
    command: str = ""
    _current: dict[str, Snapshot] = field(default_factory=dict)

    def compute(
        self, results: Sequence[Result], name: str = "again", *, device: str | None = None
    ) -> dict[str, Result | Failure]:
        """Compute the runs of these results anew, in a scratch store `name`, each on the device it was recorded on
        (`device`, if given), with its own modules.

        Raises:
            CannotVerify: its code or its modules are not at hand.
            ProfileError: its device is not.
            StoreError, SubmissionRefused, SchedulerSilent: see `Launcher`.
        """
        store = Store(self.scratch / name).create()
        groups: dict[tuple[str, str | None, str], list[Run]] = {}
        for result in results:
            code = str(result.provenance["code_id"]) if self.recorded_code else ""
            asked = device or str(result.provenance["device"])
            groups.setdefault((code, self.origin.modules(result), asked), []).append(result.run)
        for (code, modules, asked), runs in groups.items():
            self._launch(store, runs, self._code(store, code, modules), asked)
        return {result.run.id: self._outcome(store, result.run.id) for result in results}

    def _code(self, store: Store, recorded: str, modules: str | None) -> Snapshot:
        if recorded:
            chosen = self.origin.code(recorded)
        else:
            key = str(store.root)
            chosen = self._current.get(key) or self._current.setdefault(key, freeze(store))
        about = dict(chosen.about)
        if modules is not None and Path(modules).parent.name == "modules":
            about["modules_id"] = Path(modules).name
        return chosen._replace(modules=modules, about=about)

    def _launch(self, store: Store, runs: Sequence[Run], code: Snapshot, device: str) -> None:
        sweep = Sweep("verify", str(store.root / "verify"), "", (), (), 0, 0, tuple(runs))
        launcher = Launcher(
            store,
            sweep,
            self.backend,
            replace(self.profile, device=device),
            only=("missing", "lost"),
            workers=self.workers,
            command=self.command,
            frozen=code,
        )
        _, launch = launcher.publish()
        if launch is None:
            return
        if self.backend == "local":
            problems = launcher.run_here(launch, self.progress)
            if problems:
                raise CannotVerify(f"a worker stopped: {type(problems[0]).__name__}: {problems[0]}")
            return
        launcher.submit(launch)
        seen: set[str] = set()
        while True:
            states = observe(store, [run.id for run in runs]).states
            for run, state in states.items():
                if state.status not in UNFINISHED and run not in seen:
                    seen.add(run)
                    self.progress(run, state.status)
            if not {state.status for state in states.values()} & {"running", "pending"}:
                return
            time.sleep(_POLL_SECONDS)

    @staticmethod
    def _outcome(store: Store, run: str) -> Result | Failure:
        found = find_result(store, run)
        if found is not None:
            return found
        attempts = attempts_of(store, run)
        content: dict[str, Any] = read_attempt(attempts[-1]) if attempts else {"cause": "its task ended without it"}
        return Failure(str(content.get("cause")))
