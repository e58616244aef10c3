"""What the command line costs before it does anything: `isosweep --help` against importing typer and rich, in
alternation.
"""

from __future__ import annotations

import subprocess
import sys
import time

REPEATS = 15
BASE = [sys.executable, "-c", "import typer, rich.console"]
HELP = [sys.executable, "-m", "isosweep.cli", "--help"]


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Print the ratio of the medians."""
    pairs = [(_seconds(BASE), _seconds(HELP)) for _ in range(REPEATS + 1)][1:]
    base, shown = (sorted(times)[REPEATS // 2] for times in zip(*pairs, strict=True))
    print(f"importing typer and rich   {1000 * base:6.0f} ms")
    print(f"isosweep --help            {1000 * shown:6.0f} ms")
    print(f"ratio                      {shown / base:6.2f}   (asked: at most 1.6)")


if __name__ == "__main__":
    main()
