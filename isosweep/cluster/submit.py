"""Submission through submitit: arrays of tasks, checked by this Slurm before any is submitted."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isosweep.cluster.profile import Profile
from isosweep.cluster.slurm import SchedulerSilent, say
from isosweep.cluster.worker import BEGAN, SlurmTask
from isosweep.sweep.errors import nearest

if TYPE_CHECKING:
    import submitit

__all__ = ["SubmissionRefused", "batch_script", "check_submission", "options_of_sbatch", "submit_array", "submit_call"]

_UNKNOWN_OPTION = re.compile(r"unrecognized option '(?:--)?([^'=]*)")
_TIMEOUT = 60.0


class SubmissionRefused(Exception):
    """sbatch refused an array, or would; the message is its own."""


@contextmanager
def submission_environment(options: Iterable[str]) -> Iterator[None]:
    """Hide what would win over the batch script: a surrounding job's SLURM_* variables (its limits and CPU binding),
    and SBATCH_* of what isosweep or the profile's `options` say. SLURM_CONF stays, it says which cluster; so does an
    SBATCH_ACCOUNT, say, where the profile has none.
    """
    ours = {"SBATCH_" + name.upper().replace("-", "_") for name in (*_OURS, *options)}
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if (name.startswith(("SLURM_", "SRUN_")) and name != "SLURM_CONF") or name in ours
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


# As sbatch names their variables: what every submission says itself.
_OURS = (
    "array-inx",
    "job-name",
    "timelimit",
    "output",
    "error",
    "open-mode",
    "signal",
    "requeue",
    "no-requeue",
    "wait",
    "ignore-pbs",
)


def _executor(profile: Profile, folder: Path, name: str, code: str | None) -> submitit.SlurmExecutor:
    """submitit's executor with the profile's parameters; without a wckey of its own, which some clusters refuse."""
    import submitit

    options: dict[str, Any] = dict(profile.sbatch)
    executor = submitit.SlurmExecutor(folder=folder, python=profile.python)
    executor.update_parameters(
        job_name=name,
        array_parallelism=profile.array_parallelism,
        signal_delay_s=profile.signal_delay,
        wckey=options.pop("wckey", None),
        setup=["set -e", *_preamble(code), *profile.setup],
        additional_parameters={**options, "requeue": True},  # the profile's time among them
    )
    return executor


def _preamble(code: str | None) -> list[str]:
    """Shell lines that note when the job began, and let it import the launch's snapshot: not the working folder, nor
    the checkout.
    """
    lines = [f"export {BEGAN}=$(cut -d' ' -f1 /proc/uptime)", "export PYTHONSAFEPATH=1"]
    if code is not None:
        lines.append(f'export PYTHONPATH={shlex.quote(code)}"${{PYTHONPATH:+:$PYTHONPATH}}"')
    return lines


def batch_script(profile: Profile, folder: Path, name: str, tasks: int, code: str | None) -> str:
    """The batch script that `submit_array` submits for so many tasks."""
    with submission_environment(profile.sbatch):
        executor = _executor(profile, folder, name, code)
        if tasks > 1:
            executor.parameters["map_count"] = tasks
        return str(executor._make_submission_file_text(executor._submitit_command_str, "script"))


def options_of_sbatch() -> list[str]:
    """Long names of the options that this Slurm's sbatch knows; raises `SchedulerSilent`."""
    return sorted(set(re.findall(r"--([a-z][a-z0-9-]+)", say("sbatch", "--help"))))


def check_submission(profile: Profile, folder: Path, tasks: int) -> None:
    """Have sbatch judge an array of so many tasks (its partition, account, QOS, options, resources) and submit nothing.

    Raises:
        SubmissionRefused: it would be refused; one sentence.
        SchedulerSilent: sbatch gave no answer.
    """
    if bad := next((c for c in "%\\" if c in str(folder)), None):
        raise SubmissionRefused(f"the store's path {folder} has a {bad!r} in it, which Slurm would read as a pattern")
    with submission_environment(profile.sbatch), tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
        script.write(batch_script(profile, folder, "isosweep-check", tasks, None))
        script.flush()
        try:
            done = subprocess.run(
                ["sbatch", "--test-only", script.name],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SchedulerSilent(f"sbatch gave no answer within {_TIMEOUT:g} s") from None
        except OSError as error:
            raise SubmissionRefused(f"sbatch cannot be started: {error.strerror}") from None
    if done.returncode:
        raise SubmissionRefused(_in_a_sentence(done.stderr, profile))


def _in_a_sentence(said: str, profile: Profile) -> str:
    """What sbatch said, without its own prefixes, and where to mend it."""
    if unknown := _UNKNOWN_OPTION.search(said):
        near = nearest(unknown[1], options_of_sbatch())
        hint = f"; did you mean {near!r}?" if near else ""
        return f"this Slurm's sbatch knows no option {unknown[1]!r} ({profile.origin_of(unknown[1])}){hint}"
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ").removeprefix("fatal: ") for line in said.split("\n")]
    text = "; ".join(dict.fromkeys(line.strip() for line in lines if line.strip() and "Try" not in line))
    named = [
        option for option in ("partition", "account", "qos", "gres", "constraint", "wckey") if option in text.lower()
    ]
    where = "; ".join(f"{o} = {profile.sbatch[o]!r}, from {profile.origin_of(o)}" for o in named if o in profile.sbatch)
    return f"sbatch refuses: {text or 'no reason given'}" + (f" ({where})" if where else "")


def submit_array(profile: Profile, folder: Path, name: str, tasks: Sequence[SlurmTask]) -> str:
    """Submit one array, an element for each task in order, and return its job id.

    Raises:
        SubmissionRefused: with what sbatch said.
    """
    return _submit(profile, folder, name, tasks[0].task.code, tasks)


def submit_call(profile: Profile, folder: Path, name: str, code: str | None, function: Callable[[], str]) -> str:
    """Submit a job that calls a function without arguments, with isosweep imported from `code`; its id.

    Raises:
        SubmissionRefused: with what sbatch said.
    """
    return _submit(profile, folder, name, code, [function])


def _submit(profile: Profile, folder: Path, name: str, code: str | None, functions: Sequence[Callable[[], str]]) -> str:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    with submission_environment(profile.sbatch):
        executor = _executor(profile, folder, name, code)
        try:
            if len(functions) == 1:
                return str(executor.submit(functions[0]).job_id)
            jobs = executor.map_array(_call, functions)
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, OSError) as error:
            raise SubmissionRefused(" ".join(str(error).split())) from None
    return str(jobs[0].job_id).partition("_")[0]


def _call(function: Callable[[], str]) -> str:
    return function()
