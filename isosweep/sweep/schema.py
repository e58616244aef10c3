"""The sweep file as pydantic models: its keys, their types, and how an axis is spelled.

Every scalar is an axis of one or more values, spelled as a value, a list, or a generator ``{range|linspace|logspace: […]}``. The field descriptions here
are the reference: `docs/sweep-file.md` is generated from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from .errors import nearest
from .numbers import arithmetic_range, exact, is_fraction, linspace, logspace, number

__all__ = [
    "AXES",
    "ActivationName",
    "DataName",
    "DenseSection",
    "GridModel",
    "InitName",
    "Likelihood",
    "ModuleSection",
    "SweepModel",
    "expand_axis",
]

ActivationName = Literal[
    "linear",
    "tanh",
    "relu",
    "hard_tanh",
    "erf",
    "scaled_erf",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "softplus",
    "sin",
]
InitName = Literal["orthogonal", "gaussian"]
DataName = Literal["digits", "gaussian", "mnist", "fashion_mnist"]
Likelihood = Literal["categorical", "gaussian"]
ScaleName = Literal["unit", "fixed_point", "fixed_point_or_unit", "raw"]

GENERATORS = {"range": arithmetic_range, "linspace": linspace, "logspace": logspace}
# σ_w² must be a float64 too, and so must the first few variances.
_LARGEST_GAIN = 1e100


def _refuse(text: str, found: object = None, known: list[str] | None = None) -> PydanticCustomError:
    near = nearest(found, known) if known else None
    return PydanticCustomError("axis", "{text}", {"text": text, "nearest": near})


def _scalar(value: Any) -> Any:
    if is_fraction(value):
        return number(exact(value))
    if isinstance(value, (list, dict)):
        raise _refuse(f"expected single values in this list, found {value!r}")
    return value


def expand_axis(raw: Any) -> list[Any]:
    """The values that `raw` spells, in order, duplicates removed (the first is kept).

    Raises:
        PydanticCustomError: an empty list, an unknown generator or one with wrong arguments.
    """
    try:
        if isinstance(raw, Mapping):
            if len(raw) != 1 or next(iter(raw)) not in GENERATORS:
                name = next((k for k in raw if k not in GENERATORS), None)
                raise _refuse(
                    f"expected one of {{range: [start, stop, step]}}, {{linspace: [a, b, n]}}, {{logspace: [a, b, n]}}, found {dict(raw)!r}",
                    name,
                    list(GENERATORS),
                )
            (kind, arguments), = raw.items()
            if not isinstance(arguments, list) or len(arguments) != 3:
                raise _refuse(f"{kind} takes three numbers, found {arguments!r}")
            values: list[Any] = [number(point) for point in GENERATORS[kind](*arguments)]
        elif isinstance(raw, (list, tuple)):
            if not raw:
                raise _refuse("the axis is empty")
            values = [_scalar(value) for value in raw]
        elif raw is None:
            raise _refuse("no value is given")
        else:
            values = [_scalar(raw)]
    except PydanticCustomError:
        raise
    except ValueError as error:
        raise _refuse(str(error)) from None
    return list({("flag" if isinstance(v, bool) else isinstance(v, str), v): v for v in values}.values())


def _expand_seeds(raw: Any) -> Any:
    if isinstance(raw, int) and not isinstance(raw, bool):
        if raw < 1:
            raise _refuse(f"expected at least one seed, found {raw}")
        return list(range(raw))
    return expand_axis(raw)


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(f"expected a whole number, found {value!r}")
    return value


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refuse(f"expected a number, found {value!r}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise _refuse(f"expected a finite number, found {value!r} (float64 ends at 1.8e308)")
    return result + 0.0  # -0.0 is 0.0


def _gain(value: Any) -> float | str:
    if isinstance(value, str):
        if value != "critical":
            raise _refuse(f"expected a positive number or the word critical, found {value!r}", value, ["critical"])
        return value
    gain = _real(value)
    if gain <= 0:
        raise _refuse(f"expected a positive number or the word critical, found {value!r}")
    if gain > _LARGEST_GAIN:
        raise _refuse(f"a gain of {gain!r} overflows float64 within a few layers; expected at most {_LARGEST_GAIN:g}")
    return gain


def _flag(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, str)):
        raise _refuse(f"expected a number, a word, true or false, found {value!r}")
    return _real(value) if isinstance(value, float) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
Real = Annotated[float, BeforeValidator(_real)]
Gain = Annotated[float | str, BeforeValidator(_gain)]
Flag = Annotated[Any, BeforeValidator(_flag)]
_EXPAND = BeforeValidator(expand_axis)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DenseSection(_Section):
    """A dense network: `depth` hidden layers of `width` units, then a linear readout."""

    depth: Annotated[tuple[Positive, ...], _EXPAND] = Field(description="Number of hidden layers L; a linear readout follows.")
    width: Annotated[tuple[Positive, ...], _EXPAND] = Field(description="Units N of every hidden layer.")
    activation: Annotated[tuple[ActivationName, ...], _EXPAND] = Field(description="Activation φ of the hidden layers.")
    negative_slope: Annotated[tuple[Annotated[Real, Field(ge=0, lt=1)], ...], _EXPAND] | None = Field(
        None, description="Slope of leaky_relu below 0 (0.01 if absent). Without effect on the others."
    )
    init: Annotated[tuple[InitName, ...], _EXPAND] | None = Field(
        None,
        description="`orthogonal`: σ_w·√max(1, N_l/N_{l−1}) times a Haar matrix with orthonormal rows or columns; `gaussian`: entries of variance σ_w²/N_{l−1}. "
        "The readout is drawn like any layer. Required unless `checkpoint` is given.",
    )
    gain: Annotated[tuple[Gain, ...], _EXPAND] | None = Field(
        None,
        description="σ_w, or `critical`: the σ_w (and σ_b) at which χ = 1, by `q_star` or for the given `bias_std`. Required unless `checkpoint` is given.",
    )
    bias_std: Annotated[tuple[Annotated[Real, Field(ge=0)], ...], _EXPAND] | None = Field(
        None, description="σ_b, standard deviation of the biases (0 if absent). Excluded by `gain: critical` with `q_star`."
    )
    q_star: Annotated[tuple[Annotated[Real, Field(gt=0)], ...], _EXPAND] | None = Field(
        None,
        description="Pre-activation variance q* of `gain: critical`; also the q that `data.scale: fixed_point` starts from where every q is a fixed point.",
    )
    checkpoint: Annotated[tuple[str, ...], _EXPAND] | None = Field(
        None,
        description="A safetensors file with your own weights for this network (keys as in its state_dict), relative to the sweep file. Its checksum enters the run id.",
    )


class ModuleSection(_Section):
    """A network of your own: every other key of the section is a named argument of the function, and may be an axis."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[tuple[Flag, ...], _EXPAND]]

    module: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")], ...], _EXPAND] = Field(
        description="`package.module:function`, found beside the sweep file or on the Python path. The function returns a torch.nn.Sequential; "
        "`inputs`, `classes` and `seed` are passed if it names them. Its source files' checksum enters the run id."
    )
    checkpoint: Annotated[tuple[str, ...], _EXPAND] | None = Field(None, description="A safetensors file with weights for the returned network.")


class DataSection(_Section):
    """What the network is measured on."""

    name: Annotated[tuple[DataName, ...], _EXPAND] = Field(
        description="`digits`: 1,797 images of 8 × 8, embedded; `gaussian`: independent standard normal inputs; `mnist`, `fashion_mnist`: IDX files."
    )
    samples: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None, description="Size of the training split, drawn by the run's seed (all there are if absent; required for gaussian)."
    )
    scale: Annotated[tuple[ScaleName, ...], _EXPAND] | None = Field(
        None,
        description="One scalar for the whole split. `unit` (default): mean |x|²/N_0 = 1. `fixed_point`: mean |x|²/N_0 = (q* − σ_b²)/σ_w². "
        "`fixed_point_or_unit`: the first where it exists, else the second (column `data_scale` says which). `raw`: as it is.",
    )
    root: str | None = Field(None, description="Folder of the IDX files (else the environment's ISOSWEEP_DATA). No part of a run's identity: the files' checksums are.")
    inputs: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(None, description="Input dimension N_0; only for `gaussian`.")
    classes: Annotated[tuple[Annotated[int, BeforeValidator(_whole), Field(ge=1)], ...], _EXPAND] | None = Field(
        None, description="Number of classes C; only for `gaussian`."
    )


class FisherSection(_Section):
    """The Fisher information matrix of the network's likelihood, averaged over the first samples of the split."""

    samples: Annotated[tuple[Positive, ...], _EXPAND] = Field(description="Number n of inputs the Fisher is averaged over.")
    likelihood: Annotated[tuple[Likelihood, ...], _EXPAND] = Field(("categorical",), description="`categorical` (softmax of the outputs) or `gaussian` (unit variance).")
    layers: Annotated[tuple[Literal["summary", "spectrum", "none"], ...], _EXPAND] = Field(
        ("summary",), description="Each layer's diagonal block: `summary` (λ_max, trace, rank), its whole `spectrum`, or `none`."
    )


class JacobianSection(_Section):
    """The input-output Jacobian ∂x^L/∂x^0, one for each of the first samples."""

    samples: Annotated[tuple[Positive, ...], _EXPAND] = Field(description="Number m of inputs; at most the Fisher's, whose first m they are.")


class MeasureSection(_Section):
    """What is measured. Without the section, both are, with 64 and 16 samples."""

    fisher: FisherSection | None = Field(None, description="Left out: not measured.")
    jacobian: JacobianSection | None = Field(None, description="Left out: not measured.")
    dtype: Annotated[tuple[Literal["float64", "float32"], ...], _EXPAND] = Field(("float64",), description="Floating type of the measurement, on every device.")


def _network_kind(raw: Any) -> str:
    if isinstance(raw, Mapping):
        return "module" if "module" in raw else "dense"
    return "module" if isinstance(raw, ModuleSection) else "dense"


class GridModel(_Section):
    """One grid: the product of its axes."""

    network: Annotated[
        Annotated[DenseSection, Tag("dense")] | Annotated[ModuleSection, Tag("module")], Discriminator(_network_kind)
    ] = Field(description="The network.")
    data: DataSection = Field(description="The data.")
    measure: MeasureSection = Field(
        default_factory=lambda: MeasureSection(fisher=FisherSection(samples=(64,)), jacobian=JacobianSection(samples=(16,))), description="The measurement."
    )
    seeds: Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], BeforeValidator(_expand_seeds)] = Field(
        (0,), description="`3` is 0, 1, 2; or a list, or a generator."
    )
    zip: tuple[tuple[str, ...], ...] = Field((), description="Groups of axes, by name, that move together: `zip: [[depth, width]]`. Equal lengths.")
    include: tuple[dict[str, Any], ...] = Field(
        (), description="Extra points or grids: each entry replaces the axes it names and takes the others as they are. Not subject to `exclude`."
    )
    exclude: tuple[dict[str, Any], ...] = Field(
        (), description="Conditions (all of an entry must hold): a value, a list of values, `{min: a, max: b}` (both included), or `{not: …}` of these."
    )
    when: dict[str, dict[str, Any]] = Field(
        {}, description="An axis that exists only where a condition on other axes holds: `when: {q_star: {gain: critical}}`. Elsewhere it is absent."
    )


class SweepModel(GridModel):
    """A whole sweep file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = Field(
        description="Name of the sweep: letters, digits, dot, dash, underscore."
    )
    grids: tuple[dict[str, Any], ...] = Field((), description="Several grids, one after the other: each entry is laid over the keys of the file.")


# Where a scalar stands in the file → the plain name that include, exclude, when, zip, --where and the tables use. An argument of a user's module keeps its own.
AXES: dict[tuple[str, ...], str] = {
    ("network", "depth"): "depth",
    ("network", "width"): "width",
    ("network", "activation"): "activation",
    ("network", "negative_slope"): "negative_slope",
    ("network", "init"): "init",
    ("network", "gain"): "gain",
    ("network", "bias_std"): "bias_std",
    ("network", "q_star"): "q_star",
    ("network", "checkpoint"): "checkpoint",
    ("network", "module"): "module",
    ("data", "name"): "data",
    ("data", "samples"): "data_samples",
    ("data", "scale"): "data_scale",
    ("data", "inputs"): "data_inputs",
    ("data", "classes"): "data_classes",
    ("measure", "fisher", "samples"): "fisher_samples",
    ("measure", "fisher", "likelihood"): "fisher_likelihood",
    ("measure", "fisher", "layers"): "fisher_layers",
    ("measure", "jacobian", "samples"): "jacobian_samples",
    ("measure", "dtype"): "dtype",
    ("seeds",): "seed",
}
