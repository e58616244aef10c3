"""Statistics of a report, each with its interval: bootstrap by seeds or by cells, 95 %, percentiles.

Resampling is keyed by what is estimated, so that the same tables give the same intervals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "Correlation", "Growth", "correlation", "fences", "growth", "median_interval"]

Array = NDArray[np.float64]

RESAMPLES = 1000
_INTERVAL = (2.5, 97.5)
_FEWEST_GROUPS = 8  # below, a bootstrap interval of a correlation says nothing


@dataclass(frozen=True)
class Correlation:
    """Pearson's and Spearman's correlation with their intervals; `n` points in `groups` groups that were resampled."""

    pearson: float
    pearson_interval: tuple[float, float]
    spearman: float
    spearman_interval: tuple[float, float]
    n: int
    groups: int


@dataclass(frozen=True)
class Growth:
    """y ∝ x^exponent by least squares on logarithms, and the rate of y ∝ exp(rate·x).

    `power_r2` and `exponential_r2` are the shares of the variance of ln y that either explains.
    """

    exponent: float
    interval: tuple[float, float] | None
    intercept: float
    power_r2: float
    rate: float
    exponential_r2: float
    points: int
    places: int
    fewest_seeds: int
    most_seeds: int


def _generator(key: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=int(hashlib.sha256(key.encode()).hexdigest()[:32], 16)))


def _interval(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (float("nan"), float("nan"))
    low, high = np.percentile(finite, _INTERVAL)
    return (float(low), float(high))


def _ranks(values: Array) -> Array:
    """Ranks, ties by their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=float)


def _pearson(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")


def correlation(x: Array, y: Array, groups: Sequence[str], key: str) -> Correlation | None:
    """Correlation of two measures; whole groups are resampled, since the seeds of a cell are no independent points."""
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    names, group = np.unique(np.asarray(groups, dtype=object)[good].astype(str), return_inverse=True)
    if len(names) < _FEWEST_GROUPS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    members = [np.flatnonzero(group == g) for g in range(len(names))]
    rng = _generator(key)
    drawn = np.empty((RESAMPLES, 2))
    for k in range(RESAMPLES):
        index = np.concatenate([members[g] for g in rng.integers(len(names), size=len(names))])
        drawn[k] = _pearson(x[index], y[index]), _pearson(_ranks(x[index]), _ranks(y[index]))
    return Correlation(
        _pearson(x, y),
        _interval(drawn[:, 0]),
        _pearson(_ranks(x), _ranks(y)),
        _interval(drawn[:, 1]),
        len(x),
        len(names),
    )


def median_interval(values: Array, key: str) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of a median, the values resampled; None below 8 of them."""
    if len(values) < _FEWEST_GROUPS:
        return None
    rng = _generator(key)
    drawn = np.empty(RESAMPLES)
    for k in range(RESAMPLES):
        drawn[k] = np.median(values[rng.integers(len(values), size=len(values))])
    return _interval(drawn)


def fences(log10: pd.Series, least: float = 1.0) -> tuple[float, float]:
    """The range to draw of logarithms: all but what is more than 3 interquartile ranges off (Tukey's outer fences).

    `least` is the least interquartile range assumed, in decades. A softmax that saturates has eigenvalues of 1e-120
    beside ones of 1: drawn to scale, nothing else would be seen.
    """
    finite = log10[np.isfinite(log10.to_numpy(dtype=float))]
    if not len(finite):
        return (0.0, 1.0)
    first, third = np.percentile(finite, (25, 75))
    reach = 3 * max(float(third - first), least)
    low, high = max(float(finite.min()), first - reach), min(float(finite.max()), third + reach)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _line(x: Array, y: Array) -> tuple[float, float, float]:
    """Slope, intercept and the share of the variance explained."""
    centre = x - x.mean()
    square = float(centre @ centre)
    slope = float(centre @ y) / square if square > 0 else float("nan")
    intercept = float(y.mean() - slope * x.mean())
    total = float(((y - y.mean()) ** 2).sum())
    left = float(((y - intercept - slope * x) ** 2).sum())
    return slope, intercept, 1 - left / total if total > 0 else float("nan")


def growth(x: Array, log_y: Array, key: str) -> Growth | None:
    """The growth of y (given by its natural logarithm) with x; seeds are resampled at every x.

    None with fewer than two places x; no interval where some place has a single seed only.
    """
    good = np.isfinite(x) & np.isfinite(log_y) & (x > 0)
    x, log_y = x[good], log_y[good]
    places = np.unique(x)
    if len(places) < 2:
        return None
    log_x = np.log(x)
    exponent, intercept, power_r2 = _line(log_x, log_y)
    rate, _, exponential_r2 = _line(x, log_y)
    members = [np.flatnonzero(x == place) for place in places]
    sizes = [len(m) for m in members]
    interval = None
    if min(sizes) > 1:
        rng = _generator(key)
        index = np.concatenate([m[rng.integers(len(m), size=(RESAMPLES, len(m)))] for m in members], axis=1)
        ys, xs = log_y[index], log_x[index]
        centre = xs - xs.mean(axis=1, keepdims=True)
        interval = _interval((centre * ys).sum(axis=1) / (centre * centre).sum(axis=1))
    return Growth(
        exponent, interval, intercept, power_r2, rate, exponential_r2, len(x), len(places), min(sizes), max(sizes)
    )
