"""Spectra on the page: thinned by rank, on axes that hold any exponent, zeros counted."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from isosweep.report import Tables, described_figures, load_tables, page
from isosweep.report.thinning import pooled, ranks

from .synthetic import write_tables


def test_ranks_keep_the_ends_and_are_few() -> None:
    for count in (1, 2, 40, 41, 576, 100_000):
        chosen = ranks(count)
        assert chosen[0] == 1
        assert chosen[-1] == count
        assert len(chosen) <= 40
        assert (np.diff(chosen) > 0).all()


def test_pooled_values_keep_the_extremes_and_count_zeros() -> None:
    rng = np.random.default_rng(0)
    logs = [rng.normal(size=200), np.full(10, -np.inf)]
    points = pooled(logs)
    assert points.zeros == 10
    assert points.of == 210
    assert points.log10[0] == pytest.approx(logs[0].max() / math.log(10))
    assert points.log10[-1] == pytest.approx(logs[0].min() / math.log(10))
    assert points.x[-1] == pytest.approx(199.5 / 210)


def _with_tail(folder: Path, log_s_min: float) -> Tables:
    write_tables(folder, {"depth": [4], "gain": [1.0, 1.1], "seed": [0]})
    table = pyarrow.parquet.read_table(folder / "jacobian.parquet").to_pylist()
    for row in table:
        row["log_singular_values"][-1] = log_s_min
        row["singular_values"][-1] = math.exp(log_s_min) if log_s_min > -700 else 0.0
    pyarrow.parquet.write_table(pa.Table.from_pylist(table), folder / "jacobian.parquet")
    return load_tables(folder)


@pytest.mark.parametrize("exponent", [-300, -5000])
def test_a_collapsed_tail_stands_on_its_axis(tmp_path: Path, exponent: int) -> None:
    tables = _with_tail(tmp_path, exponent * math.log(10))
    data = described_figures(tables)["jacobian_spectra"].data
    assert data["log10"].min() == pytest.approx(exponent, abs=1e-3)


def test_exact_zeros_are_counted_not_drawn(tmp_path: Path) -> None:
    tables = _with_tail(tmp_path, -math.inf)
    figures = described_figures(tables)
    assert np.isfinite(figures["jacobian_spectra"].data["log10"]).all()
    assert "exact zeros" in figures["jacobian_spectra"].caption
    assert "4 of 128 singular values are exact zeros" in figures["chosen_network"].caption


def test_the_networks_on_the_page_are_the_tables(quickstart: Tables, quickstart_page: str) -> None:
    found = re.search(
        r'<script type="application/json" id="networks-of-the-page">(.*?)</script>', quickstart_page, re.DOTALL
    )
    assert found is not None
    networks = json.loads(found[1])
    assert len(networks["cells"]) == 59  # 60, but one has no record
    fisher = pyarrow.parquet.read_table(quickstart.folder / "fisher.parquet").to_pandas()  # type: ignore[operator]
    whole = fisher[fisher["block"] == "all"].set_index("run_id")["eigenvalues"]
    tops = sorted(round(math.log10(values[0]), 4) for values in whole)
    drawn = sorted(line[2][0] for cell in networks["cells"].values() for line in cell["parts"]["network_fisher"])
    assert drawn == pytest.approx(tops, abs=1e-4)


def test_large_sweeps_are_thinned_for_the_page_and_say_so(tmp_path: Path) -> None:
    axes = {"depth": list(range(1, 31)), "gain": list(np.linspace(0.5, 2.5, 120)), "seed": [0]}
    done = {k: ("missing", "") for k in range(3600) if k % 100}
    tables = load_tables(write_tables(tmp_path, axes, statuses=done, eigenvalues=8, samples=1, values=8))
    text = page(tables)
    assert (
        "The page shows 252 of 3,600 cells (21 of 120 values of gain, 12 of 30 values of depth, evenly spread)" in text
    )
    assert len(tables.runs) == 3600
