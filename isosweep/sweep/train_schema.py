"""The `train` section of the sweep file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .axis_types import EXPAND, Moderate, Positive, Section, Switch, Whole, expand_axis

__all__ = ["TRAIN_AXES", "OptimizerName", "PointsSection", "TrainSection"]

OptimizerName = Literal["sgd", "adam", "adamw", "riemannian_sgd", "riemannian_adam", "sign_sgd", "muon"]
ManifoldName = Literal["euclidean", "stiefel", "oblique"]
ScheduleName = Literal["constant", "linear", "cosine", "step"]

_Above0 = Annotated[Moderate, Field(gt=0)]
_From0 = Annotated[Moderate, Field(ge=0)]
_Share = Annotated[Moderate, Field(ge=0, lt=1)]
_Points = Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], BeforeValidator(expand_axis)]


class PointsSection(Section):
    """What is measured along the training, and when. Step 0 is always measured; without points, the end is."""

    epochs: _Points = Field(
        (), description="Epochs after which spectra are measured; a list or a generator, not an axis."
    )
    steps: _Points = Field((), description="Steps after which spectra are measured; the same.")
    hessian: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None,
        description="Number of leading eigenvalues of the loss's Hessian at each point, on the Fisher's inputs "
        "(Lanczos, re-orthogonalised; vectors of all parameters are held, up to 8 GiB; beyond, it begins again from "
        "them).",
    )
    kernel: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None,
        description="Number of inputs (the first of the Fisher's) of the tangent kernel, whose drift and alignment "
        "with the labels are measured at each point.",
    )
    smoothness: Annotated[tuple[Positive, ...], EXPAND] | None = Field(
        None,
        description="Measure |Δg|/|Δθ| against |g| at every so many steps, on the Fisher's inputs; two gradients each.",
    )


class TrainSection(Section):
    """Training by minibatches; the run is measured at initialisation and along the way."""

    epochs: Annotated[tuple[Positive, ...], EXPAND] = Field(description="Times through the training split.")
    batch: Annotated[tuple[Positive, ...], EXPAND] = Field(
        description="Samples of a minibatch: a slice of a permutation that seed and epoch determine. What is left over "
        "of a permutation waits for the next epoch's."
    )
    optimizer: Annotated[tuple[OptimizerName, ...], EXPAND] = Field(
        description="`sgd` with momentum, `adam`, `adamw`; `riemannian_sgd`, `riemannian_adam`: the same along a "
        "manifold (on the Euclidean one they are sgd and adam); `sign_sgd`: generalised SignSGD; `muon`: the hidden "
        "weights by Muon, the rest by Adam."
    )
    learning_rate: Annotated[tuple[_Above0, ...], EXPAND] = Field(
        description="η of biases and readout, and of all weights that are not moved apart."
    )
    learning_rate_manifold: Annotated[tuple[_Above0, ...], EXPAND] | None = Field(
        None,
        description="η of hidden weights on a manifold, with scales of their own, or moved by muon "
        "(`learning_rate` if absent).",
    )
    learning_rate_scale: Annotated[tuple[_Above0, ...], EXPAND] | None = Field(
        None, description="η of the layers' scales (`learning_rate` if absent)."
    )
    momentum: Annotated[tuple[_Share, ...], EXPAND] | None = Field(
        None, description="μ of sgd (0 if absent) and of muon's hidden weights (0.95)."
    )
    beta1: Annotated[tuple[_Share, ...], EXPAND] | None = Field(
        None, description="β1 of the mean of gradients (0.9 if absent): adam, adamw, sign_sgd, muon's other weights."
    )
    beta2: Annotated[tuple[_Share, ...], EXPAND] | None = Field(
        None,
        description="β2 of the mean of squares: adam, adamw, muon's other weights (0.999 if absent); sign_sgd (0: "
        "plain SignSGD).",
    )
    eps: Annotated[tuple[_Above0, ...], EXPAND] | None = Field(
        None, description="ε of adam and its kin, added to √v̂ (1e-8 if absent)."
    )
    weight_decay: Annotated[tuple[_From0, ...], EXPAND] | None = Field(
        None,
        description="λ: added to the gradient as λθ, decoupled for adamw (0.01 if absent) and muon's hidden weights. "
        "Not for scales, nor for weights on a manifold (0 if absent).",
    )
    manifold: Annotated[tuple[ManifoldName, ...], EXPAND] = Field(
        ("euclidean",),
        description="Where hidden weights move: `stiefel`: orthonormal rows (layers with no more rows than columns, "
        "from `init: orthogonal`); `oblique`: unit rows.",
    )
    scales: Annotated[tuple[Switch, ...], EXPAND] | None = Field(
        None,
        description="Whether each hidden layer has a non-negative scale that is trained: weights are scale · X "
        "(if absent: on stiefel and oblique). On these, `false` keeps the scales of the start.",
    )
    orthogonality_penalty: Annotated[tuple[_From0, ...], EXPAND] | None = Field(
        None, description="ω of the penalty (ω/2)‖XXᵀ − I‖² on oblique (0 if absent)."
    )
    schedule: Annotated[tuple[ScheduleName, ...], EXPAND] = Field(
        ("constant",),
        description="Factor of all learning rates: `constant`; `linear` and `cosine` from 1 to 0; `step`: times "
        "`decay_factor` at every `decay_every` epochs.",
    )
    warmup: Annotated[tuple[_From0, ...], EXPAND] | None = Field(
        None, description="Epochs over which the factor first rises linearly (0 if absent)."
    )
    decay_every: Annotated[tuple[_Above0, ...], EXPAND] | None = Field(None, description="Epochs; for `step`.")
    decay_factor: Annotated[tuple[Annotated[Moderate, Field(gt=0, le=1)], ...], EXPAND] | None = Field(
        None, description="Factor; for `step`."
    )
    clip: Annotated[tuple[_Above0, ...], EXPAND] | None = Field(
        None, description="Largest norm of a minibatch's gradient; longer ones are scaled down to it (none if absent)."
    )
    blend: Annotated[tuple[Annotated[Moderate, Field(ge=0, lt=1)], ...], EXPAND] | None = Field(
        None,
        description="ρ of blended coarse gradient descent (Yin et al. 2019), for layers with `weight_bits`: before "
        "each step w ← (1 − ρ)w + ρ·Q(w). 0, as if absent, is the plain coarse gradient.",
    )
    loss: Annotated[tuple[Literal["cross_entropy", "squared_error"], ...], EXPAND] | None = Field(
        None,
        description="`cross_entropy` of the softmax, or `squared_error` ½|f − e_label|². If absent, that of the "
        "Fisher's likelihood (categorical where it is not measured).",
    )
    dtype: Annotated[tuple[Literal["float32", "float64"], ...], EXPAND] = Field(
        ("float32",), description="Floating type of the training; what is measured has `measure.dtype`."
    )
    measure: PointsSection = Field(
        default_factory=PointsSection, description="What is measured along the way, and when."
    )


# See `isosweep.sweep.schema.AXES`.
TRAIN_AXES: dict[tuple[str, ...], str] = {
    **{
        ("train", name): name
        for name in TrainSection.model_fields
        if name not in ("loss", "dtype", "measure", "scales")
    },
    ("train", "scales"): "layer_scales",
    ("train", "loss"): "loss_function",
    ("train", "dtype"): "train_dtype",
    ("train", "measure", "hessian"): "hessian_count",
    ("train", "measure", "kernel"): "kernel_samples",
    ("train", "measure", "smoothness"): "smoothness_every",
}
