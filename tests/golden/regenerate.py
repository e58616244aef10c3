"""Write golden.json anew. Allowed only together with a new measurement version.

    python tests/golden/regenerate.py

Results that move are new results: first add a version to MEASUREMENT_VERSIONS in isosweep/sweep/identity.py and say
there what changed. Without one this refuses, unless golden.yaml only gained or lost runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import isosweep
from isosweep.sweep.identity import MEASUREMENT_VERSION
from isosweep.sweep.settings import Run, to_json

HERE = Path(__file__).parent
SWEEP = HERE / "golden.yaml"
KEPT = HERE / "golden.json"
# Between models of CPU numbers differ by their last bits; float32 has fewer of them.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


def numbers(run: Run) -> dict[str, float]:
    """The key numbers of a run's measurement."""
    measured = isosweep.execute(run)
    found: dict[str, float] = {}
    if measured.fisher:
        whole, *layers = measured.fisher
        found |= {
            "lambda_max": whole.lambda_max,
            "trace": whole.trace,
            "layers_lambda_max": sum(b.lambda_max for b in layers),
        }
        assert whole.eigenvalues is not None
        found["middle_eigenvalue"] = float(whole.eigenvalues[len(whole.eigenvalues) // 4])
    for name in ("jacobian_s_max", "jacobian_log_s_min"):
        found[name] = measured.scalars[name]
    found |= {"q_last": measured.layers[-1].q, "c_last": measured.layers[-1].correlation}
    return found


def close(found: float, kept: float, dtype: str) -> bool:
    """Whether two values of one number are the same result."""
    return abs(found - kept) <= TOLERANCE[dtype] * max(abs(kept), 1e-3)


def moved(kept: dict[str, Any], runs: dict[str, Run]) -> list[str]:
    """What of the kept numbers is another now, in words."""
    told = []
    for id_, run in runs.items():
        if id_ in kept["runs"]:
            found = numbers(run)
            told += [
                f"{id_}: {name} was {value!r} and is {found.get(name)!r}"
                for name, value in kept["runs"][id_]["numbers"].items()
                if name not in found or not close(found[name], value, run.measure.dtype)
            ]
    return told


def main() -> int:
    """Regenerate, or say why not."""
    runs = {run.id: run for run in isosweep.load(SWEEP).runs()}
    if KEPT.exists():
        kept = json.loads(KEPT.read_text())
        if kept["measurement_version"] == MEASUREMENT_VERSION and (told := moved(kept, runs)):
            print("\n".join(told), file=sys.stderr)
            print("results moved without a new measurement version: see the top of this file", file=sys.stderr)
            return 1
    result = {
        "measurement_version": MEASUREMENT_VERSION,
        "runs": {id_: {"settings": json.loads(to_json(run)), "numbers": numbers(run)} for id_, run in runs.items()},
    }
    KEPT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{len(runs)} runs of measurement version {MEASUREMENT_VERSION} in {KEPT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
