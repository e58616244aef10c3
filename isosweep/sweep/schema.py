"""The sweep file as pydantic models: its keys, their types, and how an axis is spelled.

Every scalar is an axis of one or more values, spelled as a value, a list, or a generator ``{range|linspace|logspace:
[…]}``. The field descriptions here are the reference: `docs/sweep-file.md` is generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from .axis_types import (
    EXPAND,
    Bits,
    Flag,
    Gain,
    Moderate,
    Name,
    Pixels,
    Positive,
    Real,
    Section,
    Switch,
    Target,
    Whole,
    WidthsText,
    expand_seeds,
    expand_widths,
    refuse,
)
from .train_schema import TRAIN_AXES, TrainSection
from .tune_schema import TuneSection

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
    "TrainSection",
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
ArchitectureName = Literal["dense", "residual", "convolutional"]
SchemeName = Literal["euler", "heun", "ssp3"]
NormalizationName = Literal["none", "layer", "rms", "batch"]
ParametrizationName = Literal["standard", "ntk", "mup"]
InitName = Literal["orthogonal", "gaussian"]
DataName = Literal["digits", "gaussian", "mnist", "fashion_mnist", "cifar10", "svhn"]
Likelihood = Literal["categorical", "gaussian"]
MeasuredSplit = Literal["train", "test"]
ScaleName = Literal["unit", "fixed_point", "fixed_point_or_unit", "raw"]


class DenseSection(Section):
    """A dense network: `depth` hidden layers of `width` units, then a linear readout."""

    depth: Annotated[tuple[Positive, ...], EXPAND] = Field(
        description="Number of hidden layers L; a linear readout follows."
    )
    width: Annotated[tuple[Positive, ...], EXPAND] = Field(description="Units N of every hidden layer.")
    activation: Annotated[tuple[ActivationName, ...], EXPAND] = Field(description="Activation φ of the hidden layers.")
    negative_slope: Annotated[tuple[Annotated[Real, Field(ge=0, lt=1)], ...], EXPAND] | None = Field(
        None, description="Slope of leaky_relu below 0 (0.01 if absent). Without effect on the others."
    )
    init: Annotated[tuple[InitName, ...], EXPAND] | None = Field(
        None,
        description="`orthogonal`: σ_w·√max(1, N_l/N_{l−1}) times a Haar matrix with orthonormal rows or columns; "
        "`gaussian`: entries of variance σ_w²/N_{l−1}. "
        "The readout is drawn like any layer. Required unless `checkpoint` is given.",
    )
    gain: Annotated[tuple[Gain, ...], EXPAND] | None = Field(
        None,
        description="σ_w, or `critical`: the σ_w (and σ_b) at which χ = 1, by `q_star` or for the given `bias_std`. "
        "Required unless `checkpoint` is given.",
    )
    bias_std: Annotated[tuple[Annotated[Moderate, Field(ge=0)], ...], EXPAND] | None = Field(
        None,
        description="σ_b, standard deviation of the biases (0 if absent). Excluded by `gain: critical` with `q_star`.",
    )
    q_star: Annotated[tuple[Annotated[Moderate, Field(gt=0)], ...], EXPAND] | None = Field(
        None,
        description="Pre-activation variance q* of `gain: critical`; also the q that `data.scale: fixed_point` "
        "starts from where every q is a fixed point.",
    )
    checkpoint: Annotated[tuple[str, ...], EXPAND] | None = Field(
        None,
        description="A safetensors file with your own weights for this network (keys as in its state_dict), relative "
        "to the sweep file. Its checksum enters the run id.",
    )
    architecture: Annotated[tuple[ArchitectureName, ...], EXPAND] | None = Field(
        None,
        description="`dense` (default): a chain; `residual`: the first layer, then L − 1 blocks x ← x + Δt·φ(Wx + b); "
        "`convolutional`: L convolutions of `width` channels, the mean over all places, the readout.",
    )
    time_step: Annotated[tuple[Annotated[Moderate, Field(gt=0)], ...], EXPAND] | None = Field(
        None, description="Step size Δt of a residual block (1 if absent)."
    )
    scheme: Annotated[tuple[SchemeName, ...], EXPAND] | None = Field(
        None,
        description="Explicit scheme of a residual block: `euler` (default), `heun` of order 2, `ssp3` of order 3.",
    )
    block_steps: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None, description="Steps of a residual block, all with the block's own parameters (1 if absent)."
    )
    normalization: Annotated[tuple[NormalizationName, ...], EXPAND] | None = Field(
        None,
        description="`none` (default), `layer`, `rms` or `batch`, between every hidden layer and its φ; in residual "
        "networks by `normalization_position`. `batch`: with the statistics of the measured batch, held fixed, "
        "where it is measured, and each minibatch's own where it is trained.",
    )
    normalization_position: Annotated[tuple[Literal["pre", "post"], ...], EXPAND] | None = Field(
        None, description="In residual networks: `pre` (default) normalises what a branch reads, `post` the sum."
    )
    tied: Annotated[tuple[Switch, ...], EXPAND] | None = Field(
        None, description="Hidden layers 2 … L are one layer (false if absent)."
    )
    biases: Annotated[tuple[Switch, ...], EXPAND] | None = Field(
        None, description="Whether layers have biases (true if absent); `false` excludes σ_b > 0."
    )
    weight_bits: Annotated[tuple[Bits, ...], EXPAND] | None = Field(
        None,
        description="Bits a weight of the hidden layers (not quantised if absent): 1 is mean|w|·sign(w), more the "
        "nearest level on a least-squares scale. Curvature is that of the coarse derivative.",
    )
    activation_bits: Annotated[tuple[Bits, ...], EXPAND] | None = Field(
        None, description="Bits an activation: relu clipped at `activation_clip`, on a uniform grid; only for relu."
    )
    activation_clip: Annotated[tuple[Annotated[Moderate, Field(gt=0)], ...], EXPAND] | None = Field(
        None, description="Where quantised activations are clipped, α (1 if absent)."
    )
    widths: Annotated[tuple[WidthsText, ...], BeforeValidator(expand_widths)] | None = Field(
        None,
        description="Units of every hidden layer in turn, in place of `depth` and `width`: one list of whole numbers "
        "is one value, a list of lists several; elsewhere a value is spelled `784-512-256`.",
    )
    parametrization: Annotated[tuple[ParametrizationName, ...], EXPAND] | None = Field(
        None,
        description="`standard` (default); `ntk`: σ_w/√N outside of the weights; `mup`: maximal update. Biases and "
        "factors as in isosweep.networks.scaled.",
    )
    readout_scale: Annotated[tuple[Annotated[Moderate, Field(gt=0)], ...], EXPAND] | None = Field(
        None, description="A factor of the readout's σ_w (1 if absent)."
    )
    kernel: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None, description="Edge of a convolution's kernel, odd (3 if absent)."
    )
    padding: Annotated[tuple[Literal["circular", "zeros"], ...], EXPAND] | None = Field(
        None, description="Of convolutions: `circular` (default) or `zeros`."
    )

    @model_validator(mode="before")
    @classmethod
    def _widths_stand_for_depth_and_width(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or raw.get("widths") is None:
            return raw
        for key in ("depth", "width"):
            if key in raw:
                raise refuse(f"`widths` says every layer's width: leave `{key}` out")
        # What stands in their place until the widths are known, point by point.
        return {**raw, "depth": 1, "width": 1}


class ModuleSection(Section):
    """A network of your own: every other key of the section is a named argument of the function, and may be an axis."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[tuple[Flag, ...], EXPAND]]

    module: Annotated[tuple[Target, ...], EXPAND] = Field(
        description="`package.module:function`, found beside the sweep file or on the Python path. The function "
        "returns a torch.nn.Sequential; "
        "`inputs`, `classes` and `seed` are passed if it names them. Whole numbers arrive as int, however they are "
        "written. The checksum of its source files, and of the modules beside them that they import, enters the run id."
    )
    checkpoint: Annotated[tuple[str, ...], EXPAND] | None = Field(
        None, description="A safetensors file with weights for the returned network."
    )


class AugmentationSection(Section):
    """How the images of a training step are changed, anew in every epoch, by the seed, the epoch and the example."""

    flip: Annotated[tuple[Switch, ...], EXPAND] | None = Field(
        None, description="Mirror left and right, with probability ½."
    )
    shift: Annotated[tuple[Pixels, ...], EXPAND] | None = Field(
        None,
        description="Move by up to so many pixels in each direction, all offsets alike; what comes in is 0 (the mean "
        "of its channel where `standardise` is on).",
    )
    crop: Annotated[tuple[Pixels, ...], EXPAND] | None = Field(
        None,
        description="Take a window that is so many pixels smaller, anywhere, and stretch it to the whole size "
        "(bilinear).",
    )


class DataSection(Section):
    """What the network is measured on."""

    name: Annotated[tuple[DataName, ...], EXPAND] = Field(
        description="`digits`: 1,797 images of 8 × 8, embedded; `gaussian`: independent standard normal inputs; "
        "`mnist`, `fashion_mnist`: IDX files; `cifar10`: the python or the binary archive, unpacked or not; `svhn`: "
        "the .mat files of 32 × 32. See docs/data.md."
    )
    samples: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None,
        description="Size of the training split, drawn by the run's seed (all that the other splits leave if absent; "
        "required for gaussian).",
    )
    validation: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None,
        description="Size of the validation split, drawn by the seed from what the training split leaves of the "
        "training set (none if absent).",
    )
    test: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None,
        description="Size of the test split, drawn by the seed from the set's own test set, or, for a set without "
        "one, from what the other splits leave (none if absent).",
    )
    standardise: Annotated[tuple[Switch, ...], EXPAND] | None = Field(
        None,
        description="Bring each channel to mean 0 and variance 1 over the training split before `scale` (false if "
        "absent).",
    )
    augmentation: AugmentationSection | None = Field(None, description="Augmentation of training images.")
    scale: Annotated[tuple[ScaleName, ...], EXPAND] | None = Field(
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
    inputs: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None, description="Input dimension N_0; only for `gaussian`."
    )
    classes: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None, description="Number of classes C; only for `gaussian`."
    )


class FisherSection(Section):
    """The Fisher information matrix of the network's likelihood, averaged over the first samples of a split."""

    samples: Annotated[tuple[Positive, ...], EXPAND] = Field(
        description="Number n of inputs the Fisher is averaged over."
    )
    data: Annotated[tuple[MeasuredSplit, ...], EXPAND] = Field(
        ("train",), description="The split that they are the first of: `train` or `test`."
    )
    likelihood: Annotated[tuple[Likelihood, ...], EXPAND] = Field(
        ("categorical",), description="`categorical` (softmax of the outputs) or `gaussian` (unit variance)."
    )
    layers: Annotated[tuple[Literal["summary", "spectrum", "none"], ...], EXPAND] = Field(
        ("summary",),
        description="Each layer's diagonal block: `summary` (λ_max, trace, rank), its whole `spectrum`, or `none`. "
        "The method lanczos has none of them.",
    )
    method: Annotated[tuple[Literal["dual", "lanczos", "auto"], ...], EXPAND] = Field(
        ("dual",),
        description="`dual`: the whole spectrum, exact. `lanczos`: its leading eigenvalues, matrix-free, each with its "
        "error. `auto`: the dual where the bytes it needs by the run's shapes are within `memory`; what was chosen is "
        "the run's setting (column `fisher_method`), whatever node runs it. For a network of your own, whose shapes "
        "are not known here, name one.",
    )
    memory: Annotated[tuple[Annotated[Real, Field(gt=0)], ...], EXPAND] | None = Field(
        None, description="Budget of `method: auto` in GiB above the network (8 if absent). Without effect on others."
    )
    parameters: Annotated[tuple[Literal["all", "weights"], ...], EXPAND] = Field(
        ("all",), description="Which parameters count: `all`, or `weights` without biases."
    )
    kind: Annotated[tuple[Literal["true", "empirical"], ...], EXPAND] = Field(
        ("true",),
        description="`true`: over the network's own distribution of labels. `empirical`: the mean of ggᵀ over the "
        "gradients of the loss at the data's labels (gaussian: at their one-hot vectors).",
    )
    centred: Annotated[tuple[Switch, ...], EXPAND] = Field(
        (False,), description="Whether the batch's mean Jacobian is subtracted from every sample's (Karakida 2019)."
    )
    bounds: Annotated[tuple[Switch, ...], EXPAND] = Field(
        (False,),
        description="Upper bounds of λ_max beside it: three (two of them from estimated norms in large networks), and "
        "Sokol and Park's approximation (columns `fisher_bound_…`, `fisher_sokol_park`). For all parameters, the true "
        "Fisher, not centred.",
    )
    damping: Annotated[tuple[Annotated[Moderate, Field(gt=0)], ...], EXPAND] | None = Field(
        None,
        description="λ of the effective dimension tr F(F + λI)⁻¹ and of log det(I + F/λ): columns "
        "`fisher_effective_dimension`, `fisher_log_determinant`. With lanczos they are estimated, and `probes` needed.",
    )
    leading: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None, description="For lanczos: how many leading eigenvalues (10 if absent)."
    )
    steps: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None, description="For lanczos: largest dimension of the Krylov space (200 if absent)."
    )
    probes: Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], EXPAND] | None = Field(
        None,
        description="For lanczos: random probes of the density of all eigenvalues, each as many steps (0 if absent: "
        "none). The error of what is read from the density comes with it from 2 on.",
    )


class JacobianSection(Section):
    """The input-output Jacobian ∂x^L/∂x^0, one for each of the first samples."""

    samples: Annotated[tuple[Positive, ...], EXPAND] = Field(
        description="Number m of inputs; at most the Fisher's, whose first m they are where both are of one split."
    )
    data: Annotated[tuple[MeasuredSplit, ...], EXPAND] = Field(
        ("train",), description="The split that they are the first of: `train` or `test`."
    )


class MeasureSection(Section):
    """What is measured. Without the section, both are, with 64 and 16 samples."""

    fisher: FisherSection | None = Field(None, description="Left out: not measured.")
    jacobian: JacobianSection | None = Field(None, description="Left out: not measured.")
    dtype: Annotated[tuple[Literal["float64", "float32"], ...], EXPAND] = Field(
        ("float64",), description="Floating type of the measurement, on every device."
    )
    reversal: Annotated[tuple[Switch, ...], EXPAND] | None = Field(
        None,
        description="Of residual networks: the errors of going back in time through the blocks, in place of keeping or "
        "recomputing their states (false if absent).",
    )


def _network_kind(raw: Any) -> str:
    if isinstance(raw, Mapping):
        return "module" if "module" in raw else "dense"
    return "module" if isinstance(raw, ModuleSection) else "dense"


class GridModel(Section):
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
    train: TrainSection | None = Field(None, description="The training. Left out: measured at initialisation alone.")
    seeds: Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], BeforeValidator(expand_seeds)] = Field(
        (0,), description="`3` is 0, 1, 2; or a list, or a generator."
    )
    tune: TuneSection | None = Field(
        None, description="What `isosweep tune` searches. Of no effect on the sweep itself."
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

    name: Name = Field(description="Name of the sweep: letters, digits, dot, dash, underscore.")
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
    ("network", "architecture"): "architecture",
    ("network", "time_step"): "time_step",
    ("network", "scheme"): "scheme",
    ("network", "block_steps"): "block_steps",
    ("network", "normalization"): "normalization",
    ("network", "normalization_position"): "normalization_position",
    ("network", "tied"): "tied",
    ("network", "biases"): "biases",
    ("network", "weight_bits"): "weight_bits",
    ("network", "activation_bits"): "activation_bits",
    ("network", "activation_clip"): "activation_clip",
    ("network", "widths"): "widths",
    ("network", "parametrization"): "parametrization",
    ("network", "readout_scale"): "readout_scale",
    ("network", "kernel"): "kernel",
    ("network", "padding"): "padding",
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
    ("measure", "fisher", "data"): "fisher_data",
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
    ("measure", "jacobian", "data"): "jacobian_data",
    ("measure", "dtype"): "dtype",
    ("measure", "reversal"): "reversal",
    **TRAIN_AXES,
    ("seeds",): "seed",
}
