"""A private Slurm from the command line, for `make slurm-up` and `make slurm-down`.

python tests/slurm_command.py up [--root DIR]      # prints what to export; outlives the command
python tests/slurm_command.py down [--root DIR]    # stops exactly that one, by pid
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from private_slurm import PrivateSlurm, SlurmError, SlurmMissing
from slurm_daemons import STATE_FILE, short_temporary_folder


def _default_root() -> Path:
    return Path(short_temporary_folder()) / f"isosweep-private-slurm-{os.geteuid()}"


def _print_exports(cluster: PrivateSlurm) -> None:
    for key, value in cluster.exports().items():
        print(f"export {key}={shlex.quote(value)}")


def _up(root: Path, arguments: dict[str, Any]) -> int:
    if (root / STATE_FILE).exists():
        cluster = PrivateSlurm.attach(root)
        if cluster.alive:
            print(f"A private Slurm already runs in {root}.", file=sys.stderr)
            _print_exports(cluster)
            return 0
        print(f"The private Slurm in {root} is not whole: it is started anew.", file=sys.stderr)
        cluster.stop()
    began = time.monotonic()
    try:
        cluster = PrivateSlurm(root, **arguments).start(detached=True)
    except (SlurmMissing, SlurmError, FileExistsError, ValueError) as error:
        print(f"No private Slurm: {error}", file=sys.stderr)
        return 1
    nodes = ", ".join(cluster.nodes)
    took = time.monotonic() - began
    print(f"A private Slurm ({nodes}) runs in {root} after {took:.1f} s. To use it:", file=sys.stderr)
    _print_exports(cluster)
    return 0


def _found(root: Path) -> PrivateSlurm | None:
    """The cluster that lives there; None, and a word about it, if there is none."""
    try:
        return PrivateSlurm.attach(root)
    except FileNotFoundError:
        print(f"No private Slurm in {root}.", file=sys.stderr)
        return None


def _down(root: Path) -> int:
    if (cluster := _found(root)) is not None:
        cluster.stop()
        print(f"The private Slurm in {root} is stopped and its files removed.", file=sys.stderr)
    return 0


def _status(root: Path) -> int:
    if (cluster := _found(root)) is None:
        return 1
    _print_exports(cluster)
    for name in ("munged", "slurmctld", *cluster.nodes):
        process = cluster.daemons.get(name)
        text = f"pid {process.pid}" if process is not None and process.alive() else "not running"
        print(f"{name}: {text}", file=sys.stderr)
    return 0 if cluster.alive else 1


def main(argv: Sequence[str] | None = None) -> int:
    """`up` and `status` print only lines for a shell on stdout (`eval "$(… up)"`), all else on stderr."""
    parser = argparse.ArgumentParser(prog="slurm_command", description="A private Slurm on this machine.")
    parser.add_argument("action", choices=["up", "down", "status"])
    parser.add_argument("--root", type=Path, default=_default_root(), help="where its files lie (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="per node")
    parser.add_argument("--gpus", type=int, default=1, help="fake ones, per node")
    parser.add_argument("--max-array-size", type=int, default=None)
    given = parser.parse_args(argv)
    root = given.root.resolve()
    if given.action == "down":
        return _down(root)
    if given.action == "status":
        return _status(root)
    arguments = {"nodes": given.nodes, "cpus": given.cpus, "gres": given.gpus, "max_array_size": given.max_array_size}
    return _up(root, arguments)


if __name__ == "__main__":
    sys.exit(main())
