"""100,000 runs expanded, looked up in an empty store and packed into tasks: `launch --dry-run`, start to end."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scale_sweep import RUNS, timed, write_spec


def main() -> None:
    """Print seconds, and the plan."""
    with tempfile.TemporaryDirectory() as place:
        write_spec(Path(place))
        small = timed(["launch", "scale.yaml", "--local", "--dry-run", "--set", "seeds=1"], Path(place))
        whole = timed(["launch", "scale.yaml", "--local", "--dry-run"], Path(place))
        listed = timed(["launch", "scale.yaml", "--local", "--dry-run", "--json"], Path(place))
    plan = json.loads(listed.out)
    assert plan["runs"] == RUNS
    for what, one in (("100 runs", small), (f"{RUNS} runs", whole), (f"{RUNS} runs, listed as JSON", listed)):
        print(f"{what:32} {one.wall:6.2f} s   {one.processor:6.2f} core-seconds   {one.memory / 1e6:6.0f} MB")
    print(f"ratio to 100 runs                {whole.processor / small.processor:6.2f}")
    print(f"asked: {RUNS} runs under 5 s; {len(plan['tasks'])} tasks")


if __name__ == "__main__":
    main()
