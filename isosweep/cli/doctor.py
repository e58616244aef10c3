"""`isosweep doctor`: what this machine and its cluster allow, each finding with its remedy."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from .common import (
    DEFAULT_STORE,
    ExitCode,
    JsonOption,
    Quiet,
    StoreOption,
    Verbose,
    exits,
    message,
    open_store,
    print_json,
)
from .usage import UsageProblem

NAME = "doctor"
_SIGNS = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}


@exits
def command(
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME_OR_FILE", help="The profile to examine.")
    ] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option("--sbatch", metavar="KEY=VALUE", help="An option of sbatch, over the profile's.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="cpu|cuda|auto", help="Over the profile's.")] = None,
    job: Annotated[bool, typer.Option("--job/--no-job", help="Put a short job through the real queue.")] = True,
    patience: Annotated[
        float, typer.Option("--patience", min=1, metavar="SECONDS", help="How long to wait for that job.")
    ] = 300.0,
    local: Annotated[bool, typer.Option("--local", help="This machine alone, whatever cluster it belongs to.")] = False,
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Try what a launch relies on: the store's file system, this machine, Slurm, and a node through a real job.

    The exit code is 5 if a launch would not work, else 0.
    """
    from isosweep.cluster.profile import load_profile
    from isosweep.cluster.slurm import SchedulerSilent, slurm_here
    from isosweep.doctor.cluster import check_cluster, check_on_a_node
    from isosweep.doctor.file_system import check_file_system
    from isosweep.doctor.finding import Finding, problem
    from isosweep.doctor.machine import check_machine

    if device not in (None, "cpu", "cuda", "auto"):
        raise UsageProblem(f"--device {device}: expected cpu, cuda or auto")
    settings = load_profile(profile, sbatch or (), device)
    place = open_store(store, write=True)
    found: list[Finding] = []

    def tell(one: Finding) -> None:
        found.append(one)
        if not json_ and not (quiet and one.state == "ok"):
            typer.echo(f"{_SIGNS[one.state]} {one.what:24} {one.said}")
            if one.remedy:
                typer.echo(f"{'':33} {one.remedy}")

    for key, (value, origin) in settings.values().items() if verbose else ():
        message(f"  {key:24} {value!s:24} {origin}")
    place.create()
    for one in check_file_system(place.root):
        tell(one)
    try:
        on_slurm = not local and slurm_here()
    except SchedulerSilent as error:
        tell(problem("Slurm: controller", str(error), "see `scontrol ping`; --local examines this machine alone"))
        on_slurm = False
    else:
        for one in () if on_slurm else check_machine(settings.device):
            tell(one)
    if on_slurm:
        for one in check_cluster(settings, place):
            tell(one)
        if job and not any(one.state == "problem" for one in found):
            for one in check_on_a_node(settings, place, patience):
                tell(one)
    if json_:
        values = {key: {"value": value, "origin": origin} for key, (value, origin) in settings.values().items()}
        print_json({"findings": [dataclasses.asdict(one) for one in found], "profile_values": values})
    if any(one.state == "problem" for one in found):
        raise typer.Exit(ExitCode.REFUSED)
