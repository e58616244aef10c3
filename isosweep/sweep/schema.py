"""The sweep file as pydantic models: its keys, their types, and how an axis is spelled.

Every scalar is an axis of one or more values, spelled as a value, a list, or a generator ``{range|linspace|logspace:
[…]}``. The field descriptions here are the reference: `docs/sweep-file.md` is generated from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from .errors import nearest, short
from .numbers import arithmetic_range, count, exact, is_fraction, linspace, logspace, number

__all__ = [
    "AXES",
    "ActivationName",
    "AugmentationSection",
    "DataName",
    "DenseSection",
    "GridModel",
    "InitName",
    "Likelihood",
    "ModuleSection",
    "SweepModel",
    "expand_axis",
    "expand_seeds",
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
DataName = Literal["digits", "gaussian", "mnist", "fashion_mnist", "cifar10", "svhn"]
Likelihood = Literal["categorical", "gaussian"]
ScaleName = Literal["unit", "fixed_point", "fixed_point_or_unit", "raw"]

GENERATORS = {"range": arithmetic_range, "linspace": linspace, "logspace": logspace}
# The squares of σ_w and σ_b must be float64 too, and so must the first few variances.
_LARGEST = 1e100
# Nothing larger is built in one process' memory, and sums of such numbers stay whole.
_LARGEST_SIZE = 10**9


def _refuse(text: str, found: object = None, known: list[str] | None = None) -> PydanticCustomError:
    near = nearest(found, known) if known else None
    return PydanticCustomError("axis", "{text}", {"text": text, "nearest": near})


def _scalar(value: Any) -> Any:
    if is_fraction(value):
        return number(exact(value))
    if isinstance(value, (list, dict)):
        raise _refuse(f"expected single values in this list, found {short(value)}")
    return value


def expand_axis(raw: Any) -> list[Any]:
    """The values that `raw` spells, in order; equal ones are kept, for what is zipped with them.

    Raises:
        PydanticCustomError: an empty list, an unknown generator or one with wrong arguments.
    """
    try:
        if isinstance(raw, Mapping):
            if len(raw) != 1 or next(iter(raw)) not in GENERATORS:
                name = next((k for k in raw if k not in GENERATORS), None)
                raise _refuse(
                    "expected one of {range: [start, stop, step]}, {linspace: [a, b, n]}, {logspace: [a, b, n]}, "
                    f"found {short(dict(raw))}",
                    name,
                    list(GENERATORS),
                )
            ((kind, arguments),) = raw.items()
            if not isinstance(arguments, list) or len(arguments) != 3:
                raise _refuse(f"{kind} takes three numbers, found {short(arguments)}")
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
    return values


def expand_seeds(raw: Any) -> Any:
    """As `expand_axis`, but a lone number counts: 3 is 0, 1, 2."""
    if isinstance(raw, (int, float)) or is_fraction(raw):
        try:
            return list(range(count(raw, "the number of seeds")))
        except ValueError as error:
            raise _refuse(str(error)) from None
    return expand_axis(raw)


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(f"expected a whole number, found {short(value)}")
    if abs(value) >= 2**63:
        raise _refuse(f"expected a whole number of at most 64 bits, found {short(value)}")
    return value


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refuse(f"expected a number, found {short(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise _refuse(f"expected a finite number, found {short(value)} (float64 ends at 1.8e308)")
    return result + 0.0  # -0.0 is 0.0


def _name(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value) is None:
        raise _refuse(f"expected up to 100 letters, digits, dots, dashes or underscores, found {short(value)}")
    return value


def _target(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", value) is None:
        raise _refuse(f"expected package.module:function, found {short(value)}")
    return value


def _moderate(value: Any) -> float:
    result = _real(value)
    if abs(result) > _LARGEST:
        raise _refuse(f"{result!r} overflows float64 when it is squared; expected at most {_LARGEST:g}")
    if 0 < abs(result) < 1 / _LARGEST:
        raise _refuse(f"{result!r} vanishes in float64 when it is squared; expected 0 or at least {1 / _LARGEST:g}")
    return result


def _gain(value: Any) -> float | str:
    if isinstance(value, str):
        if value != "critical":
            raise _refuse(f"expected a positive number or the word critical, found {short(value)}", value, ["critical"])
        return value
    gain = _moderate(value)
    if gain <= 0:
        raise _refuse(f"expected a positive number or the word critical, found {short(value)}")
    return gain


def _flag(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, str)):
        raise _refuse(f"expected a number, a word, true or false, found {short(value)}")
    if isinstance(value, float):
        value = _real(value)
        # 1.0, 1 and 2/2 are one value: the whole number
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    return float(_real(value)) if isinstance(value, int) and abs(value) >= 2**63 else value




def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refuse(f"expected true or false, found {short(value)}")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Pixels = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1000)]
Positive = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=_LARGEST_SIZE)]
Real = Annotated[float, BeforeValidator(_real)]
Moderate = Annotated[float, BeforeValidator(_moderate)]
Gain = Annotated[float | str, BeforeValidator(_gain)]
Flag = Annotated[Any, BeforeValidator(_flag)]
_EXPAND = BeforeValidator(expand_axis)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DenseSection(_Section):
    """A dense network: `depth` hidden layers of `width` units, then a linear readout."""

    depth: Annotated[tuple[Positive, ...], _EXPAND] = Field(
        description="Number of hidden layers L; a linear readout follows."
    )
    width: Annotated[tuple[Positive, ...], _EXPAND] = Field(description="Units N of every hidden layer.")
    activation: Annotated[tuple[ActivationName, ...], _EXPAND] = Field(description="Activation φ of the hidden layers.")
    negative_slope: Annotated[tuple[Annotated[Real, Field(ge=0, lt=1)], ...], _EXPAND] | None = Field(
        None, description="Slope of leaky_relu below 0 (0.01 if absent). Without effect on the others."
    )
    init: Annotated[tuple[InitName, ...], _EXPAND] | None = Field(
        None,
        description="`orthogonal`: σ_w·√max(1, N_l/N_{l−1}) times a Haar matrix with orthonormal rows or columns; "
        "`gaussian`: entries of variance σ_w²/N_{l−1}. "
        "The readout is drawn like any layer. Required unless `checkpoint` is given.",
    )
    gain: Annotated[tuple[Gain, ...], _EXPAND] | None = Field(
        None,
        description="σ_w, or `critical`: the σ_w (and σ_b) at which χ = 1, by `q_star` or for the given `bias_std`. "
        "Required unless `checkpoint` is given.",
    )
    bias_std: Annotated[tuple[Annotated[Moderate, Field(ge=0)], ...], _EXPAND] | None = Field(
        None,
        description="σ_b, standard deviation of the biases (0 if absent). Excluded by `gain: critical` with `q_star`.",
    )
    q_star: Annotated[tuple[Annotated[Moderate, Field(gt=0)], ...], _EXPAND] | None = Field(
        None,
        description="Pre-activation variance q* of `gain: critical`; also the q that `data.scale: fixed_point` "
        "starts from where every q is a fixed point.",
    )
    checkpoint: Annotated[tuple[str, ...], _EXPAND] | None = Field(
        None,
        description="A safetensors file with your own weights for this network (keys as in its state_dict), relative "
        "to the sweep file. Its checksum enters the run id.",
    )


class ModuleSection(_Section):
    """A network of your own: every other key of the section is a named argument of the function, and may be an axis."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[tuple[Flag, ...], _EXPAND]]

    module: Annotated[tuple[Annotated[str, BeforeValidator(_target)], ...], _EXPAND] = Field(
        description="`package.module:function`, found beside the sweep file or on the Python path. The function "
        "returns a torch.nn.Sequential; "
        "`inputs`, `classes` and `seed` are passed if it names them. Whole numbers arrive as int, however they are "
        "written. The checksum of its source files, and of the modules beside them that they import, enters the run id."
    )
    checkpoint: Annotated[tuple[str, ...], _EXPAND] | None = Field(
        None, description="A safetensors file with weights for the returned network."
    )


class AugmentationSection(_Section):
    """How the images of a training step are changed, anew in every epoch, by the seed, the epoch and the example."""

    flip: Annotated[tuple[Switch, ...], _EXPAND] | None = Field(
        None, description="Mirror left and right, with probability ½."
    )
    shift: Annotated[tuple[Pixels, ...], _EXPAND] | None = Field(
        None,
        description="Move by up to so many pixels in each direction, all offsets alike; what comes in is 0 (the mean "
        "of its channel where `standardise` is on).",
    )
    crop: Annotated[tuple[Pixels, ...], _EXPAND] | None = Field(
        None,
        description="Take a window that is so many pixels smaller, anywhere, and stretch it to the whole size "
        "(bilinear).",
    )


class DataSection(_Section):
    """What the network is measured on."""

    name: Annotated[tuple[DataName, ...], _EXPAND] = Field(
        description="`digits`: 1,797 images of 8 × 8, embedded; `gaussian`: independent standard normal inputs; "
        "`mnist`, `fashion_mnist`: IDX files; `cifar10`: the python or the binary archive, unpacked or not; `svhn`: "
        "the .mat files of 32 × 32. See docs/data.md."
    )
    samples: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None,
        description="Size of the training split, drawn by the run's seed (all that the other splits leave if absent; "
        "required for gaussian).",
    )
    validation: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None,
        description="Size of the validation split, drawn by the seed from what the training split leaves of the "
        "training set (none if absent).",
    )
    test: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None,
        description="Size of the test split, drawn by the seed from the set's own test set, or, for a set without "
        "one, from what the other splits leave (none if absent).",
    )
    standardise: Annotated[tuple[Switch, ...], _EXPAND] | None = Field(
        None,
        description="Bring each channel to mean 0 and variance 1 over the training split before `scale` (false if "
        "absent).",
    )
    augmentation: AugmentationSection | None = Field(None, description="Augmentation of training images.")
    scale: Annotated[tuple[ScaleName, ...], _EXPAND] | None = Field(
        None,
        description="One scalar for the whole split. `unit` (default): mean |x|²/N_0 = 1. `fixed_point`: mean "
        "|x|²/N_0 = (q* − σ_b²)/σ_w². "
        "`fixed_point_or_unit`: the first where it exists, else the second (column `data_scale` says which). `raw`: "
        "as it is.",
    )
    root: str | None = Field(
        None,
        description="Folder of the data files (else the environment's ISOSWEEP_DATA). No part of a run's identity: "
        "the files' checksums are.",
    )
    inputs: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None, description="Input dimension N_0; only for `gaussian`."
    )
    classes: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None, description="Number of classes C; only for `gaussian`."
    )


class FisherSection(_Section):
    """The Fisher information matrix of the network's likelihood, averaged over the first samples of the split."""

    samples: Annotated[tuple[Positive, ...], _EXPAND] = Field(
        description="Number n of inputs the Fisher is averaged over."
    )
    likelihood: Annotated[tuple[Likelihood, ...], _EXPAND] = Field(
        ("categorical",), description="`categorical` (softmax of the outputs) or `gaussian` (unit variance)."
    )
    layers: Annotated[tuple[Literal["summary", "spectrum", "none"], ...], _EXPAND] = Field(
        ("summary",),
        description="Each layer's diagonal block: `summary` (λ_max, trace, rank), its whole `spectrum`, or `none`. "
        "The method lanczos has none of them.",
    )
    method: Annotated[tuple[Literal["dual", "lanczos", "auto"], ...], _EXPAND] = Field(
        ("dual",),
        description="`dual`: the whole spectrum, exact. `lanczos`: its leading eigenvalues, matrix-free, each with its "
        "error. `auto`: the dual where the bytes it needs by the run's shapes are within `memory`; what was chosen is "
        "the run's setting (column `fisher_method`), whatever node runs it. For a network of your own, whose shapes "
        "are not known here, name one.",
    )
    memory: Annotated[tuple[Annotated[Real, Field(gt=0)], ...], _EXPAND] | None = Field(
        None, description="Budget of `method: auto` in GiB above the network (8 if absent). Without effect on others."
    )
    parameters: Annotated[tuple[Literal["all", "weights"], ...], _EXPAND] = Field(
        ("all",), description="Which parameters count: `all`, or `weights` without biases."
    )
    kind: Annotated[tuple[Literal["true", "empirical"], ...], _EXPAND] = Field(
        ("true",),
        description="`true`: over the network's own distribution of labels. `empirical`: the mean of ggᵀ over the "
        "gradients of the loss at the data's labels (gaussian: at their one-hot vectors).",
    )
    centred: Annotated[tuple[Switch, ...], _EXPAND] = Field(
        (False,), description="Whether the batch's mean Jacobian is subtracted from every sample's (Karakida 2019)."
    )
    bounds: Annotated[tuple[Switch, ...], _EXPAND] = Field(
        (False,),
        description="Upper bounds of λ_max beside it: three that always hold, and Sokol and Park's approximation "
        "(columns `fisher_bound_…`, `fisher_sokol_park`). For all parameters, the true Fisher, not centred.",
    )
    damping: Annotated[tuple[Annotated[Moderate, Field(gt=0)], ...], _EXPAND] | None = Field(
        None,
        description="λ of the effective dimension tr F(F + λI)⁻¹ and of log det(I + F/λ): columns "
        "`fisher_effective_dimension`, `fisher_log_determinant`. With lanczos they are estimated, and `probes` needed.",
    )
    leading: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None, description="For lanczos: how many leading eigenvalues (10 if absent)."
    )
    steps: Annotated[tuple[Positive, ...], _EXPAND] | None = Field(
        None, description="For lanczos: largest dimension of the Krylov space (200 if absent)."
    )
    probes: Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], _EXPAND] | None = Field(
        None,
        description="For lanczos: random probes of the density of all eigenvalues, each as many steps (0 if absent: "
        "none). The error of what is read from the density comes with it from 2 on.",
    )


class JacobianSection(_Section):
    """The input-output Jacobian ∂x^L/∂x^0, one for each of the first samples."""

    samples: Annotated[tuple[Positive, ...], _EXPAND] = Field(
        description="Number m of inputs; at most the Fisher's, whose first m they are."
    )


class MeasureSection(_Section):
    """What is measured. Without the section, both are, with 64 and 16 samples."""

    fisher: FisherSection | None = Field(None, description="Left out: not measured.")
    jacobian: JacobianSection | None = Field(None, description="Left out: not measured.")
    dtype: Annotated[tuple[Literal["float64", "float32"], ...], _EXPAND] = Field(
        ("float64",), description="Floating type of the measurement, on every device."
    )


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
        default_factory=lambda: MeasureSection(
            fisher=FisherSection(samples=(64,)), jacobian=JacobianSection(samples=(16,))
        ),
        description="The measurement.",
    )
    seeds: Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], BeforeValidator(expand_seeds)] = Field(
        (0,), description="`3` is 0, 1, 2; or a list, or a generator."
    )
    zip: tuple[tuple[str, ...], ...] = Field(
        (), description="Groups of axes, by name, that move together: `zip: [[depth, width]]`. Equal lengths."
    )
    include: tuple[dict[str, Any], ...] = Field(
        (),
        description="Extra points or grids: each entry replaces the axes it names and takes the others as they are. "
        "Not subject to `exclude`.",
    )
    exclude: tuple[dict[str, Any], ...] = Field(
        (),
        description="Conditions (all of an entry must hold): a value, a list of values, `{min: a, max: b}` (both "
        "included), or `{not: …}` of these.",
    )
    when: dict[str, dict[str, Any]] = Field(
        {},
        description="An axis that exists only where a condition on other axes holds: `when: {q_star: {gain: "
        "critical}}`. Elsewhere it is absent.",
    )


class SweepModel(GridModel):
    """A whole sweep file."""

    name: Annotated[str, BeforeValidator(_name)] = Field(
        description="Name of the sweep: letters, digits, dot, dash, underscore."
    )
    grids: tuple[dict[str, Any], ...] = Field(
        (), description="Several grids, one after the other: each entry is laid over the keys of the file."
    )


# Where a scalar stands in the file → the plain name that include, exclude, when, zip, --where and the tables use. An
# argument of a user's module keeps its own.
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
    ("data", "validation"): "data_validation",
    ("data", "test"): "data_test",
    ("data", "standardise"): "data_standardise",
    ("data", "augmentation", "flip"): "augmentation_flip",
    ("data", "augmentation", "shift"): "augmentation_shift",
    ("data", "augmentation", "crop"): "augmentation_crop",
    ("measure", "fisher", "samples"): "fisher_samples",
    ("measure", "fisher", "likelihood"): "fisher_likelihood",
    ("measure", "fisher", "layers"): "fisher_layers",
    ("measure", "fisher", "method"): "fisher_method",
    ("measure", "fisher", "memory"): "fisher_memory",
    ("measure", "fisher", "parameters"): "fisher_parameter_set",
    ("measure", "fisher", "kind"): "fisher_kind",
    ("measure", "fisher", "centred"): "fisher_centred",
    ("measure", "fisher", "bounds"): "fisher_bounds",
    ("measure", "fisher", "damping"): "fisher_damping",
    ("measure", "fisher", "leading"): "fisher_leading",
    ("measure", "fisher", "steps"): "fisher_steps",
    ("measure", "fisher", "probes"): "fisher_probes",
    ("measure", "jacobian", "samples"): "jacobian_samples",
    ("measure", "dtype"): "dtype",
    ("seeds",): "seed",
}
