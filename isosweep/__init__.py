"""isosweep: reproducible curvature sweeps of deep networks on Slurm clusters.

    >>> import isosweep
    >>> sweep = isosweep.load("sweeps/quickstart.yaml")
    >>> run = sweep.runs()[0]
    >>> network, inputs, labels = isosweep.realize(run)   # a plain torch.nn.Sequential, for any library
    >>> measured = isosweep.execute(run)                  # what `isosweep launch` would record

Importing isosweep imports nothing heavy; torch comes with the first name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .measurement.execute import execute
    from .networks.realize import Realized, realize
    from .sweep import Run, SpecError, Sweep, load

__version__ = "0.1.0"
__all__ = ["Realized", "Run", "SpecError", "Sweep", "curvature", "execute", "load", "realize", "report", "theory"]

_WHERE = {
    "execute": "isosweep.measurement.execute",
    "realize": "isosweep.networks.realize",
    "Realized": "isosweep.networks.realize",
    "load": "isosweep.sweep",
    "Run": "isosweep.sweep",
    "Sweep": "isosweep.sweep",
    "SpecError": "isosweep.sweep",
}
_ROOMS = ("curvature", "theory", "report")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"isosweep.{name}")
    raise AttributeError(f"module 'isosweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
