"""Trainings that cannot be are refused when the sweep file is read, with the place and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from training_runs import run_of, runs_of

from isosweep.sweep.errors import SpecError

STIEFEL = {"train__manifold": "stiefel"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"train__learning_rate": 0}, "learning_rate.*greater than 0"),
    ({"train__learning_rate": -0.1}, "learning_rate.*greater than 0"),
    ({"train__learning_rate": [0.1, 0]}, "learning_rate.*greater than 0"),
    ({"train__learning_rate_manifold": 0, **STIEFEL}, "learning_rate_manifold.*greater than 0"),
    ({"train__batch": 97}, "a batch of 97 is more than the 96 samples"),
    ({"train__batch": 0}, "batch.*of at least 1"),
    ({"train__epochs": 0}, "epochs.*of at least 1"),
    ({"train__batch": ...}, "train.batch: this key is missing"),
    ({"train__optimizer": "adma"}, "optimizer.*did you mean 'adam'"),
    ({"train__optimiser": "adam"}, "unknown key.*did you mean 'optimizer'"),
    ({"train__manifold": "stiefel", "network__width": 65}, "65 rows of 64 columns: expected a width of at most 64"),
    ({"train__manifold": "stiefel", "network__init": "gaussian"}, "orthonormal rows: expected init: orthogonal"),
    ({"train__manifold": "oblique", "train__optimizer": "adam"}, "adam moves no weights along oblique"),
    ({"train__optimizer": "muon", **STIEFEL}, "muon moves no weights along stiefel"),
    ({"train__schedule": "step"}, "step needs train.decay_every and train.decay_factor"),
    ({"train__warmup": 4}, "a warm-up of 4 epochs is longer than the 3"),
    ({"train__beta1": 1}, "beta1.*less than 1"),
    ({"train__momentum": 0.5}, "momentum has no effect on any run"),
    ({"train__orthogonality_penalty": 0.5}, "orthogonality_penalty has no effect"),
    ({"train__learning_rate_scale": 0.5}, "learning_rate_scale has no effect"),
    ({"train__measure__epochs": [4]}, "names epoch 4 of a training of 3"),
    ({"train__measure__steps": [10]}, "names step 10 of a training of 9 steps"),
    ({"train__measure__kernel": 7}, "the kernel's 7 inputs are the first of the 6"),
    ({"train__measure__hessian": 0}, "hessian.*of at least 1"),
    ({"measure__fisher__data": "test", "data__test": ...}, "more than the 0 of data.test"),
    ({"measure__jacobian__data": "test", "data__test": 1}, "more than the 1 of data.test"),
    ({"train": {"epochs": 1}, "include": [{"depth": 2}]}, "this key is missing"),
    ({"train": ..., "include": [{"learning_rate": 0.1}]}, "train.epochs is missing"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"(?s){message}"):
        runs_of(**changes)


def test_every_axis_of_training_may_vary() -> None:
    runs = runs_of(
        train__optimizer=["riemannian_adam", "riemannian_sgd"],
        train__manifold=["euclidean", "stiefel"],
        train__learning_rate={"logspace": [1e-3, 1e-1, 3]},
        train__momentum=[0, 0.9],
    )
    # momentum is idle for adam: those points are one run
    assert len(runs) == 2 * 3 * (1 + 2)
    assert {run.train.momentum for run in runs} == {None, 0.0, 0.9}


def test_idle_options_are_dropped() -> None:
    assert run_of(train__schedule="constant").id == run_of(train__warmup=0).id
    assert run_of(**STIEFEL).train.learning_rate_scale == 0.01
    assert run_of(**STIEFEL, train__scales=False).train.learning_rate_scale == 0.0
    assert run_of().train.learning_rate_scale is None
