"""What `verify` found, on the page: agreement, what differs, errors against tolerances, other orders of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isosweep.report import TablesError, load_tables, page
from isosweep.report.drawings.verified import data_orders, tolerances
from isosweep.report.reproducibility import verifications
from isosweep.store.store import Store
from isosweep.sweep.sweep import load
from isosweep.tables.findings import collect_findings

from .synthetic import write_tables, write_trained

AXES = {"gain": [1.0, 1.1], "seed": [0, 1]}


def _finding(kind: str, runs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run["verdict"]] = counts.get(run["verdict"], 0) + 1
    return {
        "schema_version": 1,
        "kind": kind,
        "at": "2026-11-23T15:00:00Z",
        "sweep": "s",
        "asked": {"sample": len(runs), "draw": 0, "all": False, "runs": [run["run_id"] for run in runs]},
        "recorded": 4,
        "agree": set(counts) <= {"same", "within", "comparable"},
        "counts": counts,
        "runs": runs,
    } | more


def _beside(folder: Path, *found: dict[str, Any]) -> Path:
    (folder / "verifications.json").write_text(json.dumps({"schema_version": 1, "verifications": list(found)}))
    return folder


def _quantity(name: str, used: float | str, judged: bool = True) -> dict[str, Any]:
    about = {"numbers": 12, "largest_relative": 1e-9, "where": f"{name}[1]"}
    return about | {"quantity": name, "used": used, "judged": judged}


def _ids(folder: Path) -> list[str]:
    return list(load_tables(folder).runs["run_id"])


def test_agreement_is_said_with_its_numbers(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, AXES)
    found = _finding("repeat", [{"run_id": run, "verdict": "same"} for run in _ids(folder)[:3]])
    text = page(load_tables(_beside(folder, found)))
    assert 'id="reproducibility"' in text
    assert "3 runs of 4 with a record (a sample)" in text
    assert "3 the same to the last bit" in text
    assert "<td>yes</td>" in text


def test_what_differs_is_named_and_escaped(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, AXES)
    run = {
        "run_id": _ids(folder)[0], "verdict": "differs", "first_difference": "layer 3 (layer3): q",
        "largest_relative": 0.25, "explanation": "first at layer 3; <b>two</b> new computations differ as well",
    }  # fmt: skip
    text = page(load_tables(_beside(folder, _finding("repeat", [run]))))
    assert "layer 3 (layer3): q" in text
    assert "&lt;b&gt;two&lt;/b&gt;" in text
    assert "<td>no</td>" in text


def test_errors_stand_against_their_tolerances(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, AXES)
    quantities = [_quantity("a", 0.5), _quantity("b", 30.0), _quantity("c", "inf"), _quantity("rank", 1e4, False)]
    runs = [{"run_id": _ids(folder)[0], "verdict": "beyond", "quantities": quantities}]
    found = _finding("across", runs, variants=["cpu", "cuda"], quantities=quantities)
    figure = tolerances(verifications(load_tables(_beside(folder, found))))
    assert figure is not None
    assert "Of 3 quantities judged, b and c are beyond it" in figure.caption
    assert "Not judged, and in the numbers alone: rank." in figure.caption
    assert dict(zip(figure.data["quantity"], figure.data["share of its tolerance"], strict=True))["b"] == 30.0


def test_the_worst_of_runs_is_taken_where_nothing_is_summed(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, AXES)
    runs = [
        {"run_id": run, "verdict": "within", "quantities": [_quantity("a", used)]}
        for run, used in zip(_ids(folder), (0.1, 0.7, 0.2), strict=False)
    ]
    figure = tolerances(verifications(load_tables(_beside(folder, _finding("repeat", runs)))))
    assert figure is not None
    assert list(figure.data["share of its tolerance"]) == [0.7]


def test_other_orders_stand_within_their_spread(tmp_path: Path) -> None:
    folder = write_trained(tmp_path, {"manifold": ["stiefel"], "gain": [1.0], "seed": [0, 1]})
    spread = {
        "quantity": "test_loss", "recorded": 0.3, "mean": 0.28, "deviation": 0.01, "smallest": 0.27, "largest": 0.3,
        "standardised": 1.8, "limit": 5.4, "comparable": True,
    }  # fmt: skip
    runs = [{"run_id": run, "verdict": "comparable", "spreads": [spread]} for run in _ids(folder)]
    tables = load_tables(_beside(folder, _finding("orders", runs)))
    figure = data_orders(tables, verifications(tables))
    assert figure is not None
    assert "0 of 2 numbers are apart" in figure.caption
    assert "±5.4" in figure.caption
    assert set(figure.data["seed"]) == {"0", "1"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verifications": [{"kind": "repeat"}]}', '{"verifications": 3}'])
def test_a_file_that_holds_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    folder = write_tables(tmp_path, AXES)
    (folder / "verifications.json").write_text(text)
    with pytest.raises(TablesError, match=r"verifications\.json holds no verifications"):
        page(load_tables(folder))


def test_without_findings_there_is_no_such_part(tmp_path: Path) -> None:
    assert 'id="reproducibility"' not in page(load_tables(write_tables(tmp_path, AXES)))


SPEC = """\
name: tiny
network: {depth: [2, 3], width: 8, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 16}
measure: {fisher: {samples: 6}}
seeds: 2
"""


def test_collecting_takes_what_concerns_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    sweep = load(tmp_path / "tiny.yaml", ())
    ids = [run.id for run in sweep.runs()]
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    out.mkdir()
    assert collect_findings(sweep, store, out) == {}
    assert not (out / "verifications.json").exists()
    folder = store.root / "verifications"
    folder.mkdir(parents=True)
    differing = {
        "run_id": ids[1], "verdict": "differs", "first_difference": {"where": "layer 2 (layer2): q"},
        "changes": [{"name": "hostname", "decisive": False}, {"name": "cpu_model", "decisive": True}],
        "settings": {"depth": 2}, "explanation": "e", "largest_relative": "inf",
    }  # fmt: skip
    runs = [{"run_id": ids[0], "verdict": "same", "settings": {}}, differing, {"run_id": "f" * 20, "verdict": "failed"}]
    (folder / "20261123T150000Z-aa.json").write_text(json.dumps(_finding("repeat", runs)))
    (folder / "20261123T150001Z-bb.json").write_text(json.dumps(_finding("repeat", runs[2:])))
    (folder / "20261123T150002Z-cc.json").write_text("torn")
    assert [Path(path).name for path in collect_findings(sweep, store, out)] == ["20261123T150002Z-cc.json"]
    (kept,) = json.loads((out / "verifications.json").read_text())["verifications"]
    assert kept["counts"] == {"same": 1, "differs": 1}
    assert kept["runs"][0] == {"run_id": ids[0], "verdict": "same"}
    assert kept["runs"][1]["first_difference"] == "layer 2 (layer2): q"
    assert [change["name"] for change in kept["runs"][1]["changes"]] == ["cpu_model"]
    for path in folder.iterdir():
        path.unlink()
    collect_findings(sweep, store, out)
    assert not (out / "verifications.json").exists()
