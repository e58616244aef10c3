"""What a run is counted to cost: never less for more of anything, and every measurement counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosweep.launching.operations import dual_rows, run_operations
from isosweep.sweep import settings
from isosweep.sweep.architecture_settings import ArchitectureSettings
from isosweep.sweep.settings import Run
from isosweep.sweep.train_settings import PointSettings, TrainSettings

DENSE = ArchitectureSettings()
ARCHITECTURES = (
    DENSE,
    ArchitectureSettings(kind="residual", scheme="heun", block_steps=2),
    ArchitectureSettings(kind="convolutional", image=(1, 8, 8), kernel=3),
)
TRAIN = TrainSettings(4, 8, "sgd", 0.1)


def run_of(
    depth: int = 3,
    width: int = 16,
    samples: int = 8,
    *,
    shape: ArchitectureSettings = DENSE,
    train: TrainSettings | None = None,
    jacobian: int | None = 4,
    data: int = 64,
    **fisher: Any,
) -> Run:
    given: dict[str, Any] = {"likelihood": "categorical", "layers": "summary"} | fisher
    fisher_settings = settings.FisherSettings(samples, **given)
    return Run(
        settings.NetworkSettings(depth, width, "tanh", init="gaussian", gain=1.0, bias_std=0.0, architecture=shape),
        settings.DataSettings("digits", data, "unit", 1.0, 64, 10),
        settings.MeasureSettings(fisher_settings, None if jacobian is None else settings.JacobianSettings(jacobian)),
        0,
        "",
        train,
    )


def operations(run: Run) -> float:
    found = run_operations(run)
    assert found is not None
    return found


SIZES = st.integers(1, 40)
POINTS = st.builds(
    PointSettings,
    hessian=st.none() | st.integers(1, 4),
    kernel=st.none() | st.integers(1, 20),
    smoothness=st.none() | st.integers(1, 3),
)
TRAINS = st.none() | st.builds(
    lambda points, optimizer: replace(TRAIN, points=points, optimizer=optimizer),
    POINTS,
    st.sampled_from(["sgd", "muon"]),
)
FISHERS = st.sampled_from(
    [
        {},
        {"layers": "spectrum"},
        {"kind": "empirical", "layers": "none"},
        {"likelihood": "gaussian", "centred": True},
        {"method": "lanczos", "layers": "none", "leading": 2, "steps": 20, "probes": 2},
        {"method": "lanczos", "layers": "none", "leading": 2, "steps": 20},
    ]
)


@given(SIZES, SIZES, SIZES, st.sampled_from(ARCHITECTURES), FISHERS, TRAINS)
def test_more_depth_width_or_samples_cost_more(
    depth: int,
    width: int,
    samples: int,
    shape: ArchitectureSettings,
    fisher: dict[str, Any],
    train: TrainSettings | None,
) -> None:
    def cost(more_depth: int = 0, more_width: int = 0, more_samples: int = 0, more_data: int = 0) -> float:
        sizes = (depth + more_depth, width + more_width, samples + more_samples)
        return operations(run_of(*sizes, shape=shape, train=train, data=64 + more_data, **fisher))

    least = cost()
    assert cost(more_depth=1) > least
    assert cost(more_width=1) > least
    assert cost(more_samples=1) > least
    assert cost(more_data=TRAIN.batch) >= least
    assert train is None or cost(more_data=TRAIN.batch) > least


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 6))
def test_bounds_cost_more_and_more_as_long_as_their_norms_are_exact(depth: int, width: int, samples: int) -> None:
    least = operations(run_of(depth, width, samples, bounds=True))
    assert least > operations(run_of(depth, width, samples))
    assert operations(run_of(depth + 1, width, samples, bounds=True)) > least
    assert operations(run_of(depth, width + 1, samples, bounds=True)) > least
    assert operations(run_of(depth, width, samples + 1, bounds=True)) > least


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"jacobian": None}, {}),
        ({"layers": "none"}, {"layers": "spectrum"}),
        ({}, {"bounds": True}),
        ({"kind": "empirical"}, {"kind": "true"}),
        ({}, {"shape": ArchitectureSettings(kind="residual", block_steps=2)}),
        ({}, {"shape": ARCHITECTURES[2]}),
        ({}, {"train": TRAIN}),
        ({"train": TRAIN}, {"train": replace(TRAIN, epochs=8)}),
        ({"train": TRAIN}, {"train": replace(TRAIN, points=PointSettings(epochs=(1, 2, 3, 4)))}),
        ({"train": TRAIN}, {"train": replace(TRAIN, points=PointSettings(hessian=2))}),
        ({"train": TRAIN}, {"train": replace(TRAIN, points=PointSettings(kernel=8))}),
        ({"train": TRAIN}, {"train": replace(TRAIN, points=PointSettings(smoothness=1))}),
        ({"train": TRAIN}, {"train": replace(TRAIN, manifold="stiefel")}),
        ({"train": TRAIN}, {"train": replace(TRAIN, optimizer="muon")}),
    ],
)
def test_whatever_is_measured_counts(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert operations(run_of(**more)) > 1.02 * operations(run_of(**less))


def test_widths_given_one_by_one_are_those_of_the_layers() -> None:
    same = replace(DENSE, widths=(16, 16, 16))
    assert operations(run_of(shape=same)) == operations(run_of())
    assert operations(run_of(shape=replace(DENSE, widths=(16, 64, 16)))) > operations(run_of())


def test_rows_of_the_dual() -> None:
    assert dual_rows(run_of(samples=8)) == 8 * 9
    assert dual_rows(run_of(samples=8, likelihood="gaussian")) == 80
    assert dual_rows(run_of(samples=8, centred=True)) == 80
    assert dual_rows(run_of(samples=8, kind="empirical")) == 8


def test_a_users_own_network_is_not_counted() -> None:
    run = replace(run_of(), network=settings.ModuleSettings("m:f", (), "0"))
    assert run_operations(run) is None
