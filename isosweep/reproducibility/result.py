"""A record, read back whole: the run, what it measured, and where."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, Measurement, TrainingPoint
from isosweep.store.records import OUTCOMES, BadRecord, read_record, record_path
from isosweep.store.store import Store
from isosweep.sweep.settings import Run, from_json

__all__ = ["Result", "find_result", "read_result"]

Part = TypeVar("Part", FisherBlock, JacobianSample, LayerActivity)


@dataclass(frozen=True)
class Result:
    """What a record holds.

    Attributes:
        digest: as recorded; it is that of `measurement`.
        provenance: the fingerprint, the code, the job and the times.
        version: of the measurement.
    """

    run: Run
    outcome: str
    digest: str
    measurement: Measurement
    provenance: dict[str, Any]
    version: int


def _part(kind: type[Part], row: dict[str, Any]) -> Part:
    """The dataclass that an element of a record's list was made from."""
    values: dict[str, Any] = {
        name: np.array(value, dtype=np.float64) if isinstance(value, list) else value for name, value in row.items()
    }
    return kind(**{f.name: values[f.name] for f in dataclasses.fields(kind) if f.name in values})


def _point(row: dict[str, Any]) -> TrainingPoint:
    """A point of the training curve: a column that is null was not measured there."""
    values: dict[str, Any] = {
        name: np.array(value, dtype=np.float64) if isinstance(value, list) else float(value)
        for name, value in row.items()
        if name not in ("step", "epoch") and value is not None
    }
    return TrainingPoint(row["step"], row["epoch"], values)


def read_result(path: Path, name: str | None = None) -> Result:
    """The result in a record's file.

    Args:
        name: the record's name, where the file has another.

    Raises:
        BadRecord: torn, altered, foreign, or its digest is not that of its data.
        OSError: it cannot be read at all.
    """
    row = read_record(path, name).to_pylist()[0]
    measurement = Measurement(
        tuple(_part(FisherBlock, block) for block in row["fisher"] or ()),
        tuple(_part(JacobianSample, sample) for sample in row["jacobian"] or ()),
        tuple(_part(LayerActivity, layer) for layer in row["layers"] or ()),
        {name: float(value) for name, value in json.loads(row["scalars"]).items()},
        tuple(_point(point) for point in row.get("training") or ()),
        row["outcome"],
    )
    if measurement.digest != row["digest"]:
        raise BadRecord(
            f"its digest does not fit its data: it says {row['digest'][:12]}…, the measured arrays have "
            f"{measurement.digest[:12]}…"
        )
    return Result(
        from_json(row["settings"]),
        row["outcome"],
        row["digest"],
        measurement,
        json.loads(row["provenance"]),
        row["version"],
    )


def find_result(store: Store, run: str) -> Result | None:
    """The result of a run in a store; None if it has no record.

    Raises:
        BadRecord, OSError: as `read_result`.
    """
    for outcome in OUTCOMES:
        path = record_path(store, run, outcome)
        if path.exists():
            return read_result(path)
    return None
