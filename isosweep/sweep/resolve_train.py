"""The training of a point: defaults filled in, idle options dropped, what cannot be trained refused."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .errors import Impossible
from .settings import DataSettings, MeasureSettings, ModuleSettings, NetworkSettings
from .train_schema import TRAIN_AXES
from .train_settings import OPTIMIZER_OPTIONS, PointSettings, TrainSettings

if TYPE_CHECKING:
    from .grid import Point

__all__ = ["IDLE_TRAIN_OPTIONS", "TRAIN", "Marks", "resolve_train"]

TRAIN = tuple(TRAIN_AXES.values())
# (epochs, steps) of `train.measure`
Marks = tuple[tuple[int, ...], tuple[int, ...]]
_REQUIRED = ("epochs", "batch", "optimizer", "learning_rate", "manifold", "schedule", "train_dtype")
_RIEMANNIAN = ("riemannian_sgd", "riemannian_adam")
_LOSSES = {"categorical": "cross_entropy", "gaussian": "squared_error"}
# An option that may be idle → where it has an effect, for a sweep in which it has none.
IDLE_TRAIN_OPTIONS = {
    "learning_rate_manifold": "manifold: stiefel or oblique, scales: true, or optimizer: muon",
    "learning_rate_scale": "manifold: stiefel or oblique, or scales: true",
    "orthogonality_penalty": "manifold: oblique",
    "decay_every": "schedule: step",
    "decay_factor": "schedule: step",
    **{
        option: "optimizer: " + ", ".join(name for name, own in OPTIMIZER_OPTIONS.items() if option in own)
        for option in ("momentum", "beta1", "beta2", "eps")
    },
}


def resolve_train(
    point: Point,
    marks: Marks,
    network: NetworkSettings | ModuleSettings,
    data: DataSettings,
    measure: MeasureSettings,
    used: set[str],
) -> TrainSettings:
    """The training of `point`, its other settings being known; what had an effect is added to `used`.

    Raises:
        Impossible: it cannot be trained like that.
    """
    for name in _REQUIRED:
        if point.get(name) is None:
            key = ".".join(next(path for path, axis in TRAIN_AXES.items() if axis == name))
            raise Impossible(name, f"{key} is missing: a run that trains needs it")
    if point["batch"] > data.samples:
        raise Impossible("batch", f"a batch of {point['batch']} is more than the {data.samples} samples to train on")
    manifold, optimizer = point["manifold"], point["optimizer"]
    _check_manifold(manifold, optimizer, network, data)
    options: dict[str, Any] = {}
    for name, default in OPTIMIZER_OPTIONS[optimizer].items():
        used.add(name)
        given = point.get(name)
        options[name] = default if given is None else given
    schedule = point["schedule"]
    decay_every = decay_factor = None
    if schedule == "step":
        used.update(("decay_every", "decay_factor"))
        decay_every, decay_factor = point.get("decay_every"), point.get("decay_factor")
        if decay_every is None or decay_factor is None:
            raise Impossible("schedule", "step needs train.decay_every and train.decay_factor")
    warmup = point.get("warmup") or 0.0
    if warmup > point["epochs"]:
        raise Impossible("warmup", f"a warm-up of {warmup:g} epochs is longer than the {point['epochs']} of training")
    penalty = None
    if manifold == "oblique":
        used.add("orthogonality_penalty")
        penalty = point.get("orthogonality_penalty") or None
    blend = point.get("blend") or None
    if blend is not None:
        shape = network.architecture if isinstance(network, NetworkSettings) else None
        if shape is None or shape.weight_bits is None:
            raise Impossible("blend", "weights are blended with their quantised values: expected network.weight_bits")
        used.add("blend")
    loss = point.get("loss_function")
    if loss is None:
        loss = _LOSSES["categorical" if measure.fisher is None else measure.fisher.likelihood]
    if loss == "cross_entropy" and data.classes < 2:
        raise Impossible("data_classes", "cross entropy over one class is always 0: expected 2 classes")
    apart, scale = _learning_rates(point, used)
    return TrainSettings(
        epochs=point["epochs"],
        batch=point["batch"],
        optimizer=optimizer,
        learning_rate=point["learning_rate"],
        learning_rate_manifold=apart,
        learning_rate_scale=scale,
        **options,
        manifold=manifold,
        orthogonality_penalty=penalty,
        schedule=schedule,
        warmup=warmup,
        decay_every=decay_every,
        decay_factor=decay_factor,
        clip=point.get("clip"),
        blend=blend,
        loss=loss,
        dtype=point["train_dtype"],
        points=_points(point, marks, data, measure),
    )


def _check_manifold(
    manifold: str, optimizer: str, network: NetworkSettings | ModuleSettings, data: DataSettings
) -> None:
    if manifold == "euclidean":
        return
    if optimizer not in _RIEMANNIAN:
        raise Impossible(
            "optimizer", f"{optimizer} moves no weights along {manifold}: expected {' or '.join(_RIEMANNIAN)}"
        )
    if manifold != "stiefel" or not isinstance(network, NetworkSettings):
        return  # what a network of one's own has is seen when it is built
    shape = network.architecture
    widths = (shape.widths if shape is not None else None) or (network.width,) * network.depth
    for layer, (columns, rows) in enumerate(pairwise((data.inputs, *widths)), start=1):
        if rows > columns:
            raise Impossible(
                "manifold",
                f"stiefel asks for orthonormal rows, and layer {layer} has {rows} rows of {columns} columns: "
                f"expected a width of at most {columns}, or oblique",
            )
    if network.init not in (None, "orthogonal"):
        raise Impossible(
            "manifold", f"stiefel starts from orthonormal rows: expected init: orthogonal, not {network.init}"
        )


def _learning_rates(point: Point, used: set[str]) -> tuple[float | None, float | None]:
    """(of weights that are moved apart, of scales); None where there are none of them."""
    on_manifold = point["manifold"] != "euclidean"
    scales = point.get("layer_scales")
    scaled = on_manifold if scales is None else scales
    apart = rate = None
    if on_manifold or scaled or point["optimizer"] == "muon":
        used.add("learning_rate_manifold")
        apart = point.get("learning_rate_manifold") or point["learning_rate"]
    if scaled:
        used.add("learning_rate_scale")
        rate = point.get("learning_rate_scale") or point["learning_rate"]
    elif on_manifold:
        rate = 0.0  # there are scales, and they stay
    return apart, rate


def _points(point: Point, marks: Marks, data: DataSettings, measure: MeasureSettings) -> PointSettings:
    epochs, steps = (tuple(sorted(set(values))) for values in marks)
    last = point["epochs"]
    if epochs and epochs[-1] > last:
        raise Impossible("epochs", f"train.measure.epochs names epoch {epochs[-1]} of a training of {last}")
    total = last * (data.samples // point["batch"])
    if steps and steps[-1] > total:
        raise Impossible("epochs", f"train.measure.steps names step {steps[-1]} of a training of {total} steps")
    measured = measure.fisher.samples if measure.fisher is not None else 0
    if measure.fisher is None and measure.jacobian is not None:
        measured = measure.jacobian.samples
    kernel = point.get("kernel_samples")
    if kernel is not None and kernel > measured:
        raise Impossible("kernel_samples", f"the kernel's {kernel} inputs are the first of the {measured} measured on")
    if kernel is not None and data.classes < 2:
        raise Impossible("kernel_samples", "one class leaves no labels to be aligned with: expected 2")
    return PointSettings(epochs, steps, point.get("hessian_count"), kernel, point.get("smoothness_every"))
