"""How far rounding can move each number of a run: its tolerance between devices, libraries and precisions.

A matrix product of inner dimension N rounds like an exact product with weights that were moved by about √N·u each, u
the unit roundoff (probabilistic backward error: Higham and Mary 2019). So the run is computed again with its weights so
moved, in float64, twice: how far a number goes is its condition times the rounding, whatever the network amplifies
(small-sample statistical condition estimation: Kenney and Laub 1994). The tolerance of a number is ten times the larger
of the two moves, plus the error bounds that the engine itself states (`abs_error` of eigenvalues), plus a few units in
the last place.

Spectra are sorted, and one entry's move may vanish by chance: a value's relative move is taken to be the largest among
the values not smaller than it, and of the Jacobians at a run's inputs the largest at any of them. Ranks, condition
numbers and error bounds depend on the precision itself: they are shown and not judged.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isosweep.draws import generator
from isosweep.measurement.measurement import Measurement
from isosweep.sweep.identity import run_id
from isosweep.sweep.settings import Run

from .difference import place_of, relative_errors

__all__ = ["NUDGES", "UNIT_ROUNDOFF", "Agreement", "agreement", "nudged"]

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}
NUDGES = 2
_SAFETY = 10.0
_LAST_PLACES = 64.0
_NOT_JUDGED = ("rank", "abs_error", "condition_number")


def nudged(run: Run, number: int, dtype: str, folder: Path, modules: str | None = None) -> Run:
    """The run with its weights moved by what arithmetic in `dtype` amounts to: a run of its own that starts from a
    checkpoint, which is written into `folder`.

    Args:
        number: which of the draws.
        modules: where a user's own module is imported from.

    Raises:
        Errors of `isosweep.realize`.
    """
    import torch
    from safetensors.torch import save

    from isosweep.networks.realize import realize

    network = realize(run, "cpu", folder=modules).network
    unit = UNIT_ROUNDOFF[dtype]
    tensors = {}
    for layer, (name, value) in enumerate(network.state_dict().items()):
        draw = torch.from_numpy(generator(run.seed, f"rounding {number}", layer).standard_normal(tuple(value.shape)))
        reach = math.sqrt(value.shape[1]) if value.dim() == 2 else 1.0
        tensors[name] = (value.double() * (1 + unit * reach * draw)).to(value.dtype).contiguous()
    data = save(tensors)
    checksum = hashlib.sha256(data).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{checksum}.safetensors"
    path.write_bytes(data)
    network_settings = dataclasses.replace(run.network, checkpoint=str(path), checkpoint_checksum=checksum)
    moved = dataclasses.replace(run, network=network_settings)
    return dataclasses.replace(moved, id=run_id(moved))


class Agreement(NamedTuple):
    """How two measurements of one run agree in one quantity.

    Attributes:
        largest_relative: the largest relative error of any of its numbers.
        used: the largest error as a share of its tolerance; above 1 it is not explained by rounding.
        judged: whether it decides.
        where: the number that uses its tolerance most.
    """

    quantity: str
    numbers: int
    largest_relative: float
    used: float
    judged: bool
    where: str

    def to_dict(self) -> dict[str, Any]:
        """As findings hold it."""
        return self._asdict()


def _moves(reference: np.ndarray, moved: Sequence[np.ndarray], *, spectrum: bool, logarithms: bool) -> np.ndarray:
    """How far each number moves; along a spectrum relative (logarithms: absolute), and never less than before it."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        distance = np.max([np.abs(m - reference) for m in moved], axis=0)
        distance = np.where(np.isnan(distance), 0.0, distance)  # −inf in both, or NaN
        if not spectrum:
            return distance
        if logarithms:
            return np.maximum.accumulate(distance)
        share = np.where(reference != 0, distance / np.abs(reference), 0.0)
        along: np.ndarray = np.maximum(np.maximum.accumulate(share) * np.abs(reference), distance)
        return along


def _pooled(
    arrays: Mapping[str, np.ndarray], others: Sequence[Mapping[str, np.ndarray]], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """How far the numbers of each array move; Jacobians of one step share the largest relative move of each place."""
    found: dict[str, np.ndarray] = {}
    shared: dict[tuple[str, int | None, int], np.ndarray] = {}
    for name in names:
        place, values = place_of(name), arrays[name]
        spectrum = name.endswith(("eigenvalues", "singular_values"))
        logarithms = "log" in place.quantity
        found[name] = _moves(values, [o[name] for o in others], spectrum=spectrum, logarithms=logarithms)
        if spectrum and place.sample is not None:
            scale = np.ones_like(values) if logarithms else np.abs(values)
            share = np.divide(found[name], scale, out=np.zeros_like(found[name]), where=scale > 0)
            key = (place.quantity, place.step, values.size)
            shared[key] = np.maximum(shared.get(key, share), share)
    for name in names:
        place, values = place_of(name), arrays[name]
        key = (place.quantity, place.step, values.size)
        if place.sample is not None and key in shared:
            scale = np.ones_like(values) if "log" in place.quantity else np.abs(values)
            found[name] = np.maximum(found[name], shared[key] * scale)
    return found


def _bounds(measurement: Measurement) -> dict[str, float]:
    """The engine's own bound of an eigenvalue's error, by step; a layer's block has no larger one than the whole."""
    return {str(f.step): f.abs_error for f in measurement.fisher if f.block == "all" and f.abs_error is not None}


def agreement(
    reference: Measurement, other: Measurement, moved: Sequence[Measurement], units: Sequence[float]
) -> list[Agreement]:
    """Compare two measurements of one run, quantity by quantity.

    Args:
        reference: computed like `moved`, in float64.
        other: on another device, in another precision, or elsewhere.
        moved: those of `nudged` runs.
        units: the unit roundoffs of the two.
    """
    a, b = dict(reference.arrays()), dict(other.arrays())
    others = [dict(m.arrays()) for m in moved]
    bounds, bounds_of_other = _bounds(reference), _bounds(other)
    found: dict[str, list[tuple[float, float, str, int]]] = {}
    alike = [n for n, values in a.items() if all(n in o and o[n].shape == values.shape for o in (b, *others))]
    moves = _pooled(a, others, alike)
    for name, values in a.items():
        place = place_of(name)
        if name not in moves:
            found.setdefault(place.quantity, []).append((math.inf, math.inf, f"{name}: one has it, one has not", 0))
            continue
        logarithms = "log" in place.quantity
        allowed = _SAFETY * moves[name]
        allowed = allowed + _LAST_PLACES * max(units) * (1.0 if logarithms else np.abs(values))
        if place.quantity.startswith("fisher"):
            allowed = allowed + bounds.get(str(place.step), 0.0) + bounds_of_other.get(str(place.step), 0.0)
        errors = relative_errors(values, b[name])
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.where(errors == 0, 0.0, np.abs(values - b[name]))
            used = np.where(distance == 0, 0.0, distance / allowed)
        used = np.where(np.isnan(used), np.inf, used)
        parts = place.parts if place.parts and len(place.parts) == values.size else (None,) * values.size
        for i, part in enumerate(parts):
            quantity = f"{place.quantity} {part}" if part else place.quantity
            at = f"{name}[{i + 1}]"
            found.setdefault(quantity, []).append((float(errors.flat[i]), float(used.flat[i]), at, 1))
    return [_summed(quantity, rows) for quantity, rows in found.items()]


def _summed(quantity: str, rows: Sequence[tuple[float, float, str, int]]) -> Agreement:
    worst = max(rows, key=lambda row: row[1])
    judged = not quantity.endswith(_NOT_JUDGED)
    return Agreement(quantity, sum(row[3] for row in rows), max(row[0] for row in rows), worst[1], judged, worst[2])


def merged(parts: Sequence[Sequence[Agreement]]) -> list[Agreement]:
    """The worst of several runs' agreements, by quantity."""
    found: dict[str, Agreement] = {}
    for part in parts:
        for one in part:
            known = found.get(one.quantity)
            if known is None:
                found[one.quantity] = one
            else:
                worst = max(known, one, key=lambda x: x.used)
                found[one.quantity] = worst._replace(
                    numbers=known.numbers + one.numbers,
                    largest_relative=max(known.largest_relative, one.largest_relative),
                )
    return list(found.values())


def by_quantity(parts: Sequence[Agreement]) -> Mapping[str, Agreement]:
    """Agreements by their quantity's name."""
    return {part.quantity: part for part in parts}
