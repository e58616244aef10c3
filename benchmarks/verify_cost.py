"""What verifying costs beside the runs that it repeats: core-seconds of `isosweep verify --all` against those of the
launch of the same runs, three of each in turn (or as many as told), one worker both times.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 3
SPEC = """\
name: cost
network: {depth: 24, width: 160, activation: tanh, init: [orthogonal, gaussian], gain: critical, bias_std: 0.05}
data: {name: digits, samples: 300}
measure: {fisher: {samples: 300}, jacobian: {samples: 8}}
seeds: 2
"""


def core_seconds(*words: str) -> float:
    """Processor time of a command and of everything it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "isosweep.cli", *words, "-q"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print both, round by round, and their ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    launches, verifications = [], []
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "cost.yaml")
        spec.write_text(SPEC)
        for number in range(rounds):
            store = f"{folder}/{number}"
            launches.append(core_seconds("launch", str(spec), "--local", "--workers", "1", "--store", store))
            verifications.append(core_seconds("verify", str(spec), "--all", "--workers", "1", "--store", store))
            print(f"launch {launches[-1]:6.1f}   verify {verifications[-1]:6.1f} core-seconds", flush=True)
    ratio = statistics.median(verifications) / statistics.median(launches)
    print(f"verify / launch, medians of {rounds}: {ratio:.3f}   (asked: at most 1.05)")


if __name__ == "__main__":
    main()
