"""Run ids: what enters, and what must not."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_files import BASE, ids, loaded, spec

from isosweep.sweep.architecture_settings import ArchitectureSettings
from isosweep.sweep.identity import ID_DIGITS, MEASUREMENT_VERSION, run_id
from isosweep.sweep.schema import AXES
from isosweep.sweep.settings import (
    AugmentationSettings,
    DataSettings,
    FisherSettings,
    JacobianSettings,
    MeasureSettings,
    ModuleSettings,
    NetworkSettings,
    Run,
    from_json,
    to_json,
)
from isosweep.sweep.train_settings import PointSettings, TrainSettings

AXES_OF_A_SWEEP = st.fixed_dictionaries(
    {
        "depth": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
        "width": st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True),
        "activation": st.lists(st.sampled_from(["tanh", "relu", "erf"]), min_size=1, max_size=2, unique=True),
        "init": st.lists(st.sampled_from(["orthogonal", "gaussian"]), min_size=1, max_size=2, unique=True),
        "gain": st.lists(st.floats(0.01, 10), min_size=1, max_size=2, unique=True),
    }
)


def shuffled(value: Any, dice: random.Random) -> Any:
    """The same keys and values in another order of keys."""
    if isinstance(value, dict):
        items = list(value.items())
        dice.shuffle(items)
        return {k: shuffled(v, dice) for k, v in items}
    return value


@settings(max_examples=40, deadline=None)
@given(axes=AXES_OF_A_SWEEP, seed=st.integers(0, 10**6))
def test_order_of_keys_axes_and_values_does_not_matter(axes: dict[str, list[Any]], seed: int) -> None:
    dice = random.Random(seed)
    one = spec(network=axes, seeds=2)
    other = shuffled(one, dice)
    for values in other["network"].values():
        dice.shuffle(values)
    assert set(ids(one)) == set(ids(other))


@settings(max_examples=40, deadline=None)
@given(axes=AXES_OF_A_SWEEP)
def test_an_override_is_as_if_it_stood_in_the_file(axes: dict[str, list[Any]]) -> None:
    plain = spec(network=axes, seeds=2)
    overrides = [f"network.{name}={json.dumps(values)}" for name, values in axes.items()]
    assert ids(BASE, [*overrides, "seeds=2"]) == ids(plain)


@settings(max_examples=40, deadline=None)
@given(axes=AXES_OF_A_SWEEP, seeds=st.integers(1, 3), more=st.integers(0, 3), depth=st.integers(10, 12))
def test_adding_seeds_or_points_only_adds_ids(axes: dict[str, list[Any]], seeds: int, more: int, depth: int) -> None:
    before = ids(spec(network=axes, seeds=seeds))
    assert len(set(before)) == len(before)
    after = ids(spec(network={**axes, "depth": [*axes["depth"], depth]}, seeds=seeds + more))
    assert set(before) <= set(after)
    assert len(after) == len(before) // seeds // len(axes["depth"]) * (seeds + more) * (len(axes["depth"]) + 1)
    included = ids(spec(network=axes, seeds=seeds, include=[{"depth": depth}]))
    assert included[: len(before)] == before
    assert set(included) <= set(ids(spec(network={**axes, "depth": [*axes["depth"], depth]}, seeds=seeds)))


TRAIN = {"epochs": 2, "batch": 16, "optimizer": "riemannian_adam", "learning_rate": 0.01}


def training(**changes: Any) -> dict[str, Any]:
    """The changes to a sweep file that let it train."""
    return {f"train__{name}": value for name, value in (TRAIN | changes).items()}


# For every axis another value than BASE's, and what else the file then needs.
OTHER: dict[str, tuple[Any, dict[str, Any]]] = {
    "depth": (5, {}),
    "width": (9, {}),
    "activation": ("relu", {}),
    "negative_slope": (0.2, {"network__activation": "leaky_relu"}),
    "init": ("gaussian", {}),
    "gain": (1.1, {}),
    "bias_std": (0.1, {}),
    "q_star": (0.25, {"network__gain": "critical", "network__q_star": 0.5}),
    "architecture": ("residual", {}),
    "time_step": (0.5, {"network__architecture": "residual"}),
    "scheme": ("heun", {"network__architecture": "residual"}),
    "block_steps": (2, {"network__architecture": "residual"}),
    "normalization": ("rms", {}),
    "normalization_position": ("post", {"network__architecture": "residual", "network__normalization": "layer"}),
    "tied": (True, {"network__depth": 4}),
    "biases": (False, {}),
    "weight_bits": (2, {}),
    "activation_bits": (2, {"network__activation": "relu", "network__activation_bits": 3}),
    "activation_clip": (2.0, {"network__activation": "relu", "network__activation_bits": 3}),
    "parametrization": ("ntk", {}),
    "readout_scale": (0.5, {}),
    "kernel": (5, {"network__architecture": "convolutional"}),
    "padding": ("zeros", {"network__architecture": "convolutional"}),
    "data": ("gaussian", {"data__inputs": 64, "data__classes": 10}),
    "data_samples": (65, {}),
    "data_scale": ("raw", {}),
    "data_inputs": (5, {"data__name": "gaussian", "data__inputs": 6, "data__classes": 10}),
    "data_classes": (5, {"data__name": "gaussian", "data__inputs": 6, "data__classes": 10}),
    "data_validation": (60, training() | {"data__validation": 50}),
    "data_test": (60, training() | {"data__test": 50}),
    "data_standardise": (True, {}),
    "augmentation_flip": (True, training()),
    "augmentation_shift": (2, training()),
    "augmentation_crop": (2, training()),
    "fisher_samples": (15, {}),
    "fisher_data": ("test", training() | {"data__test": 50}),
    "fisher_likelihood": ("gaussian", {}),
    "fisher_layers": ("none", {}),
    "fisher_method": ("lanczos", {}),
    "fisher_memory": (1e-3, {"measure__fisher__method": "auto", "measure__fisher__memory": 1, "network__width": 40}),
    "fisher_parameter_set": ("weights", {}),
    "fisher_kind": ("empirical", {}),
    "fisher_centred": (True, {}),
    "fisher_bounds": (True, {}),
    "fisher_damping": (0.1, {}),
    "fisher_leading": (7, {"measure__fisher__method": "lanczos"}),
    "fisher_steps": (50, {"measure__fisher__method": "lanczos"}),
    "fisher_probes": (3, {"measure__fisher__method": "lanczos"}),
    "jacobian_samples": (3, {}),
    "jacobian_data": ("test", training() | {"data__test": 50}),
    "epochs": (3, training()),
    "batch": (15, training()),
    "optimizer": ("adamw", training()),
    "learning_rate": (0.02, training()),
    "learning_rate_manifold": (0.02, training(manifold="stiefel")),
    "learning_rate_scale": (0.02, training(manifold="stiefel")),
    "momentum": (0.5, training(optimizer="sgd")),
    "beta1": (0.5, training()),
    "beta2": (0.5, training()),
    "eps": (1e-3, training()),
    "weight_decay": (0.1, training()),
    "manifold": ("oblique", training(manifold="stiefel")),
    "layer_scales": (True, training()),
    "orthogonality_penalty": (0.1, training(manifold="oblique")),
    "schedule": ("cosine", training()),
    "warmup": (1, training()),
    "decay_every": (1, training(schedule="step", decay_every=2, decay_factor=0.5)),
    "decay_factor": (0.1, training(schedule="step", decay_every=2, decay_factor=0.5)),
    "clip": (1, training()),
    "blend": (0.1, {**training(blend=0.2), "network__weight_bits": 2}),
    "loss_function": ("squared_error", training()),
    "train_dtype": ("float64", training()),
    "hessian_count": (2, training()),
    "kernel_samples": (4, training()),
    "smoothness_every": (4, training()),
    "dtype": ("float32", {}),
    "reversal": (True, {"network__architecture": "residual"}),
    "seed": ([1], {}),
}
ELSEWHERE = {"module", "checkpoint", "widths"}  # need files: test_user_networks.py; see test_architectures.py


def test_every_axis_is_tried() -> None:
    assert set(OTHER) | ELSEWHERE == set(AXES.values())


@pytest.mark.parametrize("axis", OTHER)
def test_every_axis_enters_the_id(axis: str) -> None:
    (path,) = [path for path, name in AXES.items() if name == axis]
    value, needed = OTHER[axis]
    if axis == "data":  # the same sizes, and only the name is another
        before = spec()
    else:
        before = spec(**needed)
    after = spec(**{**needed, "__".join(path): value})
    assert not set(ids(before)) & set(ids(after))


NETWORK = NetworkSettings(4, 8, "leaky_relu", 0.1, "orthogonal", 1.5, None, 0.25, 0.5, "/a", "c1")
MODULE = ModuleSettings("net:make", (("a", 1), ("b", "x")), "s1", ("seed",), "/a", "c1")
DATA = DataSettings("digits", 64, "unit", 1.0, 64, 10, "d1", "/data")
MEASURE = MeasureSettings(FisherSettings(16, "categorical", "summary"), JacobianSettings(4), "float64")
POINTS = PointSettings((1,), (3,), 2, 4, 5)
TRAINING = TrainSettings(2, 16, "sgd", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, "stiefel", 0.9, points=POINTS)
RUN = Run(NETWORK, DATA, MEASURE, 3)

CHANGED: dict[type, dict[str, Any]] = {
    NetworkSettings: {
        "depth": 5,
        "width": 9,
        "activation": "relu",
        "negative_slope": 0.2,
        "init": "gaussian",
        "gain": 1.6,
        "gain_rule": "critical",
        "bias_std": 0.3,
        "q_star": 0.6,
        "checkpoint_checksum": "c2",
        "architecture": ArchitectureSettings(tied=True),
    },
    ArchitectureSettings: {
        "kind": "residual",
        "time_step": 0.5,
        "scheme": "heun",
        "block_steps": 2,
        "normalization": "rms",
        "position": "post",
        "tied": True,
        "biases": False,
        "weight_bits": 2,
        "activation_bits": 2,
        "activation_clip": 2.0,
        "widths": (3, 4),
        "parametrization": "ntk",
        "readout_scale": 0.5,
        "kernel": 5,
        "padding": "zeros",
        "image": (1, 8, 8),
    },
    ModuleSettings: {
        "module": "net:other",
        "arguments": (("a", 2), ("b", "x")),
        "sources": "s2",
        "checkpoint_checksum": "c2",
    },
    DataSettings: {
        "name": "gaussian",
        "samples": 65,
        "scale": "raw",
        "inputs": 65,
        "classes": 11,
        "checksum": "d2",
        "validation": 5,
        "test": 5,
        "test_checksum": "d3",
        "standardise": True,
        "augmentation": AugmentationSettings(flip=True),
    },
    FisherSettings: {
        "samples": 15,
        "likelihood": "gaussian",
        "layers": "none",
        "method": "lanczos",
        "parameters": "weights",
        "kind": "empirical",
        "centred": True,
        "bounds": True,
        "damping": 0.5,
        "leading": 20,
        "steps": 100,
        "probes": 4,
        "data": "test",
    },
    JacobianSettings: {"samples": 3, "data": "test"},
    MeasureSettings: {"fisher": None, "jacobian": None, "dtype": "float32", "reversal": True},
    PointSettings: {"epochs": (2,), "steps": (), "hessian": None, "kernel": 5, "smoothness": 6},
    TrainSettings: {
        "epochs": 3,
        "batch": 15,
        "optimizer": "adam",
        "learning_rate": 0.2,
        "learning_rate_manifold": 0.1,
        "learning_rate_scale": 0.1,
        "momentum": 0.1,
        "beta1": 0.1,
        "beta2": 0.1,
        "eps": 0.1,
        "weight_decay": 0.1,
        "manifold": "oblique",
        "orthogonality_penalty": 0.1,
        "schedule": "cosine",
        "warmup": 1.0,
        "decay_every": 2.0,
        "decay_factor": 0.5,
        "clip": 1.0,
        "loss": "squared_error",
        "dtype": "float64",
        "points": PointSettings(),
        "blend": 0.1,
        "order": 1,
    },
    Run: {"seed": 4, "train": TRAINING},
}
# What does not change a result: where a file lies; what follows from the rest.
WITHOUT_EFFECT = {
    (NetworkSettings, "checkpoint"),
    (ModuleSettings, "checkpoint"),
    (ModuleSettings, "passes"),
    (DataSettings, "mean_square"),
    (DataSettings, "root"),
}
PARTS = {(Run, "network"), (Run, "data"), (Run, "measure"), (Run, "id")}


def with_part(part: Any) -> Run:
    if isinstance(part, Run):
        return part
    if isinstance(part, ArchitectureSettings):
        part = dataclasses.replace(NETWORK, architecture=part)
    if isinstance(part, (NetworkSettings, ModuleSettings)):
        return dataclasses.replace(RUN, network=part)
    if isinstance(part, DataSettings):
        return dataclasses.replace(RUN, data=part)
    if isinstance(part, PointSettings):
        part = dataclasses.replace(TRAINING, points=part)
    if isinstance(part, TrainSettings):
        return dataclasses.replace(RUN, train=part)
    if isinstance(part, FisherSettings):
        part = dataclasses.replace(MEASURE, fisher=part)
    if isinstance(part, JacobianSettings):
        part = dataclasses.replace(MEASURE, jacobian=part)
    return dataclasses.replace(RUN, measure=part)


@pytest.mark.parametrize(
    "original",
    [NETWORK, ArchitectureSettings(), MODULE, DATA, MEASURE.fisher, MEASURE.jacobian, MEASURE, POINTS, TRAINING, RUN],
    ids=lambda o: type(o).__name__,
)
def test_every_field_of_the_settings_enters_the_id_or_has_no_effect(original: Any) -> None:
    kind = type(original)
    for field in dataclasses.fields(kind):
        if (kind, field.name) in WITHOUT_EFFECT:
            changed = dataclasses.replace(original, **{field.name: None if field.name != "passes" else ()})
            assert run_id(with_part(changed)) == run_id(with_part(original)), field.name
        elif (kind, field.name) not in PARTS:
            assert field.name in CHANGED[kind], f"say here whether {kind.__name__}.{field.name} changes a result"
            changed = dataclasses.replace(original, **{field.name: CHANGED[kind][field.name]})
            assert run_id(with_part(changed)) != run_id(with_part(original)), field.name


def test_the_id_and_its_form() -> None:
    (run,) = loaded(BASE).runs()
    assert run.id == run_id(run)
    assert re.fullmatch(f"[0-9a-f]{{{ID_DIGITS}}}", run.id)
    assert run_id(run, MEASUREMENT_VERSION + 1) != run.id


def test_a_manifold_optimizer_on_plain_weights_is_its_plain_twin() -> None:
    for one, other in (("riemannian_adam", "adam"), ("riemannian_sgd", "sgd")):
        assert ids(spec(**training(optimizer=one))) == ids(spec(**training(optimizer=other)))


def test_training_spelled_out_is_training_by_default() -> None:
    defaults = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0, "manifold": "euclidean", "warmup": 0}
    assert ids(spec(**training())) == ids(spec(**training(**defaults, loss="cross_entropy", dtype="float32")))
    on = {"manifold": "stiefel"}
    rates = {"learning_rate_manifold": 0.01, "learning_rate_scale": 0.01, "scales": True}
    assert ids(spec(**training(**on))) == ids(spec(**training(**on, **rates)))


def test_true_and_1_are_two_arguments() -> None:
    def of(value: Any) -> str:
        return run_id(dataclasses.replace(RUN, network=dataclasses.replace(MODULE, arguments=(("a", value),))))

    assert len({of(v) for v in (True, 1, "1", "true", False, 0, 1.5)}) == 7


@settings(max_examples=60, deadline=None)
@given(
    network=st.one_of(
        st.builds(
            NetworkSettings,
            st.integers(1, 10**9),
            st.integers(1, 10**9),
            st.text(max_size=9),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.text(max_size=9),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ),
        st.builds(
            ModuleSettings,
            st.text(max_size=9),
            st.lists(
                st.tuples(
                    st.text(max_size=9),
                    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                ),
                max_size=3,
            ).map(tuple),
            st.text(max_size=9),
            st.lists(st.sampled_from(["seed", "inputs"]), max_size=2).map(tuple),
        ),
    ),
    mean_square=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    fisher=st.none() | st.just(MEASURE.fisher),
    jacobian=st.none() | st.just(MEASURE.jacobian),
    seed=st.integers(0, 2**63 - 1),
)
def test_settings_survive_json(
    network: Any,
    mean_square: float | None,
    fisher: FisherSettings | None,
    jacobian: JacobianSettings | None,
    seed: int,
) -> None:
    data = dataclasses.replace(DATA, mean_square=mean_square)
    run = Run(network, data, MeasureSettings(fisher, jacobian, "float32"), seed, "0123")
    back = from_json(to_json(run))
    assert back == run
    assert back.id == run.id
    assert repr(back) == repr(run)  # 1, 1.0 and true are equal, and not the same
    assert run_id(back) == run_id(run)


def test_settings_are_frozen_and_hashable() -> None:
    (run,) = loaded(BASE).runs()
    for part in (run, run.network, run.data, run.measure, run.measure.fisher, run.measure.jacobian):
        hash(part)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, dataclasses.fields(part)[0].name, 1)  # type: ignore[arg-type]


def test_the_hash_of_a_sweep_is_its_text_and_overrides() -> None:
    one, other = loaded(BASE), loaded(BASE, ["seeds=2"])
    assert one.hash == loaded(copy.deepcopy(BASE)).hash
    assert one.hash != other.hash
    assert one.name == "t"
