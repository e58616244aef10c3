"""100,000 runs launched into a private Slurm, and their status while they wait in its queue: seconds, sbatch and
squeue calls, records opened.

The jobs are told to begin tomorrow, so nothing is computed. Then every run is given a record, and status is asked
again.
Needs the programs of Slurm (tests/private_slurm.py).
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from faults import shadow_command
from private_slurm import PrivateSlurm
from scale_sweep import RUNS, fill, frozen, load, timed, write_spec

from isosweep.store.store import Store

RUNS_PER_TASK = 20
_COUNT = 'echo "$@" >> "CALLS"\nexec "$REAL" "$@"\n'
# A process that notes every record it opens.
_AUDIT = """\
import os, sys
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".arrow"):
        os.write(2, b"opened a record\\n")
sys.addaudithook(note)
"""


def main() -> None:
    """Print seconds and calls."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as place, PrivateSlurm() as cluster:
        folder = Path(place)
        sweep = load(write_spec(folder, runs))
        environment = {**cluster.env(), "PYTHONPATH": frozen(folder)}
        for name in ("sbatch", "squeue", "sacct"):
            environment = shadow_command(folder / "bin", name, _COUNT.replace("CALLS", f"{folder}/{name}"), environment)
        only = {k: environment[k] for k in ("PATH", "SLURM_CONF", "PYTHONPATH")}
        words = ["launch", "scale.yaml", "--runs-per-task", str(RUNS_PER_TASK), "--sbatch", "begin=now+1day", "-y"]
        launched = timed([*words, "--json"], folder, **only)
        plan = json.loads(launched.out)
        submissions = [call for call in calls(folder, "sbatch") if "--test-only" not in call]
        fewest = math.ceil(plan["tasks"] / int(cluster.config()["MaxArraySize"]))
        print(f"{runs} runs in {plan['tasks']} tasks: {launched.wall:.1f} s, {launched.processor:.1f} core-seconds")
        print(f"sbatch calls             {len(submissions):6d}   (asked: {fewest}, by MaxArraySize)")
        for what in ("in the queue", "recorded"):
            if what == "recorded":
                fill(Store(folder / "isosweep-store"), sweep)
            (folder / "squeue").unlink(missing_ok=True)
            audit = folder / "audit"
            audit.mkdir(exist_ok=True)
            (audit / "sitecustomize.py").write_text(_AUDIT)
            watched = {**only, "PYTHONPATH": os.pathsep.join([str(audit), only["PYTHONPATH"]])}
            # watched once for what it opens, which slows it, and timed alone
            opened = timed(["status", "scale.yaml"], folder, **watched).messages.count("opened a record")
            (folder / "squeue").unlink(missing_ok=True)
            seen = timed(["status", "scale.yaml"], folder, **only)
            asked = calls(folder, "squeue") + calls(folder, "sacct")
            print(
                f"status, all {what:13} {seen.wall:6.2f} s   {seen.processor:6.2f} core-seconds   "
                f"{len(asked)} questions to Slurm   {opened} records opened"
            )
        print("asked of 100,000 on a quiet machine: status under 3 s, one question, no record opened")


def calls(folder: Path, name: str) -> list[str]:
    """What a command was called with."""
    path = folder / name
    return path.read_text().splitlines() if path.is_file() else []


if __name__ == "__main__":
    main()
