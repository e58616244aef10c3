"""`isosweep launch`: expand, plan, submit what is missing."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    DEFAULT_STORE,
    ExitCode,
    JsonOption,
    Quiet,
    SetOption,
    Spec,
    StoreOption,
    Verbose,
    Where,
    counts,
    duration,
    exit_code,
    exits,
    fail,
    message,
    open_store,
    print_json,
    read_sweep,
    several,
    size,
    where_filter,
)
from .usage import UsageProblem

if TYPE_CHECKING:
    from isosweep.cluster.profile import Profile
    from isosweep.launching.launch import Launcher, Proposal
    from isosweep.store.launches import Launch
    from isosweep.store.status import RunState

NAME = "launch"

_MANY_TASKS = 1000
_MANY_HOURS = 100.0


def _only(text: str | None) -> tuple[str, ...]:
    from isosweep.launching.launch import DEFAULT_ONLY
    from isosweep.store.status import STATUSES
    from isosweep.sweep.errors import nearest

    if text is None:
        return DEFAULT_ONLY
    chosen = tuple(word.strip() for word in text.split(",") if word.strip())
    able = [s for s in STATUSES if s not in ("done", "diverged", "running", "pending")]
    for word in chosen:
        if word not in able:
            near = nearest(word, able)
            raise UsageProblem(
                f"--only {word}: expected some of {', '.join(able)}" + (f"; did you mean {near!r}?" if near else "")
            )
    if not chosen:
        raise UsageProblem("--only names no status")
    return chosen


def choose_backend(local: bool, quiet: bool) -> str:
    if local:
        return "local"
    from isosweep.cluster.slurm import slurm_here

    if slurm_here():
        return "slurm"
    message("no Slurm is configured on this machine: the runs are done here (as with --local)", quiet=quiet)
    return "local"


def _as_data(proposal: Proposal, launcher: Launcher, *, dry: bool) -> dict[str, Any]:
    plan = proposal.plan
    return {
        "sweep": launcher.sweep.name,
        "backend": launcher.backend,
        "profile": launcher.profile.name,
        "runs_in_sweep": len(launcher.sweep.runs()),
        "duplicates": launcher.sweep.duplicates,
        "excluded": launcher.sweep.excluded,
        "runs": plan.runs,
        "taken": dict(proposal.taken),
        "skipped": dict(proposal.skipped),
        "tasks": [[run.id for run in task] for task in plan.tasks] if dry else len(plan.tasks),
        "arrays": list(plan.arrays),
        "hours": plan.seconds / 3600,
        "gpu_hours": plan.seconds / 3600 if launcher.profile.device == "cuda" else 0.0,
        "seconds_per_operation": plan.cost.seconds_per_operation,
        "fitted_from_records": plan.cost.records,
        "longest_task_seconds": plan.longest,
        "bytes": plan.bytes,
        "files": plan.files,
        "expected_seconds": {run.id: plan.cost.seconds(run) for task in plan.tasks for run in task} if dry else None,
        "profile_values": {key: {"value": v, "origin": o} for key, (v, o) in launcher.profile.values().items()},
        "given_up": dict(proposal.given_up),
    }


def _describe(proposal: Proposal, launcher: Launcher) -> str:
    plan, sweep = proposal.plan, launcher.sweep
    unit = "GPU-hours" if launcher.profile.device == "cuda" else "core-hours"
    where = f"on Slurm, profile {launcher.profile.name}" if launcher.backend == "slurm" else "on this machine"
    extra = [
        several(n, what) for n, what in ((sweep.duplicates, "duplicate point"), (sweep.excluded, "excluded point")) if n
    ]
    lines = [
        f"{sweep.name}: {several(len(sweep.runs()), 'run')}" + (f" ({', '.join(extra)} left out)" if extra else "")
    ]
    if proposal.skipped:
        lines.append(f"  left alone     {counts(proposal.skipped)}")
    lines.append(
        f"  to do          {several(plan.runs, 'run')}" + (f" ({counts(proposal.taken)})" if plan.runs else "")
    )
    if plan.runs:
        arrays = "" if launcher.backend == "local" else f" in {several(len(plan.arrays), 'array')}"
        lines.append(
            f"  as             {several(len(plan.tasks), 'task')}{arrays} {where}, the longest about "
            f"{duration(plan.longest)}"
        )
        fitted = f"fitted from {plan.cost.records} records" if plan.cost.records else "before any record tells better"
        lines.append(f"  planned        about {plan.seconds / 3600:.2g} {unit}, {fitted}")
        lines.append(f"  store          {size(plan.bytes)} and {plan.files} files to come in {launcher.store.root}")
    return "\n".join(lines)


def _origins(profile: Profile) -> str:
    """Every value of the profile and where it came from."""
    return "\n".join(f"  {key:24} {value!s:24} {origin}" for key, (value, origin) in profile.values().items())


def _reasons(proposal: Proposal, *, most: int = 20) -> list[str]:
    """Why each run is taken, a line each."""
    from isosweep.store.attempts import read_attempt

    taken = [run for task in proposal.plan.tasks for run in task]
    lines = []
    for run in taken[:most]:
        state = proposal.states[run.id]
        why = state.why or (str(read_attempt(state.attempts[-1]).get("cause", "")) if state.attempts else "")
        tries = f", attempt {len(state.attempts) + 1}" if state.attempts else ""
        lines.append(f"  {run.id[:12]}   {state.status}{tries}" + (f": {why.splitlines()[0]}" if why else ""))
    return lines + ([f"  … and {len(taken) - most} more"] if len(taken) > most else [])


def _longer(proposal: Proposal, launcher: Launcher) -> str | None:
    """A word of warning where runs that ran out of time would get no more of it."""
    from isosweep.store.attempts import read_attempt

    had = 0.0
    for task in proposal.plan.tasks:
        for run in task:
            attempts = proposal.states[run.id].attempts
            if attempts and attempts[-1].outcome == "timeout":
                had = max(had, float(read_attempt(attempts[-1]).get("time_limit") or 0))
    if launcher.backend != "slurm" or launcher.profile.time_limit > had:
        return None
    return (
        f"runs that ran out of time had {duration(had)}, and would have {duration(launcher.profile.time_limit)} now: "
        "give more with --sbatch time=…"
    )


def agree(proposal: Proposal, launcher: Launcher, yes: bool, *, times: int = 1) -> None:
    """Ask before a large submission, `times` as large as the proposal.

    Raises:
        UsageProblem: nobody can be asked, and nobody said --yes.
    """
    tasks, hours = times * len(proposal.plan.tasks), times * proposal.plan.seconds / 3600
    if yes or launcher.backend == "local" or (tasks <= _MANY_TASKS and hours <= _MANY_HOURS):
        return
    what = f"{tasks} tasks, about {hours:.0f} hours"
    if not sys.stdin.isatty():
        raise UsageProblem(
            f"{what}: more than {_MANY_TASKS} tasks or {_MANY_HOURS:.0f} hours need --yes where nobody can be asked"
        )
    if not typer.confirm(f"Submit {what}?", err=True):
        raise typer.Exit(ExitCode.OK)


def _run_here(launcher: Launcher, launch: Launch, runs: int, quiet: bool) -> None:
    from isosweep.store.store import StoreError

    from .progress import RunProgress

    with RunProgress(runs, quiet) as progress:
        failures = launcher.run_here(launch, progress.ran)
    for said in dict.fromkeys(str(e) if isinstance(e, StoreError) else f"{type(e).__name__}: {e}" for e in failures):
        message(f"isosweep: a worker stopped: {said}; launch again for the runs that are left")


def _check_begun(launch: Launch, states: dict[str, RunState]) -> None:
    """Refuse, with the cause, where none of the launch's jobs could begin: python or the store missing on the nodes."""
    from isosweep.cluster.submit import SubmissionRefused
    from isosweep.launching.reap import NEVER_BEGAN

    causes = [states[run].why or "" for task in launch.tasks for run in task]
    if causes and all(cause.startswith(NEVER_BEGAN) for cause in causes):
        raise SubmissionRefused(f"{causes[0]} (isosweep doctor tries the node)")


def _verdict(states: dict[str, RunState], quiet: bool) -> None:
    from collections import Counter

    message(f"{counts(Counter(s.status for s in states.values()))}", quiet=quiet)


@exits
def command(
    spec: Spec,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done, and do nothing.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME_OR_FILE",
            help="How to ask this cluster for jobs: slurm/NAME.toml here, or in ~/.config/isosweep/profiles, or "
            "a file.",
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Run here, in the foreground, one worker a GPU or a core.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Watch until all is done. Ctrl-C ends the watching, not the jobs.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="STATUS,…",
            help="Take runs in these states (default: missing,lost,preempted,node_failed).",
        ),
    ] = None,
    where: Where = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many runs.")] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Put one run of each shape through first; go on only if all succeed.")
    ] = False,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch", metavar="KEY=VALUE", help="An option of sbatch, over the profile's; may be given several times."
        ),
    ] = None,
    runs_per_task: Annotated[
        int | None,
        typer.Option("--runs-per-task", min=1, metavar="N", help="Pack so many runs into a task, instead of by time."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Workers of the pool here (default: one a GPU, or one a core)."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="cpu|cuda|auto", help="Over the profile's.")] = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Compute runs anew that have results of an older measurement version.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however large it is.")] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Expand a sweep file, plan its runs, and submit those that are missing.

    Launching again submits only what has no result yet: new points, new seeds, runs that were lost. Runs that failed,
    ran out of time or memory, or were cancelled are taken when --only names them.
    """
    chosen = _only(only)
    sweep = read_sweep(spec, set_)
    condition = where_filter(where, sweep)
    place = open_store(store, write=True)
    backend = choose_backend(local, quiet)
    if device not in (None, "cpu", "cuda", "auto"):
        raise UsageProblem(f"--device {device}: expected cpu, cuda or auto")
    from isosweep.cluster.profile import load_profile

    settings = load_profile(profile, sbatch or (), device)
    from isosweep.launching.launch import Launcher

    launcher = Launcher(
        place,
        sweep,
        backend,
        settings,
        chosen,
        limit,
        condition,
        test,
        runs_per_task,
        workers,
        shlex.join(["isosweep", *sys.argv[1:]]),
    )
    proposal = launcher.propose()
    launcher.check(proposal.plan)
    if only is not None:
        for line in _reasons(proposal):
            message(line, quiet=quiet)
    if (warning := _longer(proposal, launcher)) is not None:
        message(warning)
    if verbose:
        message(_origins(settings))
    if dry_run:
        if json_:
            print_json(_as_data(proposal, launcher, dry=True))
        else:
            typer.echo(_describe(proposal, launcher))
        return
    if proposal.older and not remeasure:
        parts = [
            f"{o.runs} runs have results of measurement version {o.version} (since then: {o.changes})"
            for o in proposal.older
        ]
        raise UsageProblem(
            "; ".join(parts)
            + ". Their numbers are not those of the present version: launch with --remeasure to compute them anew"
        )
    agree(proposal, launcher, yes)
    place.create()
    if test:
        carry_out(launcher, wait=True, json_=False, quiet=quiet)
        tried = launcher.propose().states
        bad = [
            run.id for task in proposal.plan.tasks for run in task if tried[run.id].status not in ("done", "diverged")
        ]
        if bad:
            fail(
                f"{len(bad)} of {proposal.plan.runs} test runs did not succeed (isosweep logs {bad[0][:8]}); "
                "nothing else was launched",
                ExitCode.FAILED,
            )
        message("every test run succeeded; now the rest", quiet=quiet)
        launcher.one_per_shape = False
    states = carry_out(launcher, wait=wait, json_=json_, quiet=quiet)
    if states is not None:
        raise typer.Exit(exit_code(states))


def carry_out(launcher: Launcher, *, wait: bool, json_: bool, quiet: bool) -> dict[str, RunState] | None:
    """Publish and carry out one launch; the states afterwards, or None where jobs were submitted and nobody waits."""
    from isosweep.launching.observe import observe

    from .watch import wait_for

    proposal, launch = launcher.publish()
    message(_describe(proposal, launcher), quiet=quiet)
    ids = [run.id for run in launcher.sweep.runs()]
    result = {**_as_data(proposal, launcher, dry=False), "launch": launch and launch.token, "jobs": []}
    if proposal.given_up:
        for why, tasks in proposal.given_up.most_common(5):
            message(f"  given up       {several(tasks, 'task')}: {why}", quiet=quiet)
    states = None
    if launch is not None and launcher.backend == "local":
        _run_here(launcher, launch, proposal.plan.runs, quiet)
    elif launch is not None:
        result["jobs"] = launcher.submit(
            launch,
            lambda array, job: message(
                f"  submitted      array {array + 1} of {len(launch.about['arrays'])} as job {job}", quiet=quiet
            ),
        )
    if launcher.backend == "local":
        seen = observe(launcher.store, ids)
        # tasks of this pool that a store which takes no more files still shows as ours: nobody works on them now
        for task in seen.picture.open_tasks:
            if launch is not None and task.launch.token == launch.token:
                seen.picture.let_go(task)
        states = seen.picture.states(ids)
    elif wait:
        states = wait_for(launcher.store, launcher.sweep, quiet=quiet)
        if launch is not None:
            _check_begun(launch, states)
    if states is not None:
        _verdict(states, quiet)
    if json_:
        if states is not None:
            from collections import Counter

            result["states"] = dict(Counter(s.status for s in states.values()))
        print_json(result)
    return states
