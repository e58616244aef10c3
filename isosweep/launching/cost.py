"""What a run costs: seconds, by one constant, of the operations of its measurement, and bytes of its record.

The constant, seconds an operation, is fitted from the records in the store where there are enough of them. It is a
constant of the plan, never of a result.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from isosweep.launching.operations import dual_rows, run_operations
from isosweep.store.store import Store
from isosweep.sweep.settings import NetworkSettings, Run, from_json

__all__ = ["BUILT_IN", "Cost", "fit", "record_bytes"]

# Seconds an operation on one core of a current server (float64), until records tell better.
_SECONDS_PER_OPERATION = 1.2e-10
# What a run costs whatever its size.
_SECONDS_PER_RUN = 0.02
# A user's own network of unknown shape counts as one of this many seconds.
_SECONDS_UNKNOWN = 10.0
_RECORD_OVERHEAD = 7000
# Kinds of runs whose operations are kept.
_MOST_COUNTED = 10_000
# Records that a fit looks at, and how many it wants.
_SAMPLE, _FEWEST = 48, 3


@dataclass(frozen=True)
class Cost:
    """Seconds of a run: its operations times one constant, and what every run costs.

    Attributes:
        seconds_per_operation: the constant.
        records: how many records it was fitted from; 0: it is the built-in one.
    """

    seconds_per_operation: float = _SECONDS_PER_OPERATION
    records: int = 0
    seconds_unknown: float = _SECONDS_UNKNOWN
    # Runs of a sweep share their settings' objects: operations by these, which are held so that their ids stay theirs.
    _counted: dict[tuple[int, ...], tuple[tuple[object, ...], float | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def seconds(self, run: Run) -> float:
        """Seconds of a run on one core or GPU, as planned."""
        operations = self._operations(run)
        known = self.seconds_unknown if operations is None else self.seconds_per_operation * operations
        return _SECONDS_PER_RUN + known

    def _operations(self, run: Run) -> float | None:
        parts = (run.network, run.data, run.measure, run.train)
        key = tuple(map(id, parts))
        found = self._counted.get(key)
        if found is None:
            if len(self._counted) >= _MOST_COUNTED:
                self._counted.clear()
            found = self._counted[key] = (parts, run_operations(run))
        return found[1]


BUILT_IN = Cost()


def _median(pairs: list[tuple[float, float]]) -> float:
    """The weighted median of (value, weight) pairs."""
    pairs.sort()
    half, total = sum(weight for _, weight in pairs) / 2, 0.0
    for value, weight in pairs:
        total += weight
        if total >= half:
            return value
    return pairs[-1][0]


def fit(store: Store, recorded: Mapping[str, str], device: str = "auto") -> Cost:
    """The cost model that fits a sample of the store's records: the median of seconds over operations, each record
    weighted by its seconds, so that what is long counts.

    The sample is the same whoever asks, as long as the records are the same: of those measured on `device` ("auto":
    any), run ids, which are hashes, being in order.

    Args:
        recorded: run id → outcome of every record (`isosweep.store.records.list_records`).
    """
    from isosweep.store.records import BadRecord, read_record, record_path

    pairs: list[tuple[float, float]] = []
    unknown: list[tuple[float, float]] = []
    used = 0
    for run, outcome in islice(sorted(recorded.items()), _SAMPLE):
        with contextlib.suppress(BadRecord, OSError, KeyError, TypeError, ValueError):
            batch = read_record(record_path(store, run, outcome))
            about = json.loads(batch.column("provenance")[0].as_py())
            if device not in ("auto", about["device"]):
                continue
            seconds = float(about["seconds"])
            operations = run_operations(from_json(batch.column("settings")[0].as_py()))
            if operations is None:
                unknown.append((seconds, 1.0))
            elif seconds > _SECONDS_PER_RUN:
                pairs.append(((seconds - _SECONDS_PER_RUN) / operations, seconds))
            used += 1
    constant = _median(pairs) if len(pairs) >= _FEWEST else _SECONDS_PER_OPERATION
    own = _median(unknown) if len(unknown) >= _FEWEST else _SECONDS_UNKNOWN
    return Cost(constant, used if max(len(pairs), len(unknown)) >= _FEWEST else 0, own)


def record_bytes(run: Run) -> int:
    """Bytes of the run's record: 8 an array entry, and what surrounds them."""
    network, values = run.network, dual_rows(run)
    if isinstance(network, NetworkSettings):
        fisher = run.measure.fisher
        if fisher is not None and fisher.layers == "spectrum":
            values += dual_rows(run) * (network.depth + 1)
        values += 12 * (network.depth + 1)
        if run.measure.jacobian is not None:
            values += 2 * run.measure.jacobian.samples * min(network.width, run.data.inputs)
    if run.train is not None:
        values *= len(run.train.measured_steps(run.data.samples))
    return _RECORD_OVERHEAD + 8 * values
