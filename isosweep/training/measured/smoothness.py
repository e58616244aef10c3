"""The local smoothness of the loss along the path, against the size of its gradient.

At a step from θ to θ' the gradients g and g' on one set of inputs give |g' − g|/|θ' − θ|, an estimate of ‖∇²L‖ along
the step; (L0, L1)-smoothness (Zhang et al. 2020; Crawshaw et al. 2022) says that it is at most L0 + L1|g|. The pairs
of a whole run are fitted by least squares with L0, L1 ≥ 0. The same is done coordinate by coordinate, |g'_j − g_j| over
|θ' − θ| against |g_j|, for a sample of coordinates; their quantiles are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from isosweep.draws import generator
from isosweep.threads import Workers
from isosweep.training.parameters import norm

__all__ = ["QUANTILES", "SmoothnessPath", "fit_smoothness"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
COORDINATES = 4096


def fit_smoothness(sizes: np.ndarray, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(L0, L1) ≥ 0 that minimise Σ_t (ratio_t − L0 − L1·size_t)², for each column.

    Args:
        sizes: |g|, (points,) or (points, columns).
        ratios: |Δg|/|Δθ|, of the same shape.

    Returns:
        L0 and L1, each of the shape of a point; NaN where there are fewer than two points or sizes do not vary.
    """
    points = len(sizes)
    blank = np.full(sizes.shape[1:], np.nan)
    if points < 2:
        return blank, blank.copy()
    mean_size, mean_ratio = sizes.mean(axis=0), ratios.mean(axis=0)
    spread = ((sizes - mean_size) ** 2).mean(axis=0)
    varies = spread > (1e-12 * mean_size) ** 2
    slope = ((sizes - mean_size) * (ratios - mean_ratio)).mean(axis=0) / np.where(varies, spread, 1.0)
    offset = mean_ratio - slope * mean_size
    # where the free optimum leaves the quadrant, the least squares on its two edges
    square = (sizes**2).mean(axis=0)
    through_zero = (sizes * ratios).mean(axis=0) / np.where(square > 0, square, 1.0)
    slope, offset = (
        np.where(slope < 0, 0.0, np.where(offset < 0, through_zero, slope)),
        np.where(slope < 0, mean_ratio, np.where(offset < 0, 0.0, offset)),
    )
    return np.where(varies, offset, np.nan), np.where(varies, slope, np.nan)


@dataclass
class SmoothnessPath:
    """The pairs of a run so far.

    Attributes:
        coordinates: those that are followed, (m,) ascending.
        sizes, ratios: |g| and |Δg|/|Δθ| of each measured step.
        coordinate_sizes, coordinate_ratios: the same of each coordinate, (m,) a step.
    """

    coordinates: Tensor
    sizes: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    coordinate_sizes: list[np.ndarray] = field(default_factory=list)
    coordinate_ratios: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int, parameters: int, device: torch.device) -> SmoothnessPath:
        """An empty path; coordinates drawn by the run's seed."""
        if parameters <= COORDINATES:
            chosen = np.arange(parameters)
        else:
            chosen = np.unique(generator(seed, "smoothness").integers(parameters, size=COORDINATES))
        return cls(torch.from_numpy(chosen).to(device))

    def add(self, before: Tensor, after: Tensor, moved: Tensor, workers: Workers) -> dict[str, float]:
        """A step's pair.

        Args:
            before, after: the gradients at θ and θ', flat.
            moved: θ' − θ, flat.

        Returns:
            The columns of the table `training`.
        """
        size, length = norm(before, workers), norm(moved, workers)
        change = norm(after - before, workers)
        ratio = change / length if length > 0 else math.nan
        here = before[self.coordinates].abs()
        moves = (after[self.coordinates] - before[self.coordinates]).abs()
        if length > 0:
            self.sizes.append(size)
            self.ratios.append(ratio)
            self.coordinate_sizes.append(here.double().cpu().numpy())
            self.coordinate_ratios.append((moves / length).double().cpu().numpy())
        return {"smoothness": ratio, "smoothness_gradient_norm": size}

    def quantiles(self) -> np.ndarray:
        """Of the last step's coordinates, at `QUANTILES`."""
        if not self.coordinate_ratios:
            return np.full(len(QUANTILES), np.nan)
        found: np.ndarray = np.quantile(self.coordinate_ratios[-1], QUANTILES)
        return found

    def fitted(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """(L0, L1) of the whole, and the quantiles of the coordinates' own, by column name."""
        l0, l1 = fit_smoothness(np.array(self.sizes), np.array(self.ratios))
        whole = {"smoothness_l0": float(l0), "smoothness_l1": float(l1)}
        if len(self.sizes) < 2:
            return whole, {}
        own = fit_smoothness(np.array(self.coordinate_sizes), np.array(self.coordinate_ratios))
        names = ("smoothness_l0_quantiles", "smoothness_l1_quantiles")
        return whole, {
            name: np.quantile(values[~np.isnan(values)], QUANTILES)
            for name, values in zip(names, own, strict=True)
            if not np.isnan(values).all()
        }
