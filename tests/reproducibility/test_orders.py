"""Other orders of the data: the same run but for its shuffles, and a spread that is stated."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import Command

import isosweep
from isosweep.reproducibility.findings import read_findings
from isosweep.reproducibility.orders import _with_order, spreads_of
from isosweep.store.store import Store

TRAINED = """\
name: trained
network: {depth: 2, width: 8, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 60, test: 30}
measure: {fisher: {samples: 6}, jacobian: {samples: 2}}
train: {epochs: 2, batch: 20, optimizer: sgd, learning_rate: 0.05}
"""


def test_an_order_changes_the_shuffles_and_no_id_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "trained.yaml").write_text(TRAINED)
    run = isosweep.load(tmp_path / "trained.yaml").runs()[0]
    assert _with_order(run, 0) == run
    assert _with_order(run, 0).id == run.id
    others = [_with_order(run, order) for order in (1, 2)]
    assert len({run.id, *(other.id for other in others)}) == 3
    assert "order" not in run.columns
    measured = [isosweep.execute(other) for other in (run, *others)]
    assert len({m.digest for m in measured}) == 3
    # everything at initialisation is as it was: weights, splits, spectra
    for other in measured[1:]:
        for name, values in measured[0].arrays():
            if name.split("/")[1] == "0":
                assert np.array_equal(dict(other.arrays())[name], values, equal_nan=True), name


@pytest.mark.whole
def test_the_spread_is_stated_and_kept(command: Command) -> None:
    command.write("trained.yaml", TRAINED)
    command.run("launch", "trained.yaml", "--local")
    assert command.json("verify", "trained.yaml")["counts"] == {"same": 1}
    shown = command.json("verify", "trained.yaml", "--orders", 4)
    assert shown["agree"] is True
    assert shown["counts"] == {"comparable": 1}
    (row,) = shown["runs"]
    spreads = {spread["quantity"]: spread for spread in row["spreads"]}
    for name in ("train_loss", "test_loss"):
        assert spreads[name]["deviation"] > 0
        assert spreads[name]["smallest"] < spreads[name]["mean"] < spreads[name]["largest"]
    found, _ = read_findings(Store(command.folder / "isosweep-store"))
    assert [finding["kind"] for finding in found] == ["repeat", "orders"]


def test_one_of_many_alike_is_told_from_one_that_is_not() -> None:
    draw = np.random.default_rng(3)
    others = [{"train_loss": 1 + 0.1 * x, "gradient_norm": 5.0} for x in draw.standard_normal(5)]
    alike, apart = ({"train_loss": value, "gradient_norm": 900.0} for value in (1.1, 9.0))
    (loss, norm) = spreads_of(alike, others)
    assert loss.comparable
    assert norm.comparable  # shown, and not judged
    assert norm.standardised == math.inf
    assert not spreads_of(apart, others)[0].comparable
    # without a spread the mean itself, up to a hundredth
    equal = [{"test_accuracy": 0.5}] * 3
    assert spreads_of({"test_accuracy": 0.504}, equal)[0].comparable
    assert not spreads_of({"test_accuracy": 0.6}, equal)[0].comparable


def test_false_alarms_are_as_rare_as_stated() -> None:
    """Student's t for a prediction: a recorded value of the same law is called apart once in a thousand at most."""
    draw = np.random.default_rng(5)
    rows = draw.standard_normal((4000, 5))
    alarms = sum(
        not spreads_of({"train_loss": row[0]}, [{"train_loss": value} for value in row[1:]])[0].comparable
        for row in rows
    )
    assert alarms <= 14  # 4 expected; more than 14 once in 10⁵


@pytest.mark.parametrize("count", ["0", "1"])
def test_a_spread_needs_two_orders(command: Command, count: str) -> None:
    assert "--orders" in command.run("verify", "tiny.yaml", "--orders", count, check=2).stderr
