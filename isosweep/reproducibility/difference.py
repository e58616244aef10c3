"""Where two measurements differ: bit by bit, in the order in which a run comes to its numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from isosweep.measurement.measurement import Measurement

__all__ = ["Difference", "Place", "bits", "differences", "place_of"]

_SUMMARY = ("lambda_max", "trace", "rank", "abs_error")
_ACTIVITY = ("q", "correlation")
_TRAINED = ("scale", "orthogonality_error")


class Place(NamedTuple):
    """What an array of a measurement is: its `quantity`, at which training step, of which layer, block or input.

    `rank` sorts as a run computes: the data, then at each step the layers from the input on, the Fisher information,
    the Jacobian, the training curve; scalars of the whole run last. `parts` names the elements, where they have names.
    """

    rank: tuple[float, int, int]
    quantity: str
    step: int | None = None
    layer: int | None = None
    block: str | None = None
    sample: int | None = None
    parts: tuple[str, ...] = ()


def place_of(name: str) -> Place:
    """The place of an array by its name in `Measurement.arrays`."""
    kind, _, rest = name.partition("/")
    if kind == "scalar":
        return Place((-1, 0, 0) if rest.startswith("input_") else (math.inf, 0, 0), rest)
    if kind == "outcome":
        return Place((math.inf, 1, 0), "outcome", block=rest)
    text, _, rest = rest.partition("/")
    step = int(text)
    if kind == "layers":
        number, _, block = rest.partition("/")
        block, _, more = block.partition("/")
        parts = _TRAINED if more else _ACTIVITY
        return Place((step, 0, int(number)), "layer", step, int(number), block, None, parts)
    if kind == "fisher":
        block, _, what = rest.rpartition("/")
        return Place((step, 1, 0), f"fisher {what}", step, None, block, None, _SUMMARY if what == "summary" else ())
    if kind == "jacobian":
        number, _, what = rest.partition("/")
        return Place((step, 2, int(number)), f"jacobian {what}", step, None, None, int(number))
    if kind == "training":
        return Place((step, 3, 0), f"training {rest}", step)
    return Place((step, 4, 0), kind, step, block=rest or None)


def bits(array: np.ndarray) -> np.ndarray:
    """The float64 bits as a digest takes them: one NaN for all."""
    values = np.ascontiguousarray(array, dtype="<f8").ravel()
    return np.where(np.isnan(values), np.nan, values).view("<u8")


@dataclass(frozen=True)
class Difference:
    """An array in which two measurements differ.

    Attributes:
        quantity, step, layer, block, sample: which array; None where it does not apply.
        element: the first element that differs, by its name or its number from 1.
        differing, elements: how many differ, of how many.
        recorded, now: that first element in both; None where one has no such array.
        largest_relative: the largest |a − b| / max(|a|, |b|) over the elements.
        missing: says so where one measurement lacks the array, or has it of another length.
    """

    quantity: str
    step: int | None
    layer: int | None
    block: str | None
    sample: int | None
    element: str
    differing: int
    elements: int
    recorded: float | None
    now: float | None
    largest_relative: float
    missing: str | None = None

    @property
    def where(self) -> str:
        """In words: ``layer 3 (layer3): q``, ``Fisher information of all: eigenvalue 2 of 54``."""
        at = f" at step {self.step}" if self.step else ""
        if self.layer is not None:
            return f"layer {self.layer} ({self.block}){at}: {self.element}"
        if self.quantity.startswith("fisher ") and self.block is not None:
            what = self.quantity.removeprefix("fisher ").replace("eigenvalues", "eigenvalue")
            what = self.element if what == "summary" else f"{what} {self.element} of {self.elements}"
            return f"Fisher information of {self.block}{at}: {what}"
        if self.sample is not None:
            what = self.quantity.removeprefix("jacobian ").replace("_", " ").removesuffix("s")
            return f"Jacobian at input {self.sample}{at}: {what} {self.element} of {self.elements}"
        if self.quantity.startswith("training "):
            which = f" {self.element} of {self.elements}" if self.elements > 1 else ""
            return f"training step {self.step}: {self.quantity.removeprefix('training ')}{which}"
        return f"{self.quantity}{at}"

    def to_dict(self) -> dict[str, Any]:
        """All of it, with the words."""
        return {"where": self.where, **asdict(self)}


def relative_errors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b| / max(|a|, |b|): 0 where both are equal or both NaN, infinite where one is not finite."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        scale = np.maximum(np.abs(a), np.abs(b))
        error = np.abs(a - b) / scale
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isfinite(a) & np.isfinite(b), error, np.inf))


def _absent(name: str, place: Place, array: np.ndarray, why: str) -> Difference:
    return Difference(
        place.quantity,
        place.step,
        place.layer,
        place.block,
        place.sample,
        "all",
        array.size,
        array.size,
        None,
        None,
        math.inf,
        why,
    )


def differences(recorded: Measurement, now: Measurement) -> list[Difference]:
    """Every array in which the two differ, first to last as a run comes to them; empty exactly where the digests are
    equal.
    """
    before, after = dict(recorded.arrays()), dict(now.arrays())
    order = {name: at for at, name in enumerate([*before, *(n for n in after if n not in before)])}
    found = []
    for name in sorted(order, key=lambda n: (place_of(n).rank, order[n])):
        place = place_of(name)
        if name not in after or name not in before:
            whose = "only the record has it" if name in before else "only the new measurement has it"
            found.append(_absent(name, place, before.get(name, after.get(name, np.array([]))), whose))
            continue
        a, b = np.asarray(before[name], dtype=np.float64), np.asarray(after[name], dtype=np.float64)
        if a.shape != b.shape:
            found.append(_absent(name, place, a, f"{a.size} numbers recorded, {b.size} now"))
            continue
        differ = np.flatnonzero(bits(a) != bits(b))
        if not len(differ):
            continue
        first = int(differ[0])
        element = place.parts[first] if first < len(place.parts) else str(first + 1)
        found.append(
            Difference(
                place.quantity,
                place.step,
                place.layer,
                place.block,
                place.sample,
                element,
                len(differ),
                a.size,
                float(a.ravel()[first]),
                float(b.ravel()[first]),
                float(relative_errors(a, b).max()),
            )
        )
    return found
