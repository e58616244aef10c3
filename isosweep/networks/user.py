"""A user's own network: the module imported, its function called, its random draws made the run's own."""

from __future__ import annotations

import importlib
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from isosweep.draws import GLOBAL_GENERATORS, generator
from isosweep.sweep.settings import ModuleSettings
from isosweep.sweep.user_module import UserFunction, find_function

__all__ = ["UserNetworkError", "load_checkpoint", "user_network"]


class UserNetworkError(Exception):
    """A user's function or checkpoint that does not give the network asked for."""


@contextmanager
def _own_generators(seed: int, dtype: torch.dtype) -> Iterator[None]:
    """Global generators of torch, numpy and Python seeded by the run, torch on `dtype` and the CPU; then as before."""
    draw = generator(seed, "user module")
    default, device = torch.get_default_dtype(), torch.get_default_device()
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the user's code may use it
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(int(draw.integers(2**63)))
            np.random.seed(draw.integers(2**32, size=4))  # noqa: NPY002
            random.seed(int(draw.integers(2**63)))
            torch.set_default_dtype(dtype)
            torch.set_default_device("cpu")
            yield
        finally:
            torch.set_default_dtype(default)
            torch.set_default_device(None if device.type == "cpu" else device)
            np.random.set_state(legacy)  # noqa: NPY002
            random.setstate(python)


_IMPORTED: dict[str, tuple[str, Path]] = {}  # module → checksum of its sources, and the file it was imported from
_IMPORTING = threading.Lock()


def _import(found: UserFunction, place: str) -> Any:
    """The function, from the sources found: what was imported from others under the same names is forgotten first."""
    with _IMPORTING:
        if _IMPORTED.get(found.module) != (found.sources, found.file):
            own = {file.resolve() for file in found.files}
            names = {found.module.split(".")[0]} | {f.parent.name if f.stem == "__init__" else f.stem for f in own}
            for name in [n for n in sys.modules if n.split(".")[0] in names]:
                origin = getattr(sys.modules[name], "__file__", None)
                if name.split(".")[0] == found.module.split(".")[0] or (origin and Path(origin).resolve() in own):
                    del sys.modules[name]
            importlib.invalidate_caches()
        sys.path.insert(0, place)
        write = sys.dont_write_bytecode
        sys.dont_write_bytecode = True  # a sweep's folder stays as it is
        try:
            module = importlib.import_module(found.module)
        finally:
            sys.dont_write_bytecode = write
            sys.path.remove(place)
        origin = getattr(module, "__file__", None)
        if origin is None or Path(origin).resolve() != found.file.resolve():
            raise UserNetworkError(
                f"{found.module} was imported from {origin}, and was planned from {found.file}: another module of that "
                "name comes first on the Python path; give yours another name"
            )
        _IMPORTED[found.module] = (found.sources, found.file)
    return getattr(module, found.function)


def user_network(
    settings: ModuleSettings, inputs: int, classes: int, seed: int, dtype: torch.dtype, folder: str | Path | None = None
) -> nn.Sequential:
    """Call the user's function with its arguments and give back its network.

    While it runs, the global generators of torch, numpy and Python are seeded by the run and torch's default dtype is
    `dtype`; afterwards all are as before. `folder` is in front of the Python path for the import.

    Raises:
        UserNetworkError: the sources are not those the run was planned with, or the result is no torch.nn.Sequential of
        the right sizes.
    """
    name = settings.module.partition(":")[0]
    place = str(folder) if folder is not None else str(Path.cwd())
    found = find_function(settings.module, Path(place))
    if found.sources != settings.sources:
        raise UserNetworkError(
            f"the sources of {name} ({found.file}) have changed since the run was planned: "
            "launch again, to plan with the new ones"
        )
    function = _import(found, place)
    arguments: dict[str, Any] = dict(settings.arguments)
    offered = {"inputs": inputs, "classes": classes, "seed": seed}
    arguments |= {name: offered[name] for name in settings.passes}
    with GLOBAL_GENERATORS, _own_generators(seed, dtype):
        network = function(**arguments)
    if not isinstance(network, nn.Sequential):
        raise UserNetworkError(f"{settings.module} returned {type(network).__name__}; expected a torch.nn.Sequential")
    return network.to(device="cpu", dtype=dtype)


def load_checkpoint(network: nn.Module, path: str, checksum: str | None) -> None:
    """Fill the network's parameters from a safetensors file.

    Raises:
        UserNetworkError: the file cannot be read, is another one than planned, or its names or shapes do not fit the
        network.
    """
    import hashlib

    from safetensors import SafetensorError
    from safetensors.torch import load as load_safetensors

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserNetworkError(f"cannot read the checkpoint {path}: {error.strerror}") from None
    if checksum is not None and hashlib.sha256(data).hexdigest() != checksum:
        raise UserNetworkError(
            f"the checkpoint {path} has changed since the run was planned: launch again, to plan with the new one"
        )
    try:
        tensors = load_safetensors(data)
    except SafetensorError as error:
        raise UserNetworkError(f"{path} is no safetensors file: {error}") from None
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unknown:
        raise UserNetworkError(
            f"{path} does not fit the network: "
            f"it lacks {missing[:5] or 'nothing'} and has {unknown[:5] or 'nothing'} besides"
        )
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape:
            raise UserNetworkError(
                f"{path}: {name} has shape {tuple(tensors[name].shape)}, the network's {tuple(tensor.shape)}"
            )
    network.load_state_dict(tensors)
