"""What a run measured, as plain arrays in a fixed order, and their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["FisherBlock", "JacobianSample", "LayerActivity", "Measurement", "TrainingPoint"]


@dataclass(frozen=True)
class FisherBlock:
    """A block of the Fisher information matrix: "all", or one layer's diagonal block by the layer's name.

    `eigenvalues` is None where only the summary was asked for; `rank` counts λ > R·ε·λ_max; `abs_error` bounds the
    error of every eigenvalue.

    Matrix-free, `eigenvalues` are the leading ones with `errors` for each, and there is no rank; with probes,
    `density_counts` estimates how many of all eigenvalues are at least `density_nodes`, to `density_errors`.
    """

    step: int
    block: str
    eigenvalues: np.ndarray | None
    lambda_max: float
    trace: float
    rank: int | None
    abs_error: float | None = None
    errors: np.ndarray | None = None
    density_nodes: np.ndarray | None = None
    density_counts: np.ndarray | None = None
    density_errors: np.ndarray | None = None


@dataclass(frozen=True)
class JacobianSample:
    """Singular values of ∂x^L/∂x^0 at one input, largest first, and their natural logarithms (−inf for exact zeros)."""

    step: int
    sample: int
    singular_values: np.ndarray
    log_singular_values: np.ndarray


@dataclass(frozen=True)
class LayerActivity:
    """A layer's pre-activations (the readout's are the last): mean q^l of |h^l|²/N_l, mean c^l over pairs of inputs.

    In training also its non-negative `scale` and the distance of its weights from their manifold, where it has them.
    """

    step: int
    layer: int
    block: str
    q: float
    correlation: float
    scale: float | None = None
    orthogonality_error: float | None = None


@dataclass(frozen=True)
class TrainingPoint:
    """A point of the training curve: numbers, and lists of numbers, by the column names of the table `training`.

    A column that was not measured at this step is absent. `epoch` counts epochs, 0 at initialisation.
    """

    step: int
    epoch: float
    values: dict[str, float | np.ndarray]


@dataclass(frozen=True)
class Measurement:
    """Everything a run measured; `scalars` are numbers of the whole run, by column name.

    `outcome` is "diverged" where training left the finite numbers: the curve and the spectra are those until then.
    """

    fisher: tuple[FisherBlock, ...]
    jacobian: tuple[JacobianSample, ...]
    layers: tuple[LayerActivity, ...]
    scalars: dict[str, float]
    training: tuple[TrainingPoint, ...] = ()
    outcome: Literal["done", "diverged"] = "done"

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every measured number, in the order that the digest takes them."""
        for f in self.fisher:
            yield (
                f"fisher/{f.step}/{f.block}/summary",
                np.array([np.nan if v is None else v for v in (f.lambda_max, f.trace, f.rank, f.abs_error)]),
            )
            if f.eigenvalues is not None:
                yield f"fisher/{f.step}/{f.block}/eigenvalues", f.eigenvalues
            for name in ("errors", "density_nodes", "density_counts", "density_errors"):
                if (values := getattr(f, name)) is not None:
                    yield f"fisher/{f.step}/{f.block}/{name}", values
        for j in self.jacobian:
            yield f"jacobian/{j.step}/{j.sample}/singular_values", j.singular_values
            yield f"jacobian/{j.step}/{j.sample}/log_singular_values", j.log_singular_values
        for a in self.layers:
            yield f"layers/{a.step}/{a.layer}/{a.block}", np.array([a.q, a.correlation])
            if a.scale is not None or a.orthogonality_error is not None:
                trained = [np.nan if value is None else value for value in (a.scale, a.orthogonality_error)]
                yield f"layers/{a.step}/{a.layer}/{a.block}/trained", np.array(trained)
        for name in sorted(self.scalars):
            yield f"scalar/{name}", np.array([self.scalars[name]])
        for point in self.training:
            yield f"training/{point.step}/epoch", np.array([point.epoch])
            for name in sorted(point.values):
                yield f"training/{point.step}/{name}", np.atleast_1d(point.values[name])
        if self.outcome != "done":
            yield f"outcome/{self.outcome}", np.array([])

    @property
    def digest(self) -> str:
        """SHA-256 over the names, shapes and float64 bits of `arrays`: equal exactly where every measured bit is.

        What a run without training does not have takes no part in it.
        """
        total = hashlib.sha256()
        for name, array in self.arrays():
            values = np.ascontiguousarray(array, dtype="<f8")
            # one NaN for all: its payload is no measurement
            values = np.where(np.isnan(values), np.nan, values)
            total.update(f"{name}{values.shape}\n".encode())
            total.update(values.tobytes())
        return total.hexdigest()
