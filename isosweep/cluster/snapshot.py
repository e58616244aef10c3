"""The code that jobs import: a copy taken at the launch, so that editing the checkout while they queue changes nothing.

In the store, each made in a temporary folder and renamed, so that it is there whole or not at all; launches of the
same code share it:

    code/<code id>/isosweep        isosweep's own sources; the id is a hash of them
    modules/<modules id>/          the sources of users' own networks, laid out as they were imported
    provenance/<hash>.patch        what the checkout of isosweep (or of the users' modules) had beyond its commit
    provenance/<hash>.lock         the packages installed at a launch, a line each

An isosweep that was installed as a wheel is not copied, nor is a user's module that is: neither changes under a job,
and the code id, or the checksum in the run, would say so if it did. A user's module finds in its copy the .py files
that its checksum covers and nothing else: data that it reads beside itself is no part of a run (a checkpoint is).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from isosweep.measurement.code import code_id, content_hash, git_state, installed_packages, package_root
from isosweep.store.publish import TEMPORARY_PREFIX, publish
from isosweep.store.store import Store
from isosweep.sweep.settings import ModuleSettings, Run
from isosweep.sweep.user_module import UserFunction, UserModuleError, find_function

__all__ = ["Snapshot", "SnapshotError", "freeze", "import_first", "modules_folder", "versions"]

# Packages whose version can change a result, and those of them whose file must be the launch's.
_DECISIVE = ("torch", "numpy", "scipy", "scikit-learn")
_PLACED = ("torch", "numpy", "scipy")
_MODULES_DIGITS = 20


class SnapshotError(Exception):
    """A user's module that cannot be frozen as it was planned."""


class Snapshot(NamedTuple):
    """The code of a launch.

    Attributes:
        id: of isosweep's sources.
        folder: where isosweep is imported from (None: it is installed).
        modules: where users' own modules are imported from: relative to the store if they were copied there; None where
            there are none.
        about: what every record of the launch notes of its code: commits, patches, the lock, the modules' id.
    """

    id: str
    folder: str | None
    modules: str | None = None
    about: Mapping[str, str] = {}


def _place(store: Store, kind: str, fill: Callable[[Path], str]) -> Path:
    """A folder of the store named by its content: `fill` writes it and gives its name."""
    place = store.root / kind
    temporary = place / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        target = place / fill(temporary)
        if not target.is_dir():
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():  # else another launcher was faster, with the same copy
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def freeze(store: Store, runs: Iterable[Run] = (), folder: str | Path | None = None) -> Snapshot:
    """Copy isosweep's sources, and those of the runs' own networks, into the store, and note the state of the checkout
    and the installed packages. The id is the copy's, so an edit made meanwhile cannot come between.

    Args:
        runs: whose modules are copied.
        folder: where these are imported from.

    Raises:
        OSError: the store cannot be written.
        SnapshotError: a user's module is not what the runs were planned with.
    """
    from isosweep import __version__

    root = package_root()
    lock = installed_packages()
    about = {"isosweep_version": __version__, "lock": content_hash(lock)}
    publish(store.root / "provenance" / f"{about['lock']}.lock", lock)
    targets = {run.network.module: run.network.sources for run in runs if isinstance(run.network, ModuleSettings)}
    modules = None
    if targets:
        assert folder is not None, "users' modules come from a folder"
        modules = _freeze_modules(store, targets, Path(folder))
        if modules is None:
            modules = str(folder)  # every one is installed
        else:
            about["modules_id"] = Path(modules).name
        about |= _commit(store, Path(folder), "modules_")
    if "site-packages" in root.parts:
        return Snapshot(code_id(), None, modules, about)
    about |= _commit(store, root, "")

    def fill(temporary: Path) -> str:
        shutil.copytree(root, temporary / root.name, ignore=shutil.ignore_patterns("__pycache__"))
        return code_id(temporary / root.name)

    target = _place(store, "code", fill)
    return Snapshot(target.name, str(target), modules, about)


def _commit(store: Store, folder: Path, prefix: str) -> dict[str, str]:
    """The git commit of a folder, and the hash of its patch if it has one, which is kept."""
    state = git_state(folder)
    if state is None:
        return {}
    found = {f"{prefix}git_commit": state.commit}
    if state.patch:
        found[f"{prefix}git_patch"] = content_hash(state.patch)
        publish(store.root / "provenance" / f"{content_hash(state.patch)}.patch", state.patch)
    return found


def _imported_from(found: UserFunction) -> Path:
    """The folder on the path that a user's module was found in."""
    parts = len(found.module.split("."))
    return found.file.parents[parts if found.file.stem == "__init__" else parts - 1]


def _freeze_modules(store: Store, targets: Mapping[str, str], folder: Path) -> str | None:
    """Copy the sources of these functions; the copy's folder, relative to the store. None if all are installed."""
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    files: dict[str, bytes] = {}
    for target, sources in targets.items():
        found = find_function(target, folder)
        place = _imported_from(found)
        if place.resolve() in installed:
            continue
        if found.sources != sources:
            raise SnapshotError(f"the sources of {target} have changed since the sweep file was read: launch again")
        for file in found.files:
            name, content = file.relative_to(place).as_posix(), file.read_bytes()
            if files.setdefault(name, content) != content:
                raise SnapshotError(f"two modules of the sweep have a file {name}, of different content: rename one")
    if not files:
        return None

    def fill(temporary: Path) -> str:
        total = hashlib.sha256()
        for name, content in sorted(files.items()):
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            total.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        for target, sources in targets.items():
            _check_copy(target, sources, temporary, folder)
        return total.hexdigest()[:_MODULES_DIGITS]

    return _place(store, "modules", fill).relative_to(store.root).as_posix()


def _check_copy(target: str, sources: str, copy: Path, folder: Path) -> None:
    """Raise `SnapshotError` unless the module in the copy is the one that was planned."""
    try:
        same = find_function(target, copy).sources == sources
    except UserModuleError:
        same = False
    if not same:
        raise SnapshotError(
            f"{target} was changed while it was copied, or it is not in {folder} and imports a module whose name is "
            "taken there: launch again, with all modules of the sweep beside its file"
        )


def modules_folder(store: Store, about: Mapping[str, Any]) -> str | None:
    """Where the runs of a launch (its `about`) import users' own modules from."""
    folder = about.get("folder")
    return None if folder is None else str(store.root / folder)  # an absolute one stays what it is


def import_first(folder: str | None) -> str:
    """The value of PYTHONPATH that puts `folder` before everything else."""
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != folder]
    return os.pathsep.join([folder, *others] if folder else others)


def versions(isosweep: str | None = None) -> dict[str, str]:
    """Versions of Python and of the packages that can change a result, and the files that these and isosweep are
    imported from; found without importing them. A process that computes must find what its launch found.

    Args:
        isosweep: the folder that isosweep is to be imported from; as in this process if None.
    """
    import platform

    package = package_root() if isosweep is None else Path(isosweep, "isosweep")
    found = {"python": platform.python_version(), "file of isosweep": str(package / "__init__.py")}
    for name in _DECISIVE:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    for name in _PLACED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[f"file of {name}"] = spec.origin
    return found
