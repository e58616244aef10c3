"""`isosweep cancel`: end this sweep's tasks."""

from __future__ import annotations

import subprocess

from .common import (
    DEFAULT_STORE,
    JsonOption,
    Quiet,
    SetOption,
    Spec,
    StoreOption,
    Verbose,
    exits,
    message,
    open_store,
    print_json,
    read_sweep,
)

NAME = "cancel"


@exits
def command(
    spec: Spec,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """End the tasks on Slurm that hold runs of this sweep. What they have finished stays; their other runs become
    `cancelled`, and are launched again only by name.
    """
    from isosweep.cluster.slurm import queue_of_mine
    from isosweep.launching.reap import give_up, position
    from isosweep.store.status import look

    sweep = read_sweep(spec, set_)
    place = open_store(store, write=True)
    mine = {run.id for run in sweep.runs()}
    tasks = [t for t in look(place).open_tasks if mine & set(t.launch.tasks[t.task])]
    slurm = [t for t in tasks if t.launch.about["backend"] == "slurm"]
    if len(slurm) < len(tasks):
        message(
            f"{len(tasks) - len(slurm)} tasks belong to a pool in the foreground of a terminal: press Ctrl-C there",
            quiet=quiet,
        )
    queue = queue_of_mine().elements if slurm else {}
    jobs = [queue[position(t)].job for t in slurm if position(t) in queue]
    # Void first: a worker that starts between the two finds the void and leaves.
    with place.writing():
        cancelled = sum(give_up(place, t, "cancelled by its user", by="cancel", outcome="cancelled") for t in slurm)
    for start in range(0, len(jobs), 500):
        try:
            subprocess.run(
                ["scancel", *jobs[start : start + 500]], timeout=60, check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = " ".join(str(getattr(error, "stderr", None) or error).split())
            message(f"scancel: {said}; jobs that it did not end stop after the run in hand")
    message(f"{cancelled} tasks cancelled, {len(jobs)} jobs told to end", quiet=quiet)
    if json_:
        print_json({"sweep": sweep.name, "tasks": cancelled, "jobs": jobs})
