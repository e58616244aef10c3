"""What the commands share: options, exit codes, and how errors and results are printed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from isosweep.store.status import RunState
    from isosweep.store.store import Store
    from isosweep.sweep.settings import Run
    from isosweep.sweep.sweep import Sweep

SCHEMA_VERSION = 1

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep file.", show_default=False)]
StoreOption = Annotated[Path, typer.Option("--store", envvar="ISOSWEEP_STORE", metavar="DIR", help="The store.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the sweep file, for example network.depth=[4,16]; may be given several times.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No messages, no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More messages; errors with their traceback.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only runs for which it holds, for example depth=64 or gain='{min: 1.2}'; may be given several times.",
    ),
]
DEFAULT_STORE = Path("isosweep-store")


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    FAILED = 3
    INCOMPLETE = 4
    REFUSED = 5
    INTERRUPTED = 130


P = ParamSpec("P")
R = TypeVar("R")


def message(text: str = "", *, quiet: bool = False) -> None:
    """A message for people: on standard error. Nothing is stopped because nobody reads it any more."""
    if not quiet:
        with contextlib.suppress(OSError):
            typer.echo(text, err=True)


def fail(text: str, code: ExitCode) -> NoReturn:
    """Print an error and leave."""
    message(f"isosweep: {text}")
    raise typer.Exit(code)


def print_json(result: dict[str, Any]) -> None:
    """The result on standard output; infinities and NaN become null, which JSON has no words for."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): clean(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(v) for v in value]
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            return None
        return value

    typer.echo(json.dumps({"schema_version": SCHEMA_VERSION, **clean(result)}, indent=2, ensure_ascii=False))


def exits(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors that a user can mend into one clear message and the documented exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            message("interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # the reader of our output has gone, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.OK) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            code = _code_of(error)
            if code is None or kwargs.get("verbose"):
                import traceback

                traceback.print_exc()
            if code is None:
                fail(f"internal error: {type(error).__name__}: {error}", ExitCode.INTERNAL)
            fail(str(error), code)

    return wrapped


def _code_of(error: Exception) -> ExitCode | None:
    from isosweep.sweep.errors import SpecError

    if isinstance(error, SpecError):
        return ExitCode.USAGE
    from isosweep.cluster.profile import ProfileError
    from isosweep.cluster.slurm import SchedulerSilent
    from isosweep.cluster.snapshot import SnapshotError
    from isosweep.cluster.submit import SubmissionRefused
    from isosweep.store.store import StoreError

    from .usage import UsageProblem

    if isinstance(error, (ProfileError, SnapshotError, StoreError, UsageProblem)):
        return ExitCode.USAGE
    if isinstance(error, (SchedulerSilent, SubmissionRefused)):
        return ExitCode.REFUSED
    return None


def read_sweep(spec: Path, assignments: Sequence[str] | None) -> Sweep:
    """The sweep of a file, with ``--set`` laid over it."""
    from isosweep.sweep.sweep import load

    return load(spec, assignments or ())


def open_store(path: Path, *, write: bool = False) -> Store:
    """The store at `path`, checked."""
    from isosweep.store.store import Store

    store = Store(path)
    store.check_writable() if write else store.check_readable()
    return store


def where_filter(conditions: Sequence[str] | None, sweep: Sweep) -> Callable[[dict[str, Any]], bool] | None:
    """The predicate of ``--where`` options on a run's columns; all must hold."""
    if not conditions:
        return None
    from isosweep.sweep.conditions import ConditionError, compile_condition
    from isosweep.sweep.document import parse_value
    from isosweep.sweep.errors import nearest
    from isosweep.sweep.parse import AxisError, parse_axis
    from isosweep.sweep.settings import ModuleSettings

    from .usage import UsageProblem

    known = list(dict.fromkeys(name for run in sweep.runs() for name in run.columns))
    arguments = {name for run in sweep.runs() if isinstance(run.network, ModuleSettings) for name in run.columns}

    def resolve(name: str) -> str:
        if name not in known:
            near = nearest(name, known)
            raise ConditionError(
                (), f"no column {name!r}" + (f"; did you mean {near!r}?" if near else f"; there are {', '.join(known)}")
            )
        return name

    def parse(name: str, value: Any) -> tuple[Any, ...]:
        if value is None:
            return (None,)
        try:
            # an argument of a user's own network may be called as an axis of a dense one, and hold something else
            return parse_axis(f"argument {name}" if name in arguments and name not in _SHARED else name, value)
        except AxisError as error:
            raise ConditionError((), str(error) + (f"; expected {error.expected}" if error.expected else "")) from None

    tests = []
    for condition in conditions:
        key, equals, text = condition.partition("=")
        if not equals:
            raise UsageProblem(f"--where {condition}: expected KEY=VALUE, for example depth=64")
        value = parse_value(text, f"--where {condition}")
        # the column gain always holds the number; the word is in gain_rule
        name = "gain_rule" if key.strip() == "gain" and value == "critical" else key.strip()
        try:
            tests.append(compile_condition({name: value}, resolve, parse))
        except ConditionError as error:
            raise UsageProblem(f"--where {condition}: {error}") from None
    return lambda columns: all(test(columns) for test in tests)


# Columns that every run has, whatever its network.
_SHARED = frozenset(
    [
        "data",
        "data_samples",
        "data_scale",
        "data_inputs",
        "data_classes",
        "data_validation",
        "data_test",
        "data_standardise",
        "augmentation_flip",
        "augmentation_shift",
        "augmentation_crop",
        "fisher_samples",
        "fisher_likelihood",
        "fisher_layers",
        "jacobian_samples",
        "dtype",
        "seed",
    ]
)


def exit_code(states: dict[str, RunState]) -> ExitCode:
    """4 while anything is unfinished, else 3 if any failed, else 0."""
    from isosweep.store.status import UNFINISHED

    statuses = {state.status for state in states.values()}
    if statuses & set(UNFINISHED):
        return ExitCode.INCOMPLETE
    return ExitCode.FAILED if statuses - {"done", "diverged"} else ExitCode.OK


def find_run(store: Store, prefix: str) -> tuple[Run, int]:
    """The run of this id prefix in the store's launches, and the launch that has it last.

    Raises:
        UsageProblem: no such run, or several.
    """
    from isosweep.store.launches import list_launches, read_task

    from .usage import UsageProblem

    found: dict[str, tuple[int, int]] = {}
    for launch in list_launches(store):
        for task, runs in enumerate(launch.tasks):
            for position, run in enumerate(runs):
                if run.startswith(prefix):
                    found[run] = (launch.number, task * 1_000_000 + position)
    if not found:
        raise UsageProblem(f"no run {prefix!r} has been launched into {store.root}")
    if len(found) > 1:
        shown = ", ".join(sorted(found)[:5])
        raise UsageProblem(
            f"{prefix!r} begins {len(found)} runs ({shown}{', …' if len(found) > 5 else ''}): give more digits"
        )
    ((_, (number, place)),) = found.items()
    task, position = divmod(place, 1_000_000)
    return read_task(store, number, task)[position], number


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 5 min, 3.2 h."""
    if seconds < 1:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def several(number: int, what: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def counts(numbers: dict[str, int]) -> str:
    """``{"done": 3, "failed": 1}`` as ``3 done, 1 failed``, in the order of reporting."""
    from isosweep.store.status import STATUSES

    return ", ".join(f"{numbers[s]} {s}" for s in STATUSES if numbers.get(s)) or "none"
