"""Every figure against a stored reference by content: its marks, encodings and the data that it draws.

Of the data the columns are stored, how many rows, and of every column of numbers its sum and its extremes: enough that
no value changes unseen, without a copy of every table. ISOSWEEP_WRITE_GOLDEN=1 stores them anew: look at the difference
before it is committed.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from isosweep.report import Tables, compare, comparison_figures, load_tables
from isosweep.report.axes import roles
from isosweep.report.cells import MEASURES, cells_of
from isosweep.report.described import Described
from isosweep.report.drawings.chosen_network import chosen_network
from isosweep.report.drawings.completeness import completeness
from isosweep.report.drawings.edge_of_stability import edge_of_stability
from isosweep.report.drawings.fisher_by_layer import fisher_by_layer
from isosweep.report.drawings.growth_with import growth_with
from isosweep.report.drawings.heat_map import heat_map
from isosweep.report.drawings.jacobian_law import jacobian_histogram, jacobian_quantiles, near_critical
from isosweep.report.drawings.layer_profile import PROFILES, layer_profile
from isosweep.report.drawings.relation import relation
from isosweep.report.drawings.residuals import residuals
from isosweep.report.drawings.smoothness import smoothness
from isosweep.report.drawings.spectra_overview import spectra_overview
from isosweep.report.drawings.training_curves import ALONG_TRAINING, training_curves
from isosweep.report.drawings.training_speed import condition_against_speed, manifolds
from isosweep.report.thinning import spectra_of
from isosweep.report.training import curves_of

from .synthetic import write_tables, write_trained

GOLDEN = Path(__file__).parent / "golden" / "figures.json"
_SHAPE = ("mark", "encoding", "transform", "facet", "columns", "resolve", "params")


def _shape(spec: Any) -> Any:
    """The parts of a specification that say how data are drawn, the data themselves left out."""
    if isinstance(spec, list):
        return [_shape(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    inner = {name: [_shape(part) for part in spec[name]] for name in ("layer", "concat") if name in spec}
    if "spec" in spec:
        inner["spec"] = _shape(spec["spec"])
    return inner | {name: spec[name] for name in _SHAPE if name in spec and name not in inner}


def _told(figure: Described) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in figure.data.columns:
        column = figure.data[name]
        if column.dtype.kind in "if":
            finite = [float(value) for value in column if math.isfinite(value)]
            columns[str(name)] = [len(finite), sum(finite), min(finite, default=None), max(finite, default=None)]
        else:
            columns[str(name)] = sorted({str(value) for value in column})[:12]
    return {
        "rows": len(figure.data),
        "columns": columns,
        "drawn": _shape(json.loads(json.dumps(figure.chart.to_dict()))),
    }


def _all(quickstart: Tables, folder: Path) -> dict[str, Described]:
    """Figures of a sweep at initialisation, of one that trains, and of two side by side."""
    cells = cells_of(quickstart, roles(quickstart))
    theory = cells.runs.assign(theory_fisher_lambda_max=2.0 * cells.runs["depth"] ** 1.1)
    networks, note = spectra_of(quickstart, cells)
    lawful, without = near_critical(cells, networks)
    trained = load_tables(
        write_trained(folder / "trained", {"manifold": ["euclidean", "stiefel"], "gain": [1.0, 1.5], "seed": [0, 1]})
    )
    curves = curves_of(trained, cells_of(trained, roles(trained)))
    other = load_tables(
        write_tables(folder / "other", {"depth": [16, 64], "gain": [0.8, 1.2], "seed": [0, 1]}, name="other")
    )
    cells_with_theory = type(cells)(theory, theory, cells.roles, cells.panels, "")
    drawn = [
        completeness(cells), chosen_network(cells, networks, note),
        *(heat_map(cells, measure) for measure in MEASURES[1:]),
        *(spectra_overview(kind, cells, networks) for kind in ("fisher", "jacobian")),
        jacobian_histogram(quickstart, cells, lawful), jacobian_quantiles(cells, networks, lawful, without),
        fisher_by_layer(cells, networks), relation(cells), growth_with(cells_with_theory, MEASURES[0], "depth"),
        growth_with(cells, MEASURES[3], "depth"), *(layer_profile(profile, cells, networks) for profile in PROFILES),
        residuals(cells_with_theory, MEASURES[0]), *(training_curves(along, curves) for along in ALONG_TRAINING),
        edge_of_stability(curves), condition_against_speed(curves), manifolds(curves), smoothness(curves),
        *comparison_figures(compare(quickstart, other)).values(),
    ]  # fmt: skip
    assert all(figure is not None for figure in drawn)
    return {figure.name: figure for figure in drawn if figure is not None}


def _same(found: Any, stored: Any, where: str) -> None:
    """Equal, numbers to rounding: libm may move the last digits."""
    if isinstance(stored, dict):
        assert sorted(found) == sorted(stored), where
        for name in stored:
            _same(found[name], stored[name], f"{where}.{name}")
    elif isinstance(stored, list):
        assert len(found) == len(stored), where
        for place, (a, b) in enumerate(zip(found, stored, strict=True)):
            _same(a, b, f"{where}[{place}]")
    elif isinstance(stored, float):
        assert found == pytest.approx(stored, rel=1e-6, abs=1e-9), where
    else:
        assert found == stored, where


def test_every_figure_is_the_stored_one_in_data_and_encodings(quickstart: Tables, tmp_path: Path) -> None:
    found = {name: _told(figure) for name, figure in _all(quickstart, tmp_path).items()}
    if os.environ.get("ISOSWEEP_WRITE_GOLDEN") == "1":
        text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
        GOLDEN.write_text(text + "\n", encoding="utf-8")
    stored = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert sorted(found) == sorted(stored)
    for name in stored:
        _same(json.loads(json.dumps(found[name])), stored[name], name)
