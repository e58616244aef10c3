"""`isosweep init`: a first sweep file and profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import DEFAULT_STORE, JsonOption, Quiet, StoreOption, Verbose, exits, message, print_json
from .usage import UsageProblem

NAME = "init"

_SWEEP = """\
# A sweep: every combination of the values in lists is a run. What each key means: docs/sweep-file.md.
name: first
network:
  depth: [4, 16]
  width: 32
  activation: tanh
  init: [orthogonal, gaussian]
  gain: [critical, 1.5]
  bias_std: 0.05
data: {name: digits, samples: 256}
measure:
  fisher: {samples: 32}
  jacobian: {samples: 8}
seeds: 2
"""


def _profile(name: str, partition: str | None, gpu: bool, account: str | None) -> str:
    device = "cuda" if gpu else "cpu"
    lines = [
        f"# How to ask this cluster for jobs: isosweep launch SPEC --profile {name}",
        f'device = "{device}"',
        "target_minutes = 30      # runs are packed into tasks of about this wall time",
        "",
        "# Lines of bash before Python starts; the job stops at the first that fails.",
        "setup = []",
        '# setup = ["module load cuda/12.4"]',
        "",
        "# sbatch's options by their own long names.",
        "[sbatch]",
        'time = "04:00:00"',
        f"cpus-per-task = {4 if gpu else 1}",
        f'mem = "{16 if gpu else 4}G"',
    ]
    lines += ['gres = "gpu:1"'] if gpu else []
    lines.append(f'partition = "{partition}"' if partition else '# partition = "…"')
    lines.append(f'account = "{account}"' if account else '# account = "…"')
    return "\n".join(lines) + "\n"


@exits
def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")] = Path(),
    name: Annotated[
        str | None, typer.Option("--name", help="Of the profile (default: the cluster's, or local).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a first sweep file and a profile for this cluster, as far as Slurm tells what it has."""
    from isosweep.cluster.slurm import SchedulerSilent, cluster_name, partitions, slurm_here

    partition = account = None
    gpu = False
    try:
        if slurm_here():
            name = name or cluster_name() or "cluster"
            found = partitions()
            default = next((one for one in found if one.default), found[0] if found else None)
            with_gpu = next((one for one in found if one.gpus and one.default), None) or next(
                (one for one in found if one.gpus), None
            )
            chosen = with_gpu or default
            partition, gpu = (chosen.name, chosen.gpus) if chosen is not None else (None, False)
    except SchedulerSilent as error:
        message(f"Slurm could not be asked, so the profile is a draft: {error}")
    name = name or "local"
    if "/" in name or name.startswith("."):
        raise UsageProblem(f"--name {name}: a plain name is expected")
    files = {folder / "first.yaml": _SWEEP, folder / "slurm" / f"{name}.toml": _profile(name, partition, gpu, account)}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise UsageProblem(f"{there[0]} is there already: give another folder, or --force to write over it")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"cannot write {error.filename}: {error.strerror}") from None
    if json_:
        print_json({"files": [str(path) for path in files], "profile": name, "partition": partition})
    else:
        for path in files:
            typer.echo(str(path))
    where = "" if str(folder) == "." else f"cd {folder} && "
    message(f"next: {where}isosweep doctor --profile {name}", quiet=quiet)
    message(f"      {where}isosweep launch first.yaml --profile {name} --dry-run", quiet=quiet)
