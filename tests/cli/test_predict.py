"""`isosweep predict`: its fields, its table for a sweep, and what it refuses, through the real command."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from conftest import Command

FIELDS = {
    "sigma_w",
    "sigma_b",
    "q_star",
    "chi",
    "c_star",
    "xi_q",
    "xi_c",
    "xi_grad",
    "phase",
    "jacobian_variance",
    "jacobian_s_max",
    "fisher_mean",
    "fisher_lambda_max",
    "kappa_1",
    "kappa_2",
    "learning_rate_max",
    "notes",
}


def _predicted(command: Command, *words: object) -> dict[str, Any]:
    found = command.json("predict", *words)
    assert isinstance(found["schema_version"], int)
    result: dict[str, Any] = found["prediction"]
    assert set(result) >= FIELDS
    return result


def test_the_values_of_two_hundred_layers(command: Command) -> None:
    # reference values of tanh on the critical line at q* = 1/64, orthogonal, L = 200
    p = _predicted(command, "--activation", "tanh", "--q-star", "1/64", "--depth", 200, "--width", 400)
    assert f"{p['sigma_w']:.9f}" == "1.015163785"
    assert f"{p['sigma_b']:.9e}" == "2.156694987e-03"
    assert f"{p['jacobian_variance']:.6f}" == "0.337874"
    assert f"{p['jacobian_s_max']:.6f}" == "1.610827"
    assert p["phase"] == "critical"
    assert p["chi"] == pytest.approx(1, abs=1e-12)


def test_infinities_are_null_with_a_note(command: Command) -> None:
    p = _predicted(command, "--activation", "tanh", "--q-star", "1/2", "--depth", 20, "--width", 400)
    for name in ("xi_c", "xi_grad"):
        assert p[name] is None
        assert any(note == f"{name} is infinite" for note in p["notes"])
    grows = _predicted(command, "--activation", "relu", "--gain", 1.6, "--depth", 4, "--width", 100)
    assert grows["q_star"] is None
    assert any("without bound" in note for note in grows["notes"])
    odd = _predicted(command, "--activation", "tanh", "--gain", 1.2, "--depth", 4, "--width", 100)
    assert odd["fisher_lambda_max"] is None
    assert odd["learning_rate_max"] is None
    assert any("κ_2 is 0" in note for note in odd["notes"])


def test_karakidas_example_and_further_arguments(command: Command) -> None:
    words = ["--activation", "tanh", "--gain", 3**0.5, "--bias-std", 0.8, "--depth", 2, "--width", 1000, "--outputs", 2]
    p = _predicted(command, *words)
    assert p["fisher_lambda_max"] == pytest.approx(253.968, abs=2e-3)
    assert p["kappa_2"] == pytest.approx(0.11861531, rel=1e-6)
    assert p["learning_rate_max"] == pytest.approx(2 / p["fisher_lambda_max"])
    assert p["fisher_mean"] == pytest.approx(p["kappa_1"] * 2 / 1000)
    fewer = _predicted(command, *words, "--samples", 10)
    assert fewer["fisher_lambda_max"] == pytest.approx(2000 * (0.9 * p["kappa_2"] + 0.1 * p["kappa_1"]))
    alike = _predicted(command, *words, "--input-correlation", 1)
    assert alike["kappa_2"] == pytest.approx(alike["kappa_1"])
    softmax = _predicted(command, *words, "--likelihood", "categorical")
    assert 0 < softmax["fisher_lambda_max"] < p["fisher_lambda_max"] / 2
    wide = _predicted(command, *words, "--init", "gaussian", "--inputs", 3072)
    assert wide["kappa_1"] != pytest.approx(p["kappa_1"], rel=1e-3)
    assert wide["jacobian_variance"] > p["jacobian_variance"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--activation tanh --q-star=-0.5 --depth 4 --width 100", ["q*", "0 or above", "-0.5"]),
        ("--activation softplus --q-star 0.5 --depth 4 --width 100", ["no critical point", "σ_b²", "negative"]),
        ("--activation tanh --gain 1 --depth 0 --width 100", ["depth", "1 or more", "not 0"]),
        ("--activation tanh --gain 1 --depth 4 --width 0", ["width", "1 or more"]),
        ("--activation tanh --gain -1 --depth 4 --width 100", ["σ_w", "above 0"]),
        ("--activation tanh --gain 1e308 --depth 4 --width 100", ["σ_w² overflows"]),
        ("--activation tanh --gain nan --depth 4 --width 100", ["--gain nan", "a number"]),
        ("--activation tanh --gain 1 --bias-std=-1 --depth 4 --width 100", ["σ_b", "0 or above"]),
        ("--activation tanh --gain 1 --q-star 1 --depth 4 --width 100", ["one of --gain"]),
        ("--activation tanh --depth 4 --width 100", ["one of --gain"]),
        ("--activation tanh --q-star 1 --bias-std 1 --depth 4 --width 100", ["leave --bias-std out"]),
        ("--activation thanh --gain 1 --depth 4 --width 100", ["did you mean 'tanh'"]),
        ("--activation tanh --gain 1 --depth 4 --width 100 --init haar", ["orthogonal or gaussian", "haar"]),
        ("--activation tanh --gain 1 --depth 4 --width 100 --likelihood poisson", ["gaussian or categorical"]),
        ("--activation tanh --gain 1 --depth 4 --width 9 --likelihood categorical --outputs 1", ["2 outputs or more"]),
        ("--activation tanh --gain 1 --depth 4 --width 100 --input-correlation 2", ["correlation", "between -1 and 1"]),
        ("--activation tanh --gain 1 --depth 4 --width 100 --samples 0", ["samples", "1 or more"]),
        ("tiny.yaml --depth 4", ["a sweep file, or a network"]),
        ("absent.yaml", ["no such sweep file"]),
    ],
)
def test_bad_input_is_refused_with_the_reason(command: Command, words: str, said: list[str]) -> None:
    refused = command.run("predict", *words.split(), check=2)
    for word in said:
        assert word in refused.stderr
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr


def test_a_table_for_all_runs_of_a_sweep(command: Command) -> None:
    found = command.json("predict", "tiny.yaml")
    rows = found["predictions"]
    assert [(row["depth"], row["seed"]) for row in rows] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert len({row["run_id"] for row in rows}) == 4
    for row in rows:
        assert row["theory_phase"] == "critical"  # tanh at gain 1 without biases
        assert row["theory_fisher_trace"] > 0
        assert "theory_note" in row
    deeper = command.json("predict", "tiny.yaml", "--set", "network.depth=5")["predictions"]
    assert {row["depth"] for row in deeper} == {5}
    table = command.run("predict", "tiny.yaml").stdout.splitlines()
    assert len(table) == 4  # a title, the names, and a line for each depth: seeds share it
    assert not (command.folder / "isosweep-store").exists()


def test_no_network_is_built(command: Command) -> None:
    """torch cannot be imported, and all works."""
    command.write("torch.py", "raise ImportError('torch is not for predict')\n")
    for words in (["tiny.yaml"], ["--activation", "gelu", "--gain", "1.2", "--depth", "3", "--width", "30"]):
        done = command.run("predict", *words, PYTHONPATH=str(command.folder))
        assert done.stdout
    import subprocess

    probe = subprocess.run(
        [sys.executable, "-c", "import torch"], cwd=command.folder, capture_output=True, text=True, check=False
    )
    assert "torch is not for predict" in probe.stderr  # the stand-in is what an import would have met


def test_text_and_json_have_the_same_numbers(command: Command) -> None:
    words = ["predict", "--activation", "erf", "--gain", "1.3", "--bias-std", "0.1", "--depth", "6", "--width", "200"]
    text = command.run(*words).stdout
    fields = json.loads(command.run(*words, "--json").stdout)["prediction"]
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if not line.startswith("note:"))
    for name, value in fields.items():
        if isinstance(value, float):
            assert float(lines[name]) == pytest.approx(value, rel=1e-9)
        elif value is None:
            assert lines[name] == "—"
    assert [line.removeprefix("note: ") for line in text.splitlines() if line.startswith("note:")] == fields["notes"]


def test_inputs_away_from_the_fixed_point_and_at_it(command: Command) -> None:
    words = ["--activation", "tanh", "--gain", 1.9, "--bias-std", 0.1, "--depth", 6, "--width", 500]
    away = _predicted(command, *words, "--input-square", "1/20")
    assert away["run_jacobian_s_max"] > 1.5 * away["jacobian_s_max"]
    assert any(note.startswith("jacobian_s_max: the fixed point's") for note in away["notes"])
    there = _predicted(command, *words, "--input-square", "fixed_point")
    assert there["run_jacobian_s_max"] == there["jacobian_s_max"] == away["jacobian_s_max"]
    words = "--activation relu --gain 1.5 --depth 2 --width 9 --input-square fixed_point"
    assert "cannot start at the fixed point" in command.run("predict", *words.split(), check=2).stderr
