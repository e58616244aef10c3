"""From points to settings: critical gains, scales of the inputs, options without effect, data files found in time."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from sweep_files import ids, loaded, spec

from isosweep.sweep import SpecError
from isosweep.sweep.schema import ActivationName
from isosweep.sweep.settings import NetworkSettings, Run
from isosweep.theory.activations import activation
from isosweep.theory.averages import slope_moment
from isosweep.theory.mean_field import variance_map

ACTIVATIONS = get_args(ActivationName)


def one(**changes: Any) -> Run:
    (run,) = loaded(spec(**changes)).runs()
    return run


def network(**changes: Any) -> NetworkSettings:
    found = one(**changes).network
    assert isinstance(found, NetworkSettings)
    return found


def refused(**changes: Any) -> str:
    with pytest.raises(SpecError) as caught:
        loaded(spec(**changes))
    return str(caught.value)


def critical(name: str, **more: Any) -> NetworkSettings:
    return network(network__activation=name, network__gain="critical", **more)


# ---- the critical line


def test_critical_by_q_star_against_the_table_of_the_literature() -> None:
    # tanh on its critical line; Pennington, Schoenholz and Ganguli 2018, recomputed
    for q_star, sigma_w, sigma_b in (
        ("1/64", 1.015163785, 2.156694987e-3),
        (0.5, 1.299220967, 0.1950415369),
        (8, 2.328707290, 2.008880379),
    ):
        found = critical("tanh", network__q_star=q_star)
        assert found.gain == pytest.approx(sigma_w, rel=1e-9)
        assert found.bias_std == pytest.approx(sigma_b, rel=1e-9)
        assert found.gain_rule == "critical"


def test_critical_by_bias() -> None:
    found = critical("tanh", network__bias_std=math.sqrt(0.05))
    assert found.gain is not None
    assert found.gain**2 == pytest.approx(1.7609546396, rel=1e-9)
    assert (found.gain_rule, found.q_star, found.bias_std) == ("critical", None, math.sqrt(0.05))
    assert critical("relu").gain == pytest.approx(math.sqrt(2), rel=1e-15)
    assert critical("relu").bias_std == 0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_put_on_its_line_or_refused(name: str) -> None:
    if name == "softplus":
        assert "would need σ_b² = -" in refused(network__activation=name, network__gain="critical", network__q_star=0.5)
        assert "no critical point" in refused(network__activation=name, network__gain="critical")
        return
    found = critical(name, network__q_star=0.5)
    assert found.gain is not None
    assert found.bias_std is not None
    phi = activation(name, found.negative_slope)
    assert found.gain**2 * slope_moment(phi, 0.5) == pytest.approx(1, rel=1e-12)
    assert variance_map(phi, 0.5, found.gain, found.bias_std) == pytest.approx(0.5, rel=1e-12)


def test_a_critical_gain_enters_the_id_by_its_rule() -> None:
    tanh = ids(spec(network__gain="critical", network__q_star=0.5))
    assert tanh == ids(spec(network__gain="critical", network__q_star="1/2"))
    assert tanh != ids(spec(network__gain="critical", network__q_star=0.25))
    found = critical("tanh", network__q_star=0.5)
    assert tanh != ids(spec(network__gain=found.gain, network__bias_std=found.bias_std))
    # where every q* has the same line, q* alone makes no other run
    relu = [
        ids(spec(network__activation="relu", network__gain="critical", **more))
        for more in ({}, {"network__bias_std": 0})
    ]
    assert relu[0] == relu[1]
    both = spec(network__activation=["relu", "tanh"], network__gain="critical", network__q_star=[0.5, 1])
    assert len(ids(both)) == 1 + 2
    assert loaded(both).duplicates == 1


def test_critical_with_q_star_excludes_bias_std() -> None:
    words = refused(network__gain="critical", network__q_star=0.5, network__bias_std=0.1)
    assert "leave bias_std out" in words
    assert "gain=critical" in words


def test_no_critical_point_is_refused_naming_the_runs() -> None:
    words = refused(network__activation=["relu", "tanh"], network__gain="critical", network__bias_std=[0, 0.1])
    assert "activation=relu, bias_std=0.1" in words
    assert "tanh" not in words


# ---- the scale of the inputs


def scale(**changes: Any) -> tuple[str, float | None]:
    data = one(**changes).data
    return data.scale, data.mean_square


def test_unit_is_the_default_and_raw_is_raw() -> None:
    assert scale() == scale(data__scale="unit") == ("unit", 1.0)
    assert scale(data__scale="raw") == ("raw", None)


@pytest.mark.parametrize("name", ["tanh", "hard_tanh", "erf", "scaled_erf", "sin"])
def test_inputs_at_the_fixed_point_give_it_in_the_first_layer(name: str) -> None:
    run = one(network__activation=name, network__gain=1.5, network__bias_std=0.3, data__scale="fixed_point")
    assert run.data.scale == "fixed_point"
    assert run.data.mean_square is not None
    q = 1.5**2 * run.data.mean_square + 0.3**2
    assert variance_map(activation(name), q, 1.5, 0.3) == pytest.approx(q, rel=1e-9)
    on_line = one(network__activation=name, network__gain="critical", network__q_star=0.5, data__scale="fixed_point")
    assert on_line.data.mean_square is not None
    assert on_line.network.gain**2 * on_line.data.mean_square + on_line.network.bias_std**2 == pytest.approx(0.5)  # type: ignore[union-attr,operator]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "linear"])
def test_where_every_q_is_a_fixed_point_q_star_or_1_is_taken(name: str) -> None:
    point = {"network__activation": name, "network__gain": "critical", "data__scale": "fixed_point"}
    chosen, by_default = one(**point, network__q_star=0.3), one(**point)
    assert chosen.network.gain == by_default.network.gain  # type: ignore[union-attr]
    assert chosen.data.mean_square == pytest.approx(0.3 / chosen.network.gain**2)  # type: ignore[union-attr,operator]
    assert by_default.data.mean_square == pytest.approx(1 / chosen.network.gain**2)  # type: ignore[union-attr,operator]
    assert by_default.id == one(**point, network__q_star=1).id != chosen.id
    # a gain written as a number lies on the line too
    written = one(network__activation="linear", network__gain=1, network__q_star=0.3, data__scale="fixed_point")
    assert written.data.mean_square == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("name", "gain", "words"),
    [
        ("relu", 1.0, "shrinks to 0"),
        ("relu", 2.0, "grows without bound"),
        ("tanh", 0.5, "shrinks to 0"),
        ("tanh", "critical", "q* is 0"),
        ("linear", 2.0, "grows without bound"),
    ],
)
def test_without_a_fixed_point_it_is_refused_naming_the_points_or_falls_back(name: str, gain: Any, words: str) -> None:
    point = {"network__activation": [name, "erf"], "network__gain": gain, "network__bias_std": 0}
    if name != "relu":
        point["network__activation"] = [name]
    told = refused(**point, data__scale="fixed_point")
    assert words in told
    assert "data.scale" in told
    assert name in told
    sweep = loaded(spec(**point, data__scale="fixed_point_or_unit"))
    assert sweep.runs()[0].data.scale == "unit"
    assert sweep.runs()[0].columns["data_scale"] == "unit"
    assert sweep.runs()[0].id == ids(spec(**point))[0]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("gain", [1e-90, 0.5, 1.0, 2.0, 1e90])
def test_fixed_point_or_unit_always_answers(name: str, gain: float) -> None:
    for bias in (0, 0.1, 1e90):
        used, mean_square = scale(
            network__activation=name, network__gain=gain, network__bias_std=bias, data__scale="fixed_point_or_unit"
        )
        assert used in ("fixed_point", "unit")
        assert mean_square is not None
        assert 0 < mean_square < math.inf


# ---- options without effect


def test_options_without_effect_make_no_other_run() -> None:
    assert one(network__bias_std=0).id == one().id
    assert (
        one(network__activation="leaky_relu").id
        == one(network__activation="leaky_relu", network__negative_slope=0.01).id
    )
    assert one(data__samples=...).id == one(data__samples=1797).id
    assert (
        one(measure__fisher__likelihood="categorical", measure__fisher__layers="summary", measure__dtype="float64").id
        == one().id
    )
    both = loaded(spec(network__activation=["tanh", "leaky_relu"], network__negative_slope=[0.1, 0.2]))
    assert (len(both.runs()), both.duplicates) == (3, 1)


def test_one_class_has_no_categorical_likelihood() -> None:
    sizes = {"data__name": "gaussian", "data__inputs": 3, "data__classes": 1}
    assert "over one class" in refused(**sizes)
    assert one(**sizes, measure__fisher__likelihood="gaussian").data.classes == 1
    assert one(**sizes, measure__fisher=...).measure.fisher is None


def test_something_must_be_measured() -> None:
    assert "nothing is measured" in refused(measure={})


# ---- data files


def test_missing_files_are_told_before_anything_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOSWEEP_DATA", raising=False)
    told = refused(data__name="fashion_mnist")
    for words in ("train-images-idx3-ubyte", "data.root", "ISOSWEEP_DATA", "dataset-fashion-mnist"):
        assert words in told
    told = refused(data__name="mnist", data__root=str(tmp_path / "nowhere"))
    assert f"{tmp_path}/nowhere/mnist/train-images-idx3-ubyte.gz" in told
    assert "data.name" in told
    monkeypatch.setenv("ISOSWEEP_DATA", str(tmp_path / "elsewhere"))
    assert f"{tmp_path}/elsewhere" in refused(data__name="mnist")


# ---- what is imported


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"data__scale": "raw"}, False),
        ({"network__gain": "critical"}, True),
        ({"data__scale": "fixed_point_or_unit"}, True),
    ],
)
def test_theory_is_imported_only_where_it_is_needed(tmp_path: Path, changes: dict[str, Any], expected: bool) -> None:
    import json

    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(spec(**changes)))
    program = (
        "import sys, isosweep; isosweep.load(sys.argv[1]).runs(); "
        "print([m for m in ('isosweep.theory', 'numpy', 'scipy', 'torch', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert ("isosweep.theory" in shown) == expected
    assert "torch" not in shown
    assert "pandas" not in shown
    if not expected:
        assert shown.strip() == "[]"
