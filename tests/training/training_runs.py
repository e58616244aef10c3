"""Small runs that train, for the tests."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from isosweep.sweep import load
from isosweep.sweep.settings import Run
from isosweep.sweep.train_settings import OPTIMIZER_OPTIONS, TrainSettings

SPEC: dict[str, Any] = {
    "name": "t",
    "network": {"depth": 3, "width": 12, "activation": "tanh", "init": "orthogonal", "gain": 1.1, "bias_std": 0.1},
    "data": {"name": "digits", "samples": 96, "validation": 30, "test": 40},
    "measure": {"fisher": {"samples": 6}, "jacobian": {"samples": 2}},
    "train": {
        "epochs": 3,
        "batch": 30,
        "optimizer": "riemannian_adam",
        "learning_rate": 0.01,
        "measure": {"epochs": [1, 3], "hessian": 2, "kernel": 4, "smoothness": 2},
    },
}


def spec(**changes: Any) -> dict[str, Any]:
    """`SPEC` with keys changed: ``train__batch=7``; a value of `...` takes the key away."""
    made = copy.deepcopy(SPEC)
    for path, value in changes.items():
        *sections, key = path.split("__")
        node = made
        for section in sections:
            node = node.setdefault(section, {})
        if value is ...:
            node.pop(key, None)
        else:
            node[key] = value
    return made


def runs_of(**changes: Any) -> tuple[Run, ...]:
    """The runs of `spec(**changes)`."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "sweep.yaml"
        path.write_text(json.dumps(spec(**changes)))
        return load(path).runs()


def run_of(**changes: Any) -> Run:
    """The first of them."""
    return runs_of(**changes)[0]


def settings_of(optimizer: str, **options: Any) -> TrainSettings:
    """Settings of an optimizer alone."""
    own = {name: value for name, value in OPTIMIZER_OPTIONS[optimizer].items() if name not in options}
    return TrainSettings(epochs=1, batch=1, optimizer=optimizer, **({"learning_rate": 0.1} | own | options))
