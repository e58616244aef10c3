"""The optimizers: one a file, found by name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from isosweep.sweep.train_settings import TrainSettings
from isosweep.training.optimizers.optimizer import Optimizer

__all__ = ["Optimizer", "optimizer", "optimizers"]


@cache
def optimizers() -> dict[str, type[Optimizer]]:
    """Name → class, of every file here that has an `OPTIMIZER`."""
    found: dict[str, type[Optimizer]] = {}
    for file in pkgutil.iter_modules(__path__):
        made = getattr(importlib.import_module(f"{__name__}.{file.name}"), "OPTIMIZER", None)
        if isinstance(made, type) and issubclass(made, Optimizer):
            found.update(dict.fromkeys(made.names, made))
    return found


def optimizer(settings: TrainSettings) -> Optimizer:
    """The optimizer that the settings name.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    if settings.optimizer not in optimizers():
        raise KeyError(f"no optimizer {settings.optimizer!r}; there are {', '.join(sorted(optimizers()))}")
    return optimizers()[settings.optimizer](settings)
