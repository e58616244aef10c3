"""The code that jobs import: a copy taken at the launch, so that editing the checkout while they queue changes nothing.

A snapshot lies at ``code/<code id>/isosweep`` in the store, made in a temporary folder and renamed, so it is there
whole or not at all; launches of the same code share it. An isosweep that was installed as a wheel is not copied: it
does not change under a job, and its code id would say so if it did.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from isosweep.measurement.code import code_id, package_root
from isosweep.store.publish import TEMPORARY_PREFIX
from isosweep.store.store import Store

__all__ = ["Snapshot", "freeze", "import_first", "versions"]

# Packages whose version can change a result.
_DECISIVE = ("torch", "numpy", "scipy", "scikit-learn")


class Snapshot(NamedTuple):
    """The code of a launch: its id, and the folder to import it from (None: it is installed)."""

    id: str
    folder: str | None


def freeze(store: Store) -> Snapshot:
    """Copy isosweep's sources into the store. The id is the copy's, so an edit made meanwhile cannot come between.

    Raises:
        OSError: the store cannot be written.
    """
    root = package_root()
    if "site-packages" in root.parts:
        return Snapshot(code_id(), None)
    place = store.root / "code"
    temporary = place / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        shutil.copytree(root, temporary / root.name, ignore=shutil.ignore_patterns("__pycache__"))
        code = code_id(temporary / root.name)
        target = place / code
        if not target.is_dir():
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():  # else another launcher was faster, with the same copy
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Snapshot(code, str(target))


def import_first(folder: str | None) -> str:
    """The value of PYTHONPATH that puts `folder` before everything else."""
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != folder]
    return os.pathsep.join([folder, *others] if folder else others)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result, read without importing them."""
    import platform

    found = {"python": platform.python_version()}
    for name in _DECISIVE:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
