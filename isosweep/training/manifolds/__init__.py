"""The manifolds that weights may move on: one a file, found by name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from isosweep.training.manifolds.manifold import Manifold

__all__ = ["Manifold", "manifold", "manifolds"]


@cache
def manifolds() -> dict[str, Manifold]:
    """Name → manifold, of every file here that has a `MANIFOLD`."""
    found: dict[str, Manifold] = {}
    for file in pkgutil.iter_modules(__path__):
        made = getattr(importlib.import_module(f"{__name__}.{file.name}"), "MANIFOLD", None)
        if isinstance(made, Manifold):
            found[made.name] = made
    return found


def manifold(name: str) -> Manifold:
    """The manifold of this name.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    if name not in manifolds():
        raise KeyError(f"no manifold {name!r}; there are {', '.join(sorted(manifolds()))}")
    return manifolds()[name]
