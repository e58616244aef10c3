"""A run's network, data and settings as files that any other tool reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isosweep.store.publish import replace
from isosweep.sweep.identity import MEASUREMENT_VERSION
from isosweep.sweep.settings import Run, to_json

__all__ = ["EXPORT_VERSION", "export_run"]

EXPORT_VERSION = 1


def export_run(
    run: Run, folder: Path, *, modules: str | Path | None = None, recorded: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write a run at initialisation into a folder: the same bits that it measures.

    - ``weights.safetensors``: the network's parameters and buffers by their names in `torch.nn.Sequential`, in the
      run's dtype, or in its training's, which rounds them first; a weight is (outputs, inputs).
    - ``data.safetensors``: `inputs` (n, N_0), already scaled, and `labels` (n,); the Fisher is averaged over all, the
      Jacobian is taken at the first m.
    - ``settings.json``: the settings in full and by their columns' names, the layers in order, and what is recorded of
      the run (digest, environment class, code).

    Args:
        modules: where a user's own module is imported from.
        recorded: what to note of the run's record.

    Returns:
        What is in settings.json.

    Raises:
        MissingData, UserNetworkError: see `isosweep.realize`.
        OSError: the folder cannot be written; each file is whole or as it was.
    """
    import torch
    from safetensors.torch import save

    from isosweep import __version__
    from isosweep.measurement.determinism import deterministic
    from isosweep.networks.realize import realize

    with deterministic(run.seed):
        network, inputs, labels = realize(run, "cpu", folder=modules)
        if run.train is not None:
            network = network.to(getattr(torch, run.train.dtype))
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    layers = [
        {"name": name, "type": type(module).__name__, "module": repr(module)}
        for name, module in network.named_children()
    ]
    about = {
        "schema_version": EXPORT_VERSION,
        "run_id": run.id,
        "isosweep_version": __version__,
        "measurement_version": MEASUREMENT_VERSION,
        "settings": json.loads(to_json(run)),
        "columns": {name: value for name, value in run.columns.items() if value is not None},
        "layers": layers,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "weights": {name: list(value.shape) for name, value in weights.items()},
        "inputs": list(inputs.shape),
        "recorded": dict(recorded or {}),
    }
    # one entry alone: the order of several is not the same every time
    note = {"isosweep": run.id}
    replace(folder / "weights.safetensors", save(weights, note))
    data = {"inputs": inputs.contiguous(), "labels": labels.contiguous()}
    replace(folder / "data.safetensors", save(data, note))
    text = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)
    replace(folder / "settings.json", text.encode() + b"\n")
    return about
