"""Whole runs that train: the same digest however they are carried out, divergence, and that training trains."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import run_of, runs_of

from isosweep.measurement.environment import fingerprint
from isosweep.measurement.execute import execute
from isosweep.measurement.measurement import Measurement
from isosweep.measurement.paused import Paused
from isosweep.sweep.settings import Run, to_json
from isosweep.training import run as train
from isosweep.training.checkpoints import CheckpointError

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float64, sgd, squared error": {
        "train__optimizer": "sgd",
        "train__momentum": 0.9,
        "train__dtype": "float64",
        "train__clip": 0.5,
        "measure__fisher__likelihood": "gaussian",
    },
    "stiefel": {"train__manifold": "stiefel", "train__schedule": "cosine", "train__warmup": 1},
    "oblique": {"train__manifold": "oblique", "train__orthogonality_penalty": 0.1},
    "muon": {"train__optimizer": "muon", "train__weight_decay": 0.1},
    "sign": {"train__optimizer": "sign_sgd", "train__beta2": 0.9},
    "augmented": {"data__augmentation": {"flip": True, "shift": 1}, "train__optimizer": "adamw"},
    "batch normalisation": {
        "network__normalization": "batch",
        "network__init": "gaussian",
        "train__optimizer": "sgd",
        "train__dtype": "float64",
    },
    "measured on test": {"measure__fisher__data": "test", "measure__fisher__layers": "spectrum"},
}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Measurement]:
    return {name: execute(run_of(**changes)) for name, changes in VARIANTS.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_digest_with_more_workers_and_other_surroundings(
    name: str, undisturbed: dict[str, Measurement]
) -> None:
    torch.manual_seed(123)
    with torch.enable_grad():
        other = execute(run_of(**VARIANTS[name]), workers=3)
    assert other.outcome == "done"
    assert other.digest == undisturbed[name].digest


@pytest.mark.parametrize("name", VARIANTS)
def test_paused_anywhere_and_gone_on_with(name: str, undisturbed: dict[str, Measurement], tmp_path: Path) -> None:
    run = run_of(**VARIANTS[name])
    pauses, found = 0, None
    while found is None:
        asked = itertools.count()
        until = 2 + pauses % 3

        def stop(asked: Iterator[int] = asked, until: int = until) -> bool:
            return next(asked) >= until

        try:
            found = execute(run, checkpoints=tmp_path / "own", stop=stop)
        except Paused:
            pauses += 1
    assert pauses >= 4
    assert found.digest == undisturbed[name].digest


def test_every_variant_is_another_run(undisturbed: dict[str, Measurement]) -> None:
    assert len({run_of(**changes).id for changes in VARIANTS.values()}) == len(VARIANTS)
    assert len({m.digest for m in undisturbed.values()}) == len(VARIANTS)


CHILD = """\
import sys
from pathlib import Path
from isosweep.measurement.execute import execute
from isosweep.sweep.settings import from_json
run = from_json(Path(sys.argv[1]).read_text())
begun = False


def stop():
    global begun
    if not begun:
        print("training", flush=True)
    begun = True
    return False


print("ready", flush=True)
print(execute(run, checkpoints=Path(sys.argv[2]), checkpoint_minutes=1e-4, stop=stop).digest, flush=True)
"""


def killed_until_done(run: Run, folder: Path, dice: random.Random, longest: float) -> tuple[str, int]:
    """The digest of a run that is killed at random moments and started again, and how often it was."""
    (folder / "run.json").write_text(to_json(run))
    (folder / "child.py").write_text(CHILD)
    kills = 0
    while True:
        command = [sys.executable, folder / "child.py", folder / "run.json", folder / "own"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        if dice.random() < 0.9:  # else it is killed before it trains
            assert child.stdout.readline() == "training\n"
        # ever longer, so that the end is reached; not at first, when a machine may be quicker than that
        moment = time.monotonic() + dice.uniform(0.0, longest * (1 + kills)) * (kills > 0)
        while time.monotonic() < moment and child.poll() is None:
            time.sleep(0.002)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        rest = child.stdout.read()
        child.stdout.close()
        if child.wait() == 0:
            return rest.split()[-1], kills
        assert child.returncode == -signal.SIGKILL, rest


LONGER = {"train__epochs": 6, "train__measure": {"epochs": [1], "steps": [7], "kernel": 3, "smoothness": 5}}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["plain", "stiefel"])
def test_killed_at_random_moments(name: str, seed: int, tmp_path: Path) -> None:
    run = run_of(**(VARIANTS[name] | LONGER))
    digest, kills = killed_until_done(run, tmp_path, random.Random(seed), 1.0)
    assert kills > 0
    assert digest == execute(run).digest


@pytest.mark.whole
def test_killed_once(tmp_path: Path) -> None:
    run = run_of(**LONGER)
    digest, kills = killed_until_done(run, tmp_path, random.Random(1), 1.0)
    assert kills > 0
    assert digest == execute(run).digest


def test_a_run_that_diverges_is_a_result(tmp_path: Path) -> None:
    run = run_of(
        network__activation="relu", train__optimizer="sgd", train__learning_rate=1e8, train__measure={"steps": [1, 9]}
    )
    found = execute(run)
    assert found.outcome == "diverged"
    step = int(found.scalars["diverged_step"])
    assert 1 <= step < 9
    assert found.training[-1].step == step
    assert [p.step for p in found.training][:1] == [0]
    assert not np.isfinite(found.training[-1].values["batch_loss"]) or "fisher_lambda_max" not in (
        found.training[-1].values
    )
    assert {block.step for block in found.fisher} <= set(range(step + 1))
    assert execute(run, workers=2).digest == found.digest


def test_digits_are_learned() -> None:
    run = run_of(
        network={"depth": 2, "width": 64, "activation": "tanh", "init": "orthogonal", "gain": 1.0},
        data={"name": "digits", "samples": 1200, "test": 500},
        train={"epochs": 12, "batch": 50, "optimizer": "adam", "learning_rate": 0.003},
    )
    found = execute(run)
    assert found.scalars["final_test_accuracy"] > 0.94
    assert found.scalars["final_train_loss"] < 0.1
    first, last = found.training[0].values, found.training[-1].values
    assert first["train_accuracy"] < 0.3
    assert last["train_accuracy"] > 0.97
    assert [p.step for p in found.training if "train_loss" in p.values] == [0, 12 * 24]
    assert [p.epoch for p in found.training] == list(range(13))


@pytest.mark.slow
def test_98_percent_of_digits_test_data_with_ten_layers() -> None:
    run = run_of(
        network={
            "depth": 10,
            "width": 128,
            "activation": "relu",
            "init": "orthogonal",
            "gain": "critical",
            "q_star": 1,
        },
        data={"name": "digits", "samples": 1437, "test": 360, "scale": "fixed_point"},
        train={"epochs": 25, "batch": 32, "optimizer": "adam", "learning_rate": 0.001, "schedule": "cosine"},
    )
    assert execute(run, workers=2).scalars["final_test_accuracy"] >= 0.98


def test_what_is_recorded_when(undisturbed: dict[str, Measurement]) -> None:
    found = undisturbed["plain"]  # 96 samples, batches of 30: 3 steps an epoch, 9 in all
    assert found.scalars["training_steps"] == 9
    assert [p.step for p in found.training] == [0, 2, 3, 4, 6, 8, 9]
    assert sorted({b.step for b in found.fisher}) == sorted({j.step for j in found.jacobian}) == [0, 3, 9]
    assert sorted({a.step for a in found.layers}) == [0, 3, 9]
    rows = {p.step: p.values for p in found.training}
    assert rows[6].keys() >= {"validation_loss", "test_accuracy", "batch_loss", "smoothness"}
    assert "train_loss" not in rows[6]
    assert rows[9].keys() >= {"train_loss", "hessian_eigenvalues", "kernel_drift", "smoothness_l1", "gradient_norm"}
    assert rows[0]["kernel_drift"] == 0
    assert rows[9]["kernel_drift"] > 0
    assert rows[3]["fisher_lambda_max"] == next(b.lambda_max for b in found.fisher if b.step == 3)
    assert rows[3]["stability_threshold"] == pytest.approx(200)
    assert found.scalars["final_test_loss"] == rows[9]["test_loss"]


def test_scales_and_deviation_are_in_the_layers(undisturbed: dict[str, Measurement]) -> None:
    for name in ("stiefel", "oblique"):
        rows = [a for a in undisturbed[name].layers if a.step == 9]
        assert [a.scale is not None for a in rows] == [True, True, True, False]
        assert all(a.orthogonality_error < 1e-5 for a in rows[:3])
        assert rows[0].scale != pytest.approx(1.1, abs=1e-4), "it has been trained"
        assert undisturbed[name].training[-1].values["orthogonality_error"] < 1e-5
    assert all(a.scale is None for a in undisturbed["plain"].layers)


def test_at_step_0_it_is_the_network_at_initialisation() -> None:
    run = run_of(train__dtype="float64", train__measure={"epochs": [3]})
    trained, still = execute(run), execute(run_of(train=..., data={"name": "digits", "samples": 96}))
    assert trained.fisher[0].lambda_max == still.fisher[0].lambda_max
    np.testing.assert_array_equal(trained.jacobian[0].singular_values, still.jacobian[0].singular_values)
    assert trained.scalars["input_mean_square"] == still.scalars["input_mean_square"]


def test_seeds_train_on_their_own() -> None:
    one, other = runs_of(seeds=2, train__epochs=1, train__measure={})
    assert execute(one).training[-1].values["batch_loss"] != execute(other).training[-1].values["batch_loss"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Paused):
        execute(run_of(), checkpoints=tmp_path, stop=lambda: True)
    with pytest.raises(CheckpointError, match="is a checkpoint of run"):
        execute(run_of(train__batch=16), checkpoints=tmp_path)


def test_a_checkpoint_of_another_environment_class_is_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Measurement]
) -> None:
    stop = iter([False, False, False, True])
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(train, "fingerprint", lambda device: fingerprint(device) | {"cpu_model": "another"})
        with pytest.raises(Paused):
            execute(run_of(), checkpoints=tmp_path, stop=lambda: next(stop))
    (left,) = tmp_path.iterdir()
    with pytest.warns(UserWarning, match="begins anew.*cpu_model was 'another'"):
        assert execute(run_of(), checkpoints=tmp_path).digest == undisturbed["plain"].digest
    assert left.exists()


def test_a_pause_needs_a_place() -> None:
    with pytest.raises(ValueError, match="folder for its checkpoint"):
        execute(run_of(), stop=lambda: True)
