"""A run's settings: typed, canonical and frozen. A setting without effect is None: one experiment has one spelling."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal

from .architecture_settings import ArchitectureSettings
from .train_settings import PointSettings, TrainSettings

__all__ = [
    "AugmentationSettings",
    "DataSettings",
    "FisherSettings",
    "JacobianSettings",
    "MeasureSettings",
    "ModuleSettings",
    "NetworkSettings",
    "Run",
]


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """A dense network of `depth` hidden layers and a linear readout.

    `gain` (σ_w) and `bias_std` (σ_b) are always the numbers used; `gain_rule` is "critical" where they were solved for,
    by `q_star` or, where that is None, for the given `bias_std`. `q_star` is also set where the inputs start at a
    freely chosen fixed point. With a `checkpoint`, `init` and `gain` are None. `architecture` is None for the plain
    dense network.
    """

    depth: int
    width: int
    activation: str
    negative_slope: float | None = None
    init: str | None = None
    gain: float | None = None
    gain_rule: str | None = None
    bias_std: float | None = None
    q_star: float | None = None
    checkpoint: str | None = None
    checkpoint_checksum: str | None = None
    architecture: ArchitectureSettings | None = None

    def identity(self) -> dict[str, Any]:
        """What of these enters the run id: a solved gain by its rule, a file by its checksum."""
        critical = self.gain_rule is not None
        later = {} if self.architecture is None else {"architecture": self.architecture.identity()}
        return {
            **later,
            "activation": self.activation,
            "bias_std": None if critical and self.q_star is not None else self.bias_std,
            "checkpoint": self.checkpoint_checksum,
            "depth": self.depth,
            "gain": self.gain_rule if critical else self.gain,
            "init": self.init,
            "negative_slope": self.negative_slope,
            "q_star": self.q_star,
            "width": self.width,
        }


@dataclass(frozen=True, slots=True)
class ModuleSettings:
    """A user's own network: ``package.module:function`` called with `arguments`; `sources` is its files' checksum."""

    module: str
    arguments: tuple[tuple[str, bool | int | float | str], ...]
    sources: str
    passes: tuple[str, ...] = ()
    checkpoint: str | None = None
    checkpoint_checksum: str | None = None

    def identity(self) -> dict[str, Any]:
        """What of these enters the run id."""
        return {
            "arguments": dict(self.arguments),
            "checkpoint": self.checkpoint_checksum,
            "module": self.module,
            "sources": self.sources,
        }


@dataclass(frozen=True, slots=True)
class AugmentationSettings:
    """How training images are changed from epoch to epoch (`isosweep.data.augmentation`); all lengths in pixels."""

    flip: bool = False
    shift: int = 0
    crop: int = 0


@dataclass(frozen=True, slots=True)
class DataSettings:
    """The training split: `samples` examples of the set `name`, drawn by the run's seed, times one scalar.

    `scale` is "unit", "fixed_point" or "raw"; `mean_square` is the mean of |x|²/N_0 that the scalar brings about (None:
    raw). `checksum` is that of the files' content; `root`, where they were found, is no part of the identity.

    `validation` and `test` are the sizes of the other splits (None: there is none), `test_checksum` that of the set's
    own test files where the test split comes from them. `standardise`: each channel to mean 0 and variance 1 over the
    training split, before the scalar. What is at its default does not enter the identity, so that the ids of runs that
    do without stay.
    """

    name: str
    samples: int
    scale: str
    mean_square: float | None
    inputs: int
    classes: int
    checksum: str | None = None
    root: str | None = None
    validation: int | None = None
    test: int | None = None
    test_checksum: str | None = None
    standardise: bool = False
    augmentation: AugmentationSettings | None = None

    def identity(self) -> dict[str, Any]:
        """What of these enters the run id; `mean_square` follows from the scale and the network."""
        later = {
            "augmentation": self.augmentation and asdict(self.augmentation),
            "standardise": self.standardise or None,
            "test": self.test,
            "test_checksum": self.test_checksum,
            "validation": self.validation,
        }
        return {
            **{name: value for name, value in later.items() if value is not None},
            "checksum": self.checksum,
            "classes": self.classes,
            "inputs": self.inputs,
            "name": self.name,
            "samples": self.samples,
            "scale": self.scale,
        }


@dataclass(frozen=True, slots=True)
class FisherSettings:
    """The Fisher information of `likelihood` over the first `samples` inputs of the split `data`, and how much of each
    layer's block.

    `method` is the one used, never "auto". `damping` is the λ of tr F(F + λI)⁻¹ and log det(I + F/λ). `leading`
    eigenvalues, `steps` of Krylov space and `probes` of the density belong to "lanczos"; else they are None.
    """

    samples: int
    likelihood: Literal["categorical", "gaussian"]
    layers: Literal["summary", "spectrum", "none"]
    method: Literal["dual", "lanczos"] = "dual"
    parameters: Literal["all", "weights"] = "all"
    kind: Literal["true", "empirical"] = "true"
    centred: bool = False
    bounds: bool = False
    damping: float | None = None
    leading: int | None = None
    steps: int | None = None
    probes: int | None = None
    data: Literal["train", "test"] = "train"

    @property
    def is_plain(self) -> bool:
        """Whether it is the true Fisher over all parameters, not centred: the one that theory predicts."""
        return self.parameters == "all" and self.kind == "true" and not self.centred

    def identity(self) -> dict[str, Any]:
        """All of it enters the run id; what has a default only where it is not at it."""
        return _without_defaults(self)


def _without_defaults(settings: FisherSettings | JacobianSettings) -> dict[str, Any]:
    """Its fields by name, less those at their default: what came later leaves earlier runs as they were."""
    values = {f.name: (getattr(settings, f.name), f.default) for f in fields(settings)}
    return {name: value for name, (value, default) in values.items() if default is MISSING or value != default}


@dataclass(frozen=True, slots=True)
class JacobianSettings:
    """Singular values of ∂x^L/∂x^0 at the first `samples` inputs of the split `data`."""

    samples: int
    data: Literal["train", "test"] = "train"

    def identity(self) -> dict[str, Any]:
        """All of it enters the run id; what has a default only where it is not at it."""
        return _without_defaults(self)


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """What is measured, and in which floating type."""

    fisher: FisherSettings | None
    jacobian: JacobianSettings | None
    dtype: str = "float64"
    reversal: bool = False

    def identity(self) -> dict[str, Any]:
        """All of it enters the run id."""
        fisher, jacobian = self.fisher, self.jacobian
        later = {"reversal": True} if self.reversal else {}
        return {
            **later,
            "dtype": self.dtype,
            "fisher": fisher and fisher.identity(),
            "jacobian": jacobian and jacobian.identity(),
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its settings, its seed, and the id that both determine (see `isosweep.sweep.identity`)."""

    network: NetworkSettings | ModuleSettings
    data: DataSettings
    measure: MeasureSettings
    seed: int
    id: str = field(default="", compare=False)
    train: TrainSettings | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """Every setting under its plain name, as in `runs.parquet`."""
        network, data, fisher = self.network, self.data, self.measure.fisher
        row: dict[str, Any]
        if isinstance(network, NetworkSettings):
            row = {
                name: getattr(network, name)
                for name in (
                    "depth",
                    "width",
                    "activation",
                    "negative_slope",
                    "init",
                    "gain",
                    "gain_rule",
                    "bias_std",
                    "q_star",
                    "checkpoint",
                )
            }
            row |= (network.architecture or ArchitectureSettings()).columns
        else:
            row = {"module": network.module, "checkpoint": network.checkpoint, **dict(network.arguments)}
        row |= {
            "data": data.name,
            "data_samples": data.samples,
            "data_scale": data.scale,
            "data_inputs": data.inputs,
            "data_classes": data.classes,
            "data_validation": data.validation,
            "data_test": data.test,
            "data_standardise": data.standardise,
            "augmentation_flip": data.augmentation.flip if data.augmentation else False,
            "augmentation_shift": data.augmentation.shift if data.augmentation else 0,
            "augmentation_crop": data.augmentation.crop if data.augmentation else 0,
            "fisher_samples": fisher and fisher.samples,
            "fisher_data": fisher and fisher.data,
            "fisher_likelihood": fisher and fisher.likelihood,
            "fisher_layers": fisher and fisher.layers,
            "fisher_method": fisher and fisher.method,
            "fisher_parameter_set": fisher and fisher.parameters,
            "fisher_kind": fisher and fisher.kind,
            "fisher_centred": fisher and fisher.centred,
            "fisher_bounds": fisher and fisher.bounds,
            "fisher_damping": fisher and fisher.damping,
            "fisher_leading": fisher and fisher.leading,
            "fisher_steps": fisher and fisher.steps,
            "fisher_probes": fisher and fisher.probes,
            "jacobian_samples": self.measure.jacobian and self.measure.jacobian.samples,
            "jacobian_data": self.measure.jacobian and self.measure.jacobian.data,
            "dtype": self.measure.dtype,
            "reversal": self.measure.reversal,
            "seed": self.seed,
        }
        if self.train is None:
            return row
        row |= self.train.columns
        if row["blend"] is None and row.get("weight_bits") is not None:
            row["blend"] = 0.0  # the plain coarse gradient, which an axis of ρ has beside the others
        return row


_LATER_DATA = ("validation", "test", "test_checksum", "standardise", "augmentation")


def to_json(run: Run) -> str:
    """The run as JSON; `from_json` gives it back, equal in every field.

    What was added to the settings later is written only where it is not at its default: the text of a run that does
    without stays what it was.
    """
    raw = asdict(run)
    for name in _LATER_DATA:
        if getattr(run.data, name) == DataSettings.__dataclass_fields__[name].default:
            del raw["data"][name]
    if isinstance(run.network, NetworkSettings) and run.network.architecture is None:
        del raw["network"]["architecture"]
    if run.measure.fisher is not None:
        raw["measure"]["fisher"] = _without_defaults(run.measure.fisher)
    if run.measure.jacobian is not None:
        raw["measure"]["jacobian"] = _without_defaults(run.measure.jacobian)
    if not run.measure.reversal:
        del raw["measure"]["reversal"]
    if run.train is None:
        del raw["train"]
    return json.dumps(raw, sort_keys=True)


def from_json(text: str) -> Run:
    """The run that `to_json` wrote."""
    raw = json.loads(text)
    network = raw["network"]
    if "module" in network:
        network["arguments"] = tuple((name, value) for name, value in network["arguments"])
        network["passes"] = tuple(network["passes"])
    elif network.get("architecture") is not None:
        network["architecture"] = ArchitectureSettings.of(network["architecture"])
    measure, data = raw["measure"], raw["data"]
    if data.get("augmentation") is not None:
        data["augmentation"] = AugmentationSettings(**data["augmentation"])
    return Run(
        ModuleSettings(**network) if "module" in network else NetworkSettings(**network),
        DataSettings(**data),
        MeasureSettings(
            measure["fisher"] and FisherSettings(**measure["fisher"]),
            measure["jacobian"] and JacobianSettings(**measure["jacobian"]),
            measure["dtype"],
            measure.get("reversal", False),
        ),
        raw["seed"],
        raw["id"],
        _train(raw.get("train")),
    )


def _train(raw: dict[str, Any] | None) -> TrainSettings | None:
    if raw is None:
        return None
    points = raw.pop("points")
    points |= {name: tuple(points[name]) for name in ("epochs", "steps")}
    return TrainSettings(**raw, points=PointSettings(**points))
