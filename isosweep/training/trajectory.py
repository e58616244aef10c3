"""What a run has measured so far, as a checkpoint must hold it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, TrainingPoint

__all__ = ["EpochSums", "Trajectory"]

_ROWS = {"fisher": FisherBlock, "jacobian": JacobianSample, "layers": LayerActivity, "training": TrainingPoint}


@dataclass
class EpochSums:
    """Sums over the minibatches since the beginning of the epoch."""

    steps: int = 0
    samples: int = 0
    loss: float = 0.0
    correct: float = 0.0
    gradient_norm: float = 0.0

    def means(self) -> dict[str, float]:
        """The columns of the table `training`; none before the first step."""
        if not self.steps:
            return {}
        return {
            "batch_loss": self.loss / self.samples,
            "batch_accuracy": self.correct / self.samples,
            "batch_gradient_norm": self.gradient_norm / self.steps,
        }


@dataclass
class Trajectory:
    """The rows of the tables and the run's scalars until a step.

    Attributes:
        recorded: the last step that has its row; −1 before the first.
        epoch: sums of the epoch that is under way.
        diverged: the step at which training left the finite numbers, or None.
    """

    fisher: list[FisherBlock] = field(default_factory=list)
    jacobian: list[JacobianSample] = field(default_factory=list)
    layers: list[LayerActivity] = field(default_factory=list)
    training: list[TrainingPoint] = field(default_factory=list)
    scalars: dict[str, float] = field(default_factory=dict)
    recorded: int = -1
    epoch: EpochSums = field(default_factory=EpochSums)
    diverged: int | None = None

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values, and arrays by name; `unpack` gives the trajectory back, equal in every bit."""
        values: dict[str, Any] = {
            "scalars": self.scalars,
            "recorded": self.recorded,
            "epoch": vars(self.epoch),
            "diverged": self.diverged,
        }
        arrays: dict[str, np.ndarray] = {}

        def packed(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                name = f"rows/{len(arrays)}"
                arrays[name] = value
                return {"array": name}
            if isinstance(value, dict):
                return {"dict": {key: packed(item) for key, item in value.items()}}
            return value.item() if isinstance(value, np.generic) else value

        for table, kind in _ROWS.items():
            names = [f.name for f in dataclasses.fields(kind)]
            values[table] = [[packed(getattr(row, name)) for name in names] for row in getattr(self, table)]
        return values, arrays

    @classmethod
    def unpack(cls, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> Trajectory:
        """The trajectory that `pack` took apart."""

        def unpacked(value: Any) -> Any:
            if isinstance(value, dict):
                if "array" in value:
                    return np.array(arrays[value["array"]])
                return {key: unpacked(item) for key, item in value["dict"].items()}
            return value

        rows = {table: [kind(*map(unpacked, row)) for row in values[table]] for table, kind in _ROWS.items()}
        return cls(
            **rows,
            scalars=values["scalars"],
            recorded=values["recorded"],
            epoch=EpochSums(**values["epoch"]),
            diverged=values["diverged"],
        )
