"""The sweeps of Sokol & Park that are shipped: that they are the design they say, and can be searched."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))
from formats import write_cifar, write_idx, write_svhn

from isosweep.sweep import load
from isosweep.tuning.search import read_search

SWEEPS = Path(__file__).parent.parent.parent / "sweeps"
# The small sets that tests are made with have 50 images to train on and 20 to test on.
SMALLER = (
    *("data.validation=10", "data.test=20", "train.batch=10"),
    *("measure.fisher.samples=8", "measure.jacobian.samples=4"),
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "data", "binary")
    write_svhn(tmp_path / "data" / "svhn", seed=1)
    write_idx(tmp_path / "data" / "fashion-mnist")
    monkeypatch.setenv("ISOSWEEP_DATA", str(tmp_path / "data"))


def test_the_papers_design_at_full_size(data: None) -> None:
    sweep = load(SWEEPS / "sokol-park-2020.yaml", SMALLER)
    runs = sweep.runs()
    assert Counter((run.data.name, run.train.manifold) for run in runs) == {
        (name, manifold): 25 for name in ("cifar10", "svhn") for manifold in ("euclidean", "stiefel", "oblique")
    }
    assert {(run.network.depth, run.network.width, run.network.activation, run.network.init) for run in runs} == {
        (200, 400, "tanh", "orthogonal")
    }
    assert {run.network.q_star for run in runs} == {1e-4, 9e-4, 1 / 64, 0.5, 8.0}
    assert {(run.train.epochs, run.train.points.epochs) for run in runs} == {
        (200, (1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 100, 200))
    }
    assert {(run.measure.fisher.data, run.measure.jacobian.data) for run in runs} == {("test", "train")}
    assert all(run.data.standardise and run.data.scale == "fixed_point" for run in runs)
    # Riemannian Adam as in the paper: on free weights it is Adam
    assert {(run.train.beta1, run.train.beta2, run.train.eps) for run in runs} == {(0.9, 0.999, 1e-8)}
    rates = {
        run.train.manifold: (
            run.train.learning_rate,
            run.train.learning_rate_manifold,
            run.train.learning_rate_scale,
            run.train.orthogonality_penalty,
        )
        for run in runs
    }
    assert rates == {
        "euclidean": (9.73e-6, None, None, None),
        "stiefel": (1e-4, 1.298e-5, 9.848e-5, None),
        "oblique": (2.706e-5, 1.621e-5, 6.090e-5, 7.142e-4),
    }
    text = (SWEEPS / "sokol-park-2020.yaml").read_text()
    assert "samples: 1000, likelihood: categorical, data: test" in text
    assert "batch: 1000" in text


def test_the_small_sweep_is_the_same_design(data: None) -> None:
    small = load(SWEEPS / "sokol-park-small.yaml", [*SMALLER, "data.samples=40"]).runs()
    full = load(SWEEPS / "sokol-park-2020.yaml", SMALLER).runs()
    assert {r.network.q_star for r in small} == {r.network.q_star for r in full}
    assert {r.train.manifold for r in small} == {r.train.manifold for r in full}
    assert {r.train.optimizer for r in small} == {r.train.optimizer for r in full}
    assert {r.network.depth / r.network.width for r in small} == {r.network.depth / r.network.width for r in full}
    assert {(r.measure.fisher.data, r.measure.jacobian) for r in small} == {
        (r.measure.fisher.data, r.measure.jacobian) for r in full
    }


@pytest.mark.parametrize("name", ["sokol-park-2020", "sokol-park-small"])
@pytest.mark.parametrize(("grid", "names"), [(0, 1), (1, 3), (2, 4)])
def test_every_variant_can_be_searched(data: None, name: str, grid: int, names: int) -> None:
    search = read_search(
        SWEEPS / f"{name}.yaml", [*SMALLER, *(["data.samples=40"] * (name == "sokol-park-small"))], grid=grid
    )
    assert len(search.ranges) == names
    assert search.objective == "validation_accuracy"
    assert search.start is not None  # the file's own values lie in the ranges
    runs = search.sweep(search.start).runs()
    assert len(runs) == 2
    assert all(run.measure.fisher is None for run in runs)
    assert {run.train.epochs for run in runs} == {search.epoch}
