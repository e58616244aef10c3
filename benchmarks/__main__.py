"""`make bench`: every benchmark, one after the other, each in a process of its own.

What they print goes to the screen and to benchmarks/results.txt. Names given as arguments choose some of them.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run them; 1 if any failed."""
    names = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_") and "def main(" in p.read_text())
    wanted = sys.argv[1:] or names
    if unknown := set(wanted) - set(names):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    failed = []
    with (HERE / "results.txt").open("w") as results:
        for line in (f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, python {platform.python_version()}",):
            results.write(line + "\n")
        for name in wanted:
            print(f"\n== {name}", flush=True)
            command = [sys.executable, str(HERE / f"{name}.py")]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            print(done.stdout, end="")
            results.write(f"\n== {name}\n{done.stdout}")
            if done.returncode:
                failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
