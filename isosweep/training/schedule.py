"""Learning-rate schedules: the factor that all learning rates are multiplied by at a step."""

from __future__ import annotations

import math
from collections.abc import Callable

from isosweep.sweep.train_settings import TrainSettings

__all__ = ["SCHEDULES", "rate_factor"]


def _constant(share: float, epoch: float, settings: TrainSettings) -> float:
    return 1.0


def _linear(share: float, epoch: float, settings: TrainSettings) -> float:
    return 1.0 - share


def _cosine(share: float, epoch: float, settings: TrainSettings) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


def _step(share: float, epoch: float, settings: TrainSettings) -> float:
    assert settings.decay_every is not None
    assert settings.decay_factor is not None
    return float(settings.decay_factor ** math.floor(epoch / settings.decay_every))


# (share of the steps after the warm-up, epoch, settings) → factor
SCHEDULES: dict[str, Callable[[float, float, TrainSettings], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "step": _step,
}


def rate_factor(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    """The factor of the update that leads from `step` to `step` + 1.

    During `warmup` epochs it rises linearly, (step + 1) over the warm-up's steps; afterwards the schedule runs over the
    remaining steps: `constant` 1; `linear` from 1 to 0; `cosine` ½(1 + cos π·share); `step` decay_factor at every
    decay_every epochs, counted from the beginning.
    """
    warm = round(settings.warmup * steps_per_epoch)
    if step < warm:
        return (step + 1) / warm
    total = settings.epochs * steps_per_epoch
    share = (step - warm) / max(1, total - warm)
    return SCHEDULES[settings.schedule](share, step / steps_per_epoch, settings)
