"""From stored inputs to the network's: each channel standardised if asked, then one scalar for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isosweep.sweep.settings import DataSettings

from .catalogue import CATALOGUE

__all__ = ["Scaling", "scale_training_split"]


@dataclass(frozen=True)
class Scaling:
    """x ↦ factor · (x − mean)/std, mean and std by channel.

    Attributes:
        mean: (channels, 1), or None where inputs are not standardised.
        std: (channels, 1), or None.
        factor: the one scalar, or None where inputs are left as they are.
    """

    mean: np.ndarray | None
    std: np.ndarray | None
    factor: float | None

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """`inputs` (samples, N_0) scaled, in place."""
        if self.mean is not None and self.std is not None:
            by_channel = inputs.reshape(len(inputs), len(self.mean), -1)
            by_channel -= self.mean
            by_channel /= self.std
        if self.factor is not None:
            inputs *= self.factor
        return inputs


def _channels(name: str) -> int:
    shape = CATALOGUE[name].shape
    return 1 if shape is None else shape[0]


def scale_training_split(data: DataSettings, inputs: np.ndarray) -> Scaling:
    """Bring the training split `inputs`, (samples, N_0) float64, to what `data` asks for, in place: a large set is not
    to be held twice.

    Returns:
        What was done, for the other splits: the statistics are the training split's alone.

    Raises:
        ValueError: a channel that is the same everywhere cannot be standardised, nor can inputs that are all 0 be
            scaled.
    """
    mean = std = None
    if data.standardise:
        by_channel = inputs.reshape(len(inputs), _channels(data.name), -1)
        mean = by_channel.mean(axis=(0, 2))[:, None]
        std = by_channel.std(axis=(0, 2))[:, None]
        # the standard deviation of equal numbers is not always 0: their mean is rounded
        same = by_channel.min(axis=(0, 2)) == by_channel.max(axis=(0, 2))
        if same.any():
            raise ValueError(
                f"channel {int(np.argmax(same))} of the training split of {data.name} is the same everywhere: "
                "it cannot be standardised"
            )
        Scaling(mean, std, None).apply(inputs)
    if data.mean_square is None:
        return Scaling(mean, std, None)
    # math.fsum-like exactness is not needed, a fixed order is: numpy's pairwise sum over a C-ordered array is one
    mean_square = float(np.mean(inputs**2))
    if not mean_square > 0:
        raise ValueError(
            f"every input of the split of {data.name} is 0: it cannot be scaled to mean |x|²/N_0 = {data.mean_square}"
        )
    factor = float(np.sqrt(data.mean_square / mean_square))
    inputs *= factor
    return Scaling(mean, std, factor)
