"""What a prediction depends on: one network, its initialisation, its inputs and the Fisher matrix taken of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from isosweep.theory.activations import Activation

__all__ = ["Init", "Likelihood", "Network"]

Init = Literal["orthogonal", "gaussian"]
Likelihood = Literal["gaussian", "categorical"]


@dataclass(frozen=True)
class Network:
    """What a prediction depends on.

    Attributes:
        activation: φ.
        sigma_w, sigma_b: gain and standard deviation of the biases.
        depth, width: hidden layers and their units.
        init: "orthogonal" or "gaussian".
        q_star: the fixed point asked for; None takes the one that the variance map has.
        samples, outputs: n and C of the Fisher matrix.
        inputs: the input dimension; None is the width.
        mean_square, correlation: of the inputs, |x|²/N_0 and the correlation of two of them.
        likelihood: "gaussian" or "categorical".
    """

    activation: Activation
    sigma_w: float
    sigma_b: float
    depth: int
    width: int
    init: Init = "orthogonal"
    q_star: float | None = None
    samples: int = 100
    outputs: int = 10
    inputs: int | None = None
    mean_square: float = 1.0
    correlation: float = 0.0
    likelihood: Likelihood = "gaussian"

    @property
    def input_dimension(self) -> int:
        return self.inputs or self.width

    @property
    def input_ratio(self) -> float:
        """N_0 over the width."""
        return self.input_dimension / self.width

    def check_counts(self) -> None:
        """Raises ValueError for a count below 1."""
        for name in ("depth", "width", "samples", "outputs", "inputs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")

    def check(self) -> None:
        """Raises ValueError for a setting outside its range; the message says which and why."""
        self.check_counts()
        if self.init not in ("orthogonal", "gaussian"):
            raise ValueError(f"init is orthogonal or gaussian, not {self.init!r}")
        if self.likelihood not in ("gaussian", "categorical"):
            raise ValueError(f"the likelihood is gaussian or categorical, not {self.likelihood!r}")
        if not (math.isfinite(self.mean_square) and self.mean_square > 0):
            raise ValueError(f"the inputs' mean square must be above 0 and finite, not {self.mean_square!r}")
        if not abs(self.correlation) <= 1:
            raise ValueError(f"the inputs' correlation must be between -1 and 1, not {self.correlation!r}")
        if not (0 < self.sigma_w < _LARGEST):
            raise ValueError(
                f"the gain σ_w must be above 0 and below {_LARGEST:g}, or σ_w² overflows; not {self.sigma_w!r}"
            )
        if not (0 <= self.sigma_b < _LARGEST):
            raise ValueError(f"σ_b must be 0 or above and below {_LARGEST:g}, or σ_b² overflows; not {self.sigma_b!r}")
        if self.likelihood == "categorical" and self.outputs < 2:
            raise ValueError(f"a categorical likelihood needs 2 outputs or more, not {self.outputs}")


_LARGEST = 1e150  # gains and biases whose squares are still numbers
