"""Sweep files for the tests, written as JSON, which is YAML 1.2."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isosweep.sweep import Sweep, load

BASE: dict[str, Any] = {
    "name": "t",
    "network": {"depth": 4, "width": 8, "activation": "tanh", "init": "orthogonal", "gain": 1.0},
    "data": {"name": "digits", "samples": 64},
    "measure": {"fisher": {"samples": 16}, "jacobian": {"samples": 4}},
}


def spec(**changes: Any) -> dict[str, Any]:
    """`BASE` with keys changed: ``network__gain=2.0``; a value of `...` takes the key away."""
    made = copy.deepcopy(BASE)
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


def loaded(text: str | dict[str, Any], overrides: Sequence[str] = (), folder: Path | None = None) -> Sweep:
    """The sweep of a file with this text or these keys, in `folder` or a new one."""
    if not isinstance(text, str):
        text = json.dumps(text)
    if folder is not None:
        path = folder / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, overrides)
    with tempfile.TemporaryDirectory() as place:
        return loaded(text, overrides, Path(place))


def ids(text: str | dict[str, Any], overrides: Sequence[str] = (), folder: Path | None = None) -> list[str]:
    """The run ids of a sweep file."""
    return [run.id for run in loaded(text, overrides, folder).runs()]
