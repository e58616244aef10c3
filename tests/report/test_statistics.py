"""Exponents, correlations and their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from isosweep.report.statistics import correlation, fences, growth


def _sample(exponent: float, seeds: int, noise: float, places: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = np.repeat(2.0 ** np.arange(2, 2 + places), seeds)
    return x, 0.3 + exponent * np.log(x) + noise * rng.normal(size=len(x))


def test_an_exact_power_law_is_found() -> None:
    x, y = _sample(1.5, 3, 0.0)
    found = growth(x, y, "k")
    assert found is not None
    assert found.exponent == pytest.approx(1.5)
    assert found.interval == pytest.approx((1.5, 1.5))
    assert found.power_r2 == pytest.approx(1)
    assert found.exponential_r2 < 0.95


def test_an_exponential_is_told_from_a_power_law() -> None:
    x = np.repeat([4.0, 8.0, 16.0, 32.0], 2)
    found = growth(x, -0.2 * x, "k")
    assert found is not None
    assert found.rate == pytest.approx(-0.2)
    assert found.exponential_r2 > found.power_r2


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(2.0 ** np.arange(2, 8), 12)
    hits = 0
    for k in range(100):
        found = growth(x, 0.7 * np.log(x) + 0.5 * rng.normal(size=len(x)), f"k{k}")
        assert found is not None
        assert found.interval is not None
        hits += found.interval[0] <= 0.7 <= found.interval[1]
    assert 84 <= hits <= 99


def test_single_seeds_have_no_interval_and_one_place_no_growth() -> None:
    x, y = _sample(1.0, 1, 0.1)
    found = growth(x, y, "k")
    assert found is not None
    assert found.interval is None
    assert growth(np.array([4.0, 4.0]), np.array([1.0, 2.0]), "k") is None


def test_intervals_depend_on_the_key_alone() -> None:
    x, y = _sample(1.0, 3, 0.3)
    assert growth(x, y, "a") == growth(x, y, "a")
    assert growth(x, y, "a") != growth(x, y, "b")


def test_correlations_agree_with_scipy() -> None:
    rng = np.random.default_rng(2)
    x = np.round(rng.normal(size=60), 1)  # with ties
    y = x + rng.normal(size=60)
    found = correlation(x, y, [f"c{k // 3}" for k in range(60)], "k")
    assert found is not None
    assert found.pearson == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert found.pearson_interval[0] < found.pearson < found.pearson_interval[1]
    assert (found.n, found.groups) == (60, 20)


def test_few_cells_or_constants_have_no_correlation() -> None:
    assert correlation(np.arange(4.0), np.arange(4.0), list("abcd"), "k") is None
    assert correlation(np.arange(9.0), np.ones(9), list("abcdefghi"), "k") is None


def test_far_outliers_do_not_set_the_range() -> None:
    values = pd.Series([0.0, 0.5, 1.0, 1.5, -121.0, np.nan, -np.inf])
    low, high = fences(values)
    assert -5 < low < 0
    assert high == 1.5
    assert fences(pd.Series([], dtype=float)) == (0.0, 1.0)
    assert fences(pd.Series([2.0])) == (1.5, 2.5)
