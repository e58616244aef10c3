"""How a run trains: the settings of the sweep file's `train` section, typed, canonical and frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["OPTIMIZER_OPTIONS", "PointSettings", "TrainSettings"]

# Optimizer → its own options and their values where the file gives none. An option of another optimizer is refused.
OPTIMIZER_OPTIONS: dict[str, dict[str, float]] = {
    "sgd": {"momentum": 0.0, "weight_decay": 0.0},
    "riemannian_sgd": {"momentum": 0.0, "weight_decay": 0.0},
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    "riemannian_adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    "sign_sgd": {"beta1": 0.9, "beta2": 0.0, "weight_decay": 0.0},
    "muon": {"momentum": 0.95, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
}
# On Euclidean weights these are the same algorithm, so they have one identity.
_EUCLIDEAN_TWIN = {"riemannian_sgd": "sgd", "riemannian_adam": "adam"}


@dataclass(frozen=True, slots=True)
class PointSettings:
    """What is measured along the way besides the spectra, and when.

    `epochs` and `steps` name the points; step 0 is always one. `hessian` is the number of leading eigenvalues of the
    loss's Hessian, `kernel` the number of inputs of the tangent kernel, `smoothness` the number of steps from one
    measurement of the local smoothness to the next; None: not measured.
    """

    epochs: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    hessian: int | None = None
    kernel: int | None = None
    smoothness: int | None = None


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Training by minibatches of `batch` of the training split, `epochs` times through it.

    Options that the optimizer, the manifold or the schedule does not have are None. `learning_rate` is that of biases
    and readout, and of everything where the hidden weights are plain; `learning_rate_manifold` that of hidden weights
    on a manifold (or moved by muon), `learning_rate_scale` that of the layers' scales: None where there are none, 0
    where they keep their start. `warmup` counts epochs. `dtype` is the floating type of the training; measurements
    have their own. `blend` is ρ of blended coarse gradients, of quantised weights alone. `order` names other draws of
    the order of the data, for `isosweep verify --orders`; a sweep file's runs have 0.
    """

    epochs: int
    batch: int
    optimizer: str
    learning_rate: float
    learning_rate_manifold: float | None = None
    learning_rate_scale: float | None = None
    momentum: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    eps: float | None = None
    weight_decay: float | None = None
    manifold: str = "euclidean"
    orthogonality_penalty: float | None = None
    schedule: str = "constant"
    warmup: float = 0.0
    decay_every: float | None = None
    decay_factor: float | None = None
    clip: float | None = None
    loss: str = "cross_entropy"
    dtype: str = "float32"
    points: PointSettings = field(default_factory=PointSettings)
    order: int = 0
    blend: float | None = None

    def identity(self) -> dict[str, Any]:
        """What of these enters the run id: an option that is None or at its neutral value is left out, so that later
        options change no id.
        """
        fields = {name: value for name, value in asdict(self).items() if value is not None and name != "points"}
        neutral = {"manifold": "euclidean", "schedule": "constant", "warmup": 0.0, "dtype": "float32", "order": 0}
        fields = {name: value for name, value in fields.items() if neutral.get(name) != value}
        if self.manifold == "euclidean":
            fields["optimizer"] = _EUCLIDEAN_TWIN.get(self.optimizer, self.optimizer)
        points = {name: value for name, value in asdict(self.points).items() if value}
        return fields | ({"points": {n: list(v) if isinstance(v, tuple) else v for n, v in points.items()}})

    @property
    def columns(self) -> dict[str, Any]:
        """Every setting under its plain name, as in `runs.parquet`."""
        row = {name: value for name, value in asdict(self).items() if name not in ("points", "dtype", "loss", "order")}
        return row | {
            "layer_scales": self.has_trained_scales,
            "loss_function": self.loss,
            "train_dtype": self.dtype,
            "hessian_count": self.points.hessian,
            "kernel_samples": self.points.kernel,
            "smoothness_every": self.points.smoothness,
        }

    @property
    def has_trained_scales(self) -> bool:
        """Whether every hidden layer has a scale that is trained."""
        return bool(self.learning_rate_scale)

    def steps_per_epoch(self, samples: int) -> int:
        """Whole minibatches in a training split of `samples`; the rest of each permutation is left out."""
        return samples // self.batch

    def measured_steps(self, samples: int) -> tuple[int, ...]:
        """The steps at which spectra are measured, ascending: 0, the points named, or else the end."""
        each = self.steps_per_epoch(samples)
        named = {epoch * each for epoch in self.points.epochs} | set(self.points.steps)
        return tuple(sorted({0} | (named or {self.epochs * each})))
