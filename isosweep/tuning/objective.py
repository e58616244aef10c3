"""What a trial is worth: a column of the training curve at an epoch, averaged over the trial's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from isosweep.store.records import read_record, record_path
from isosweep.store.status import RunState
from isosweep.store.store import Store

__all__ = ["NoValue", "trial_value"]


class NoValue(Exception):
    """A run that has a record, but not the column that was asked for, at that epoch."""


def trial_value(
    store: Store,
    states: dict[str, RunState],
    runs: Sequence[str],
    objective: str,
    epoch: float,
    direction: Literal["maximize", "minimize"],
) -> float:
    """The mean over the runs, in an order that does not matter; infinitely bad if one diverged before that epoch.

    Raises:
        NoValue: the column is not measured there.
        BadRecord, OSError: a record cannot be read.
    """
    values = []
    for run in runs:
        outcome = states[run].status
        record = read_record(record_path(store, run, outcome)).to_pylist()[0]
        found = [point[objective] for point in record["training"] if point["epoch"] == epoch]
        value = next((v for v in found if v is not None), None)
        if value is None and outcome == "diverged":
            return -math.inf if direction == "maximize" else math.inf
        if value is None:
            at = sorted(point["epoch"] for point in record["training"] if point[objective] is not None)
            where = ", ".join(f"{e:g}" for e in at[:8]) + (", …" if len(at) > 8 else "")
            raise NoValue(f"run {run} has no {objective} at epoch {epoch:g}; it has one at {where or 'none'}")
        values.append(value)
    mean = math.fsum(values) / len(values)
    if math.isnan(mean):
        return -math.inf if direction == "maximize" else math.inf
    return mean
