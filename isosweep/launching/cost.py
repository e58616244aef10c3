"""What a run costs: operations of its measurement, seconds by one constant, and bytes of its record.

The constant, seconds an operation, is fitted from the records in the store where there are enough of them. It is a
constant of the plan, never of a result.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from isosweep.store.store import Store
from isosweep.sweep.settings import NetworkSettings, Run, from_json

__all__ = ["BUILT_IN", "Cost", "fit", "record_bytes", "run_operations"]

# Seconds an operation on one core of a current server (float64), until records tell better.
_SECONDS_PER_OPERATION = 1.2e-10
# What a run costs whatever its size.
_SECONDS_PER_RUN = 0.02
# A user's own network of unknown shape counts as one of this many seconds.
_SECONDS_UNKNOWN = 10.0
_RECORD_OVERHEAD = 6000
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

    def seconds(self, run: Run) -> float:
        """Seconds of a run on one core or GPU, as planned."""
        operations = run_operations(run)
        known = self.seconds_unknown if operations is None else self.seconds_per_operation * operations
        return _SECONDS_PER_RUN + known


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


def _rows(run: Run) -> int:
    """Rows R of the dual matrix: n(C−1) for the categorical likelihood, nC for the Gaussian."""
    fisher = run.measure.fisher
    if fisher is None:
        return 0
    return fisher.samples * (run.data.classes - (fisher.likelihood == "categorical"))


def run_operations(run: Run) -> float | None:
    """Floating-point operations of a dense run: dual matrix, its eigenvalues, the layers' blocks (or the products of
    the matrix-free method), the Jacobian's chain and singular values, at every point of a training; and its steps.
    None for a user's own network, whose shapes nobody knows before it is built.
    """
    network, fisher = run.network, run.measure.fisher
    if not isinstance(network, NetworkSettings):
        return None
    depth, width, rows = network.depth, network.width, _rows(run)
    if fisher is not None and fisher.method == "lanczos":
        parameters = width * (run.data.inputs + (depth - 1) * width + run.data.classes)
        products = (fisher.steps or 0) * (1 + (fisher.probes or 0))
        operations = 6.0 * fisher.samples * parameters * products
    else:
        operations = rows**2 * (run.data.inputs + depth * width) + 2 * rows * width**2 * depth + 4 / 3 * rows**3
    if fisher is not None and fisher.method == "dual" and fisher.layers != "none":
        block = rows**3 / 3 + 60 * rows**2 if fisher.layers == "summary" else 4 / 3 * rows**3
        operations += (depth + 1) * block
    if run.measure.jacobian is not None:
        operations += run.measure.jacobian.samples * (8.0 * depth * width**3 + 30.0 * width**3)
    if run.train is not None:
        operations *= len(run.train.measured_steps(run.data.samples))
        weights = width * (run.data.inputs + (depth - 1) * width + run.data.classes)
        operations += 6.0 * weights * run.data.samples * run.train.epochs
        if run.train.manifold != "euclidean":  # a retraction of every hidden layer at every step
            steps = run.train.epochs * run.train.steps_per_epoch(run.data.samples)
            operations += 30.0 * width**3 * depth * steps
    return float(operations)


def record_bytes(run: Run) -> int:
    """Bytes of the run's record: 8 an array entry, and what surrounds them."""
    network, values = run.network, _rows(run)
    if isinstance(network, NetworkSettings):
        fisher = run.measure.fisher
        if fisher is not None and fisher.layers == "spectrum":
            values += _rows(run) * (network.depth + 1)
        values += 12 * (network.depth + 1)
        if run.measure.jacobian is not None:
            values += 2 * run.measure.jacobian.samples * min(network.width, run.data.inputs)
    if run.train is not None:
        values *= len(run.train.measured_steps(run.data.samples))
    return _RECORD_OVERHEAD + 8 * values
