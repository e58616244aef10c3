"""`isosweep verify`: recorded runs computed again, and compared bit by bit."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import verify_questions
from .common import (
    DEFAULT_STORE,
    ExitCode,
    JsonOption,
    Quiet,
    SetOption,
    StoreOption,
    Verbose,
    Where,
    exits,
    fail,
    find_run,
    message,
    open_store,
    print_json,
    read_sweep,
    several,
    where_filter,
)
from .usage import UsageProblem

if TYPE_CHECKING:
    from isosweep.reproducibility.again import Origin
    from isosweep.reproducibility.archive import Archive
    from isosweep.reproducibility.verify import Recorded
    from isosweep.store.store import Store

NAME = "verify"
_SAMPLE = 10
_RUN_ID = frozenset("0123456789abcdef")


@dataclasses.dataclass(frozen=True)
class _Target:
    """What is to be verified: where the records are, and which runs (id → outcome)."""

    origin: Origin
    recorded: dict[str, str]
    sweep: str | None
    sweep_hash: str | None
    source: str
    keep_in: Store | None
    archive: Archive | None = None


def _recorded_ids(store: Store) -> dict[str, str]:
    from isosweep.store.records import list_records

    return list_records(store)


def _chosen_ids(prefixes: Sequence[str], known: Sequence[str]) -> list[str]:
    """The runs of these beginnings of ids.

    Raises:
        UsageProblem: one names no run, or several.
    """
    chosen = []
    for prefix in prefixes:
        found = [run for run in known if run.startswith(prefix)]
        if len(found) != 1:
            said = f"begins {len(found)} runs: give more digits" if found else "is no run that has a record there"
            raise UsageProblem(f"{prefix!r} {said}")
        chosen.append(found[0])
    return list(dict.fromkeys(chosen))


def _of_archive(path: Path, prefixes: Sequence[str], stack: ExitStack) -> _Target:
    from isosweep.reproducibility.again import Origin
    from isosweep.reproducibility.archive import open_archive

    archive = stack.enter_context(open_archive(path))
    recorded = _recorded_ids(archive.store)
    if prefixes:
        recorded = {run: recorded[run] for run in _chosen_ids(prefixes, list(recorded))}
    manifest = archive.manifest
    return _Target(Origin(archive.store), recorded, manifest["sweep"], manifest["sweep_hash"], str(path), None, archive)


def _of_sweep(
    spec: Path, prefixes: Sequence[str], store: Store, set_: list[str] | None, where: list[str] | None
) -> _Target:
    from isosweep.reproducibility.again import Origin

    sweep = read_sweep(spec, set_)
    condition = where_filter(where, sweep)
    outcomes = _recorded_ids(store)
    recorded = {
        run.id: outcomes[run.id]
        for run in sweep.runs()
        if run.id in outcomes and (condition is None or condition(run.columns))
    }
    if prefixes:
        recorded = {run: recorded[run] for run in _chosen_ids(prefixes, list(recorded))}
    return _Target(Origin(store, spec.absolute().parent), recorded, sweep.name, sweep.hash, str(spec), store)


def _of_ids(prefixes: Sequence[str], store: Store) -> _Target:
    from isosweep.cluster.snapshot import modules_folder
    from isosweep.reproducibility.again import Origin
    from isosweep.store.launches import read_launch

    outcomes = _recorded_ids(store)
    recorded: dict[str, str] = {}
    folder = None
    for prefix in prefixes:
        run, launch = find_run(store, prefix)
        if run.id not in outcomes:
            raise UsageProblem(f"run {run.id} has no record in {store.root}: nothing to compare with (isosweep show)")
        recorded[run.id] = outcomes[run.id]
        folder = modules_folder(store, read_launch(store, launch).about) or folder
    return _Target(Origin(store, Path(folder) if folder else None), recorded, None, None, " ".join(prefixes), store)


def _target(
    words: Sequence[str], store: Path, set_: list[str] | None, where: list[str] | None, stack: ExitStack
) -> _Target:
    from isosweep.reproducibility.archive import is_archive

    first, rest = Path(words[0]), list(words[1:])
    if is_archive(first):
        if set_ or where:
            raise UsageProblem("--set and --where go with a sweep file; name runs of an archive by their ids")
        return _of_archive(first, rest, stack)
    if not first.exists() and set(words[0]) <= _RUN_ID:
        return _of_ids(words, open_store(store))
    return _of_sweep(first, rest, open_store(store), set_, where)


def _scratch(asked: Path | None, store: Store | None, backend: str, keep: bool, stack: ExitStack) -> Path:
    """A folder for what is computed: where nodes see it too, for Slurm; removed at the end unless kept."""
    if asked is not None:
        asked.mkdir(parents=True, exist_ok=True)
    elif backend == "slurm":
        if store is None:
            raise UsageProblem("give --scratch DIR, a folder that the nodes see, to verify an archive on Slurm")
        asked = store.root / "verifications"
        asked.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".scratch-", dir=asked)) if asked else Path(tempfile.mkdtemp())
    if keep:
        message(f"what is computed stays in {made}")
    else:
        stack.callback(shutil.rmtree, made, ignore_errors=True)
    return made


def _with_data(recorded: Recorded, target: _Target, data_root: Path | None) -> Recorded:
    """The results with their data and checkpoints where they are here: neither place is part of a run."""
    from isosweep.reproducibility.verify import Recorded

    moved = {}
    for run, result in recorded.results.items():
        new = result.run
        if data_root is not None and new.data.root is not None:
            new = dataclasses.replace(new, data=dataclasses.replace(new.data, root=str(data_root.absolute())))
        checksum = new.network.checkpoint_checksum
        if target.archive is not None and checksum is not None:
            kept = target.archive.checkpoints / f"{checksum}.safetensors"
            if kept.is_file():
                new = dataclasses.replace(new, network=dataclasses.replace(new.network, checkpoint=str(kept)))
        moved[run] = dataclasses.replace(result, run=new)
    return Recorded(moved, recorded.unusable)


@exits
def command(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC|ARCHIVE|RUN …",
            help="A sweep file or an archive, with ids of its runs if only these are meant; or ids of runs.",
            show_default=False,
        ),
    ],
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, metavar="K", help=f"Compute so many runs again (default: {_SAMPLE})."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Compute every recorded run again.")] = False,
    draw: Annotated[int, typer.Option("--draw", metavar="N", help="Which sample: the same N draws the same.")] = 0,
    across: Annotated[
        str | None,
        typer.Option(
            "--across",
            metavar="cpu,cuda",
            help="Compute each run on both devices (or float64,float32: in both precisions) and compare every quantity "
            "to a tolerance that follows from its condition.",
        ),
    ] = None,
    orders: Annotated[
        int | None,
        typer.Option("--orders", min=2, metavar="K", help="Train each run with K other orders of its data."),
    ] = None,
    tolerance: Annotated[
        bool,
        typer.Option(
            "--tolerance",
            help="Where a record is of another environment class, accept differences that rounding explains.",
        ),
    ] = False,
    code: Annotated[
        str | None,
        typer.Option(
            "--code",
            metavar="current|recorded",
            help="Compute with the isosweep of now, or with the code each run was recorded with (default: an "
            "archive's own; else current).",
        ),
    ] = None,
    where: Where = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME_OR_FILE", help="Compute on Slurm, as this profile asks for jobs."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Workers of the pool here.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", metavar="DIR", help="Where the data sets' files are here.")
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", metavar="DIR", help="Where to compute (default: a temporary folder).")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what was computed there.")] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compute recorded runs again and compare every bit.

    A sample of the runs that have a record is computed anew, by the same processes as a launch, in a scratch folder;
    records are only read. A run that differs is explained: the first quantity and layer that differ, and both
    fingerprints side by side. Exit 0 only if all agree, 3 if any does not, 4 if there is nothing to compare with.
    """
    from isosweep.cluster.profile import load_profile
    from isosweep.reproducibility.again import CannotVerify, Computer
    from isosweep.reproducibility.archive import ArchiveError
    from isosweep.reproducibility.verify import draw_sample, read_recorded

    if all_ and sample is not None:
        raise UsageProblem("--all and --sample exclude each other")
    if across is not None and orders is not None:
        raise UsageProblem("--across and --orders are two questions: ask them one by one")
    if code not in (None, "current", "recorded"):
        raise UsageProblem(f"--code {code}: expected current or recorded")
    with ExitStack() as stack:
        try:
            words = _variants(across)
            found = _target(target, store, set_, where, stack)
            if not found.recorded:
                fail(f"{found.source}: no run has a record yet: nothing to compare with", ExitCode.INCOMPLETE)
            named = len(target) > 1 or found.sweep is None
            ids = sorted(found.recorded)
            if not all_ and not (named and sample is None):
                ids = draw_sample(ids, sample or _SAMPLE, draw)
            ours = found.keep_in is not None and _writable(found.keep_in)
            recorded = read_recorded(found.origin.store, {run: found.recorded[run] for run in ids}, set_aside=ours)
            recorded = _with_data(recorded, found, data_root)
            backend = "slurm" if profile is not None else "local"
            computer = Computer(
                found.origin,
                _scratch(scratch, found.keep_in if ours else None, backend, keep, stack),
                backend,
                load_profile(profile),
                recorded_code=(code or ("recorded" if found.archive else "current")) == "recorded",
                workers=workers,
                command=shlex.join(["isosweep", *sys.argv[1:]]),
            )
            message(
                f"{found.source}: {several(len(found.recorded), 'recorded run')}, {len(ids)} computed again",
                quiet=quiet,
            )
            asked = {"sample": None if all_ else len(ids), "draw": draw, "all": all_, "runs": ids}
            findings: dict[str, Any] = {
                "schema_version": 1,
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "sweep": found.sweep,
                "sweep_hash": found.sweep_hash,
                "source": found.source,
                "asked": asked,
                "recorded": len(found.recorded),
                "code": "recorded" if computer.recorded_code else "current",
            }
            if orders is not None:
                findings |= verify_questions.orders(computer, recorded, orders, quiet=quiet)
            elif words is not None:
                findings |= verify_questions.across(computer, recorded, words, quiet=quiet)
            else:
                findings |= verify_questions.repeat(computer, recorded, tolerance, quiet=quiet)
        except (ArchiveError, CannotVerify) as error:
            raise UsageProblem(str(error)) from None
        if found.keep_in is not None:
            _keep(findings, found.keep_in, ours, quiet=quiet)
        if json_:
            print_json({name: value for name, value in findings.items() if name != "schema_version"})
        if not findings["agree"]:
            raise typer.Exit(ExitCode.FAILED)


def _variants(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    from isosweep.reproducibility.across import variants

    return variants(text)


def _writable(store: Store) -> bool:
    from isosweep.store.store import StoreError

    try:
        store.check_writable()
    except StoreError:
        return False
    return store.exists


def _keep(findings: dict[str, Any], store: Store, ours: bool, *, quiet: bool) -> None:
    from isosweep.reproducibility.findings import keep_findings

    if not ours:
        message(f"the findings are not kept: {store.root} may not be written", quiet=quiet)
        return
    try:
        message(f"findings: {keep_findings(store, findings)}", quiet=quiet)
    except OSError as error:
        message(f"the findings are not kept: {error.strerror or error}")
