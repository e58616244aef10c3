"""A user's own network: the module imported, its function called, its random draws made the run's own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..draws import generator
from ..sweep.settings import ModuleSettings
from ..sweep.user_module import find_function

__all__ = ["UserNetworkError", "load_checkpoint", "user_network"]


class UserNetworkError(Exception):
    """A user's function or checkpoint that does not give the network asked for."""


def user_network(settings: ModuleSettings, inputs: int, classes: int, seed: int, dtype: torch.dtype, folder: str | Path | None = None) -> nn.Sequential:
    """Call the user's function with its arguments under a torch generator seeded by the run, default dtype `dtype`, and give back its network.

    The process's own torch generator and default dtype are as before afterwards. `folder` is put in front of the Python path for the import.

    Raises:
        UserNetworkError: the sources are not those the run was planned with, or the result is no torch.nn.Sequential of the right sizes.
    """
    name, _, function_name = settings.module.partition(":")
    place = str(folder) if folder is not None else str(Path.cwd())
    found = find_function(settings.module, Path(place))
    if found.sources != settings.sources:
        raise UserNetworkError(f"the sources of {name} ({found.file}) have changed since the run was planned: launch again, to plan with the new ones")
    sys.path.insert(0, place)
    try:
        function = getattr(importlib.import_module(name), function_name)
    finally:
        sys.path.remove(place)
    arguments: dict[str, Any] = dict(settings.arguments)
    arguments |= {key: value for key, value in (("inputs", inputs), ("classes", classes), ("seed", seed)) if key in settings.passes}
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "user module").integers(2**63)))
        torch.set_default_dtype(dtype)
        try:
            network = function(**arguments)
        finally:
            torch.set_default_dtype(before)
    if not isinstance(network, nn.Sequential):
        raise UserNetworkError(f"{settings.module} returned {type(network).__name__}; expected a torch.nn.Sequential")
    return network.to(device="cpu", dtype=dtype)


def load_checkpoint(network: nn.Module, path: str, checksum: str | None) -> None:
    """Fill the network's parameters from a safetensors file.

    Raises:
        UserNetworkError: the file cannot be read, is another one than planned, or its names or shapes do not fit the network.
    """
    import hashlib

    from safetensors import SafetensorError
    from safetensors.torch import load as load_safetensors

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserNetworkError(f"cannot read the checkpoint {path}: {error.strerror}") from None
    if checksum is not None and hashlib.sha256(data).hexdigest() != checksum:
        raise UserNetworkError(f"the checkpoint {path} has changed since the run was planned: launch again, to plan with the new one")
    try:
        tensors = load_safetensors(data)
    except SafetensorError as error:
        raise UserNetworkError(f"{path} is no safetensors file: {error}") from None
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unknown:
        raise UserNetworkError(f"{path} does not fit the network: it lacks {missing[:5] or 'nothing'} and has {unknown[:5] or 'nothing'} besides")
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape:
            raise UserNetworkError(f"{path}: {name} has shape {tuple(tensors[name].shape)}, the network's {tuple(tensor.shape)}")
    network.load_state_dict(tensors)
