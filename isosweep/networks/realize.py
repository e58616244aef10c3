"""From a run's settings to its network, inputs and labels, exactly as the run uses them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isosweep.data.splits import load_splits
from isosweep.data.training_split import training_split
from isosweep.sweep.settings import NetworkSettings, Run
from isosweep.threads import single_threaded

from .architecture import network_of_architecture
from .dense import dense_network
from .normalization import freeze_batch_statistics
from .user import UserNetworkError, load_checkpoint, user_network

__all__ = ["Realized", "initial_network", "measured_split", "realize"]


class Realized(NamedTuple):
    """A run made real.

    Attributes:
        network: a plain `torch.nn.Sequential`.
        inputs: (n, N_0), those that the Fisher is averaged over, or the Jacobian's where it is measured alone; where
            both are of one split, the Jacobian's are their first m.
        labels: (n,).
    """

    network: nn.Sequential
    inputs: Tensor
    labels: Tensor


def _outputs(network: nn.Sequential, inputs: Tensor) -> Tensor:
    try:
        outputs: Tensor = network(inputs)
    except (RuntimeError, TypeError) as error:
        raise UserNetworkError(f"the network cannot take inputs of shape {tuple(inputs.shape)}: {error}") from error
    return outputs


def initial_network(run: Run, dtype: torch.dtype, folder: str | Path | None = None) -> nn.Sequential:
    """The run's network at initialisation, on the CPU, in `dtype`; drawn and scaled in float64.

    Raises:
        UserNetworkError: see `realize`.
    """
    with single_threaded(), torch.no_grad():
        if isinstance(run.network, NetworkSettings):
            build = dense_network if run.network.architecture is None else network_of_architecture
            network = build(run.network, run.data.inputs, run.data.classes, run.seed, dtype)
        else:
            network = user_network(run.network, run.data.inputs, run.data.classes, run.seed, dtype, folder)
        if run.network.checkpoint is not None:
            load_checkpoint(network, run.network.checkpoint, run.network.checkpoint_checksum)
        outputs = _outputs(network, torch.zeros(1, run.data.inputs, dtype=dtype, device="cpu"))
        if outputs.shape != (1, run.data.classes):
            raise UserNetworkError(
                f"the network gives outputs of shape {tuple(outputs.shape)} for one input; "
                f"expected (1, {run.data.classes})"
            )
        return network


def measured_split(run: Run) -> tuple[str, int]:
    """The split whose first inputs are measured on, and how many: the Fisher's, or else the Jacobian's."""
    part = run.measure.fisher or run.measure.jacobian
    assert part is not None, "a run measures something"
    return part.data, part.samples


def realize(run: Run, device: str | torch.device = "cpu", *, folder: str | Path | None = None) -> Realized:
    """The run's network, inputs and labels on `device`, in the run's dtype.

    Everything is drawn and scaled on the CPU in float64, on one thread, from the run's own generators, then moved; so
    it is the same to the last bit whatever device, thread count, global generator or default dtype the caller has.

    Args:
        run: from `isosweep.load(path).runs()`.
        device: where the three are put.
        folder: where a user's own module is imported from (the working directory if None).

    Raises:
        MissingData: the data files are gone or have changed since the run was planned.
        UserNetworkError: a user's module or checkpoint has changed, or does not give the network asked for.
    """
    split, samples = measured_split(run)
    dtype = getattr(torch, run.measure.dtype)
    with single_threaded(), torch.no_grad():
        network = initial_network(run, dtype, folder)
        found = training_split(run.data, run.seed) if split == "train" else load_splits(run.data, run.seed).test
        assert found is not None, "the sweep file asks for a test split where it is measured on"
        inputs = torch.from_numpy(found.inputs[:samples].copy()).to(dtype)
        freeze_batch_statistics(network, inputs)
    labels = torch.from_numpy(found.labels[:samples].copy())
    return Realized(network.to(device), inputs.to(device), labels.to(device))
