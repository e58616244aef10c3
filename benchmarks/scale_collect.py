"""100,000 records of 8 KB into tables: the first time, when nothing is new, and when one run in a hundred is new.

Needs some 2 GB of disk and makes the records first, which takes longer than collecting them. An argument gives another
number of runs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scale_sweep import RUNS, fill, frozen, load, timed, write_spec

from isosweep.store.records import list_records, record_path
from isosweep.store.store import Store


def main() -> None:
    """Print seconds and peak memory of each."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sweep, store = load(write_spec(folder, runs)), Store(folder / "isosweep-store").create()
        began = time.perf_counter()
        size = fill(store, sweep)
        print(f"{runs} records of {size} bytes made in {time.perf_counter() - began:.0f} s")
        words = ["collect", "scale.yaml", "--out", "tables", "-q"]
        code = {"PYTHONPATH": frozen(folder)}
        first = timed(words, folder, **code)
        again = timed(words, folder, **code)
        away = sorted(list_records(store))[::100]
        for run in away:
            record_path(store, run, "done").rename(folder / run)
        timed(words, folder, **code)
        for run in away:
            (folder / run).rename(record_path(store, run, "done"))
        few = timed(words, folder, **code)
        written = sum(path.stat().st_size for path in (folder / "tables").iterdir())
    for what, one in (("first", first), ("nothing new", again), ("one in a hundred new", few)):
        print(f"{what:22} {one.wall:6.2f} s   {one.processor:6.2f} core-seconds   {one.memory / 1e6:6.0f} MB")
    print(f"tables: {written / 1e6:.0f} MB of {runs * size / 1e6:.0f} MB of records")
    print("asked of 100,000 on a quiet machine: under 40 s, under 5 s; under 1500 MB")


if __name__ == "__main__":
    main()
