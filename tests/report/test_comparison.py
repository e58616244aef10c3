"""Two sweeps side by side: what differs, which cells are matched, how far the numbers moved, which bits are equal."""

from __future__ import annotations

import html
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.report import compare, comparison_figures, comparison_page, comparison_text, load_tables
from isosweep.report.comparison import Comparison, shift_of

from . import odd
from .synthetic import write_tables

AXES = {"depth": [4, 16], "activation": ["tanh", "relu"], "gain": [0.9, 1.0, 1.2], "seed": [0, 1, 2]}


def _compared(folder: Path, a: dict[str, object], b: dict[str, object]) -> Comparison:
    """Two sweeps over `AXES`, with what `write_tables` is told otherwise of either."""
    sides = [write_tables(folder / side, **{"axes": AXES, "name": side, **told}) for side, told in (("A", a), ("B", b))]
    return compare(*map(load_tables, sides))


def _times(factor: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda runs: runs.assign(fisher_lambda_max=runs["fisher_lambda_max"] * factor)


def test_a_sweep_beside_itself_has_no_difference(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {}, {})
    assert compared.differing == []
    assert len(compared.matched.frame) == 12
    assert (compared.matched.only_a, compared.matched.only_b) == (0, 0)
    assert all(shift.least == shift.most == 0 for shift in compared.shifts)
    assert [shift.cells for shift in compared.shifts] == [12] * 4
    assert (compared.digests.common, compared.digests.equal, compared.digests.differing) == (36, 36, 0)
    assert compared.file_difference == ()


def test_a_factor_is_found_with_its_interval(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {}, {"edit": _times(1.7)})
    shift = compared.shifts[0]
    assert shift.measure.name == "fisher_lambda_max"
    assert 10**shift.median == pytest.approx(1.7)
    assert shift.interval == pytest.approx((math.log10(1.7), math.log10(1.7)))
    assert "λ_max(F) of B is 1.7 times that of A" in shift.sentence
    assert shift.paired == 36


def test_a_setting_without_common_values_is_the_difference_and_not_a_key(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {"fixed": {"width": 64}}, {"fixed": {"width": 128}})
    assert [(s.name, s.words, s.kind) for s in compared.differing] == [("width", ("64", "128"), "none")]
    assert len(compared.matched.frame) == 12
    assert compared.digests.common == 0
    assert "The sweeps differ in width (A: 64; B: 128)." in compared.answer


def test_cells_of_one_side_alone_are_counted(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {}, {"axes": {**AXES, "depth": [16, 64], "gain": [1.0, 1.2]}})
    assert len(compared.matched.frame) == 4
    assert (compared.matched.only_a, compared.matched.only_b) == (8, 4)
    assert sorted(set(compared.matched.frame["depth"])) == [16]
    assert "4 cells are in both; 8 cells only in A and 4 cells only in B." in compared.answer


def test_the_medians_are_the_tables(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {}, {"axes": {**AXES, "seed": [0, 1, 2, 3, 4]}})
    for row in compared.matched.frame.to_dict("records"):
        for side, tables in (("A", compared.a), ("B", compared.b)):
            runs = tables.runs
            here = runs[
                (runs["depth"] == row["depth"])
                & (runs["gain"] == row["gain"])
                & (runs["activation"] == row["activation"])
            ]
            values = np.sort(here["fisher_trace"].to_numpy())
            assert row[f"fisher_trace n of {side}"] == len(values) == (3 if side == "A" else 5)
            assert 10 ** row[f"fisher_trace median of {side}"] == pytest.approx(values[len(values) // 2], rel=1e-12)
    assert set(compared.matched.frame["fisher_trace pairs"]) == {3}


def test_critical_gains_are_matched_by_their_rule_not_their_digits(tmp_path: Path) -> None:
    def critical(bias: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
        return lambda runs: runs.assign(gain_rule="critical", bias_std=bias, gain=1 + bias + runs["depth"] / 1000)

    axes = {"depth": [4, 16], "seed": [0, 1]}
    compared = _compared(tmp_path, {"axes": axes, "edit": critical(0.0)}, {"axes": axes, "edit": critical(0.1)})
    assert "gain" not in compared.matched.keys
    assert len(compared.matched.frame) == 2


def test_equal_ids_with_other_digests_are_told_with_their_environments(tmp_path: Path) -> None:
    def other(runs: pd.DataFrame) -> pd.DataFrame:
        runs.loc[3, ["digest", "environment_class", "fisher_lambda_max"]] = [
            "f" * 64, "elsewhere", runs.loc[3, "fisher_lambda_max"] * (1 + 1e-9),
        ]  # fmt: skip
        runs.loc[5, "digest"] = "0" * 64
        return runs

    compared = _compared(tmp_path, {}, {"edit": other})
    found = compared.digests
    assert (found.common, found.equal, found.differing, found.across_environments) == (36, 34, 2, 1)
    assert found.different["relative difference of λ_max"].max() == pytest.approx(1e-9, rel=1e-5)
    assert "elsewhere" in set(found.different["environment_class of B"])
    assert "34 with the same digest, bit for bit and 2 with another one (1 of them" in compared.of_digests
    assert "elsewhere" in comparison_page(compared)


def test_the_changed_lines_of_the_file_are_shown(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {}, {})
    b = compared.b.sweep | {"sweep_file": compared.b.sweep["sweep_file"].replace("width: 64", "width: 128")}
    changed = compare(compared.a, type(compared.b)(compared.b.runs, compared.b.folder, b))
    assert [line for line in changed.file_difference if line[0] in "+-"][2:] == ["-  width: 64", "+  width: 128"]
    assert "-  width: 64\n+  width: 128" in html.unescape(comparison_page(changed))


def test_the_page_is_whole_and_the_same_bytes_again(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {"statuses": {2: ("failed", "ValueError: <b>no</b>")}}, {"edit": _times(2.0)})
    text = comparison_page(compared)
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert text.endswith("</html>")
    assert "&lt;b&gt;no&lt;/b&gt;" in body
    assert "of B is 2 times that of A" in body
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", body)
    assert comparison_page(compare(*(load_tables(tmp_path / side) for side in "AB"))) == text


def test_figures_say_what_they_show(tmp_path: Path) -> None:
    figures = comparison_figures(_compared(tmp_path, {}, {"edit": _times(2.0)}))
    assert {"fisher_lambda_max_both", "fisher_lambda_max_ratio", "jacobian_s_max_ratio"} <= set(figures)
    ratio = figures["fisher_lambda_max_ratio"]
    assert ratio.data["log10 of B over A"].to_numpy() == pytest.approx(math.log10(2))
    assert "12 are higher in B, 0 lower and 0 the same" in ratio.caption
    for figure in figures.values():
        assert figure.caption.endswith(".")
        assert figure.alternative.endswith(".")


def test_the_terminal_gets_the_same_answer(tmp_path: Path) -> None:
    compared = _compared(tmp_path, {"fixed": {"width": 64}}, {"fixed": {"width": 128}, "edit": _times(3.0)})
    text = comparison_text(compared, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "The sweeps differ in width (A: 64; B: 128)." in text
    assert re.search(r"λ_max\(F\)\s+12\s", text)


@pytest.mark.parametrize("make", odd.ODD, ids=lambda make: make.__name__)
def test_odd_tables_are_compared_too(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strange = load_tables(make(tmp_path / "odd"))
        plain = load_tables(write_tables(tmp_path / "plain", odd.SMALL))
        assert comparison_text(compare(strange, strange))
        assert comparison_text(compare(plain, strange))
        text = comparison_page(compare(strange, plain))
    assert text.count("</script>") == 4


@settings(max_examples=15, deadline=None)
@given(st.floats(-3, 3), st.integers(0, 2**32))
def test_there_and_back_is_the_same_way(tmp_path_factory: pytest.TempPathFactory, log10: float, seed: int) -> None:
    """B over A is the inverse of A over B, whatever the numbers."""
    folder = tmp_path_factory.mktemp("both")
    rng = np.random.default_rng(seed)

    def scattered(runs: pd.DataFrame) -> pd.DataFrame:
        noise = 10 ** (log10 + rng.normal(size=len(runs)))
        return runs.assign(fisher_lambda_max=runs["fisher_lambda_max"] * noise)

    axes = {"depth": [4, 16], "gain": [0.9, 1.0], "seed": [0, 1, 2]}
    compared = _compared(folder, {"axes": axes}, {"axes": axes, "edit": scattered})
    back = compare(compared.b, compared.a)
    measure = compared.shifts[0].measure
    assert shift_of(compared.matched, measure).to_numpy() == pytest.approx(
        -shift_of(back.matched, measure).to_numpy(), abs=1e-12
    )
    assert compared.shifts[0].median == pytest.approx(-back.shifts[0].median, abs=1e-12)
