"""Training again with other orders of the data: how much of a result is the order's, and whether the record is one of
many alike.

Order k shuffles every epoch with draws of its own; everything else of the run, initial weights and splits included, is
as it was. Of each number at the end of training the mean and the standard deviation over the other orders are stated,
and where the recorded one lies in them: with K orders of a normal quantity (recorded − mean)/(s·√(1 + 1/K)) follows
Student's t with K − 1 degrees of freedom. A run is comparable if no loss and no accuracy is out of that distribution at
a level of 0.1 % (shared among them), up to 1 % of its mean.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from isosweep.measurement.measurement import Measurement
from isosweep.sweep.identity import run_id
from isosweep.sweep.settings import Run

from .again import Computer, Failure
from .result import Result

__all__ = ["Reordered", "Spread", "reorder"]

_LEVEL = 1e-3
_SLACK = 0.01
_JUDGED = ("_loss", "_accuracy")


class Spread(NamedTuple):
    """A number at the end of training: as recorded, and over the other orders.

    Attributes:
        standardised: (recorded − mean) in units of the spread that a further order would have; NaN without a spread.
        limit: what of that is still comparable; infinite for what is not judged.
    """

    quantity: str
    recorded: float
    mean: float
    deviation: float
    smallest: float
    largest: float
    standardised: float
    limit: float

    @property
    def comparable(self) -> bool:
        """Whether the recorded number is one of many alike."""
        close = abs(self.recorded - self.mean) <= _SLACK * abs(self.mean)
        return close or not math.isfinite(self.limit) or not abs(self.standardised) > self.limit

    def to_dict(self) -> dict[str, Any]:
        """As findings hold it."""
        return {**self._asdict(), "comparable": self.comparable}


@dataclass(frozen=True)
class Reordered:
    """One run under other orders.

    Attributes:
        verdict: "comparable", "apart", "failed", or "untrained" for a run that has no order.
    """

    run: str
    verdict: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    spreads: tuple[Spread, ...] = ()
    explanation: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As findings hold it."""
        return {
            "run_id": self.run,
            "verdict": self.verdict,
            "settings": {k: v for k, v in self.settings.items() if v is not None},
            "spreads": [spread.to_dict() for spread in self.spreads],
            "explanation": self.explanation,
        }


def _with_order(run: Run, order: int) -> Run:
    assert run.train is not None
    other = dataclasses.replace(run, train=dataclasses.replace(run.train, order=order))
    return dataclasses.replace(other, id=run_id(other))


def _at_the_end(measurement: Measurement) -> dict[str, float]:
    """The numbers of the last point of the curve."""
    if not measurement.training:
        return {}
    last = measurement.training[-1].values
    return {name: float(value) for name, value in last.items() if np.ndim(value) == 0}


def spreads_of(recorded: Mapping[str, float], others: Sequence[Mapping[str, float]]) -> list[Spread]:
    """The spread of each number that all have.

    Args:
        recorded: numbers of the recorded run by name.
        others: those of the other orders, at least two.
    """
    from scipy.special import stdtrit

    names = [name for name in recorded if all(name in other for other in others)]
    judged = [name for name in names if name.endswith(_JUDGED)]
    count = len(others)
    limit = float(-stdtrit(count - 1, _LEVEL / 2 / max(1, len(judged))))
    found = []
    for name in names:
        values = np.array([other[name] for other in others])
        mean, deviation = float(values.mean()), float(values.std(ddof=1))
        scale = deviation * math.sqrt(1 + 1 / count)
        distance = recorded[name] - mean
        standardised = (
            distance / scale if scale > 0 else (math.nan if distance == 0 else math.copysign(math.inf, distance))
        )
        found.append(
            Spread(
                name,
                recorded[name],
                mean,
                deviation,
                float(values.min()),
                float(values.max()),
                standardised,
                limit if name in judged else math.inf,
            )
        )
    return found


def reorder(computer: Computer, results: Sequence[Result], orders: int) -> list[Reordered]:
    """Train every run with `orders` (at least 2) other orders of its data.

    Raises:
        What `Computer.compute` raises.
    """
    trained = [result for result in results if result.run.train is not None]
    made = {
        result.run.id: [
            dataclasses.replace(result, run=_with_order(result.run, order)) for order in range(1, orders + 1)
        ]
        for result in trained
    }
    found = computer.compute([other for others in made.values() for other in others], "orders") if made else {}
    reordered = []
    for result in results:
        run = result.run
        if run.id not in made:
            reordered.append(
                Reordered(run.id, "untrained", run.columns, (), "it does not train: its data have no order")
            )
            continue
        others = [found[other.run.id] for other in made[run.id]]
        reordered.append(_judged(result, others))
    return reordered


def _judged(result: Result, others: Sequence[Result | Failure]) -> Reordered:
    run = result.run
    causes = [other.cause for other in others if isinstance(other, Failure)]
    if causes:
        return Reordered(run.id, "failed", run.columns, (), f"with another order it fails: {causes[0]}")
    sound = [other for other in others if isinstance(other, Result)]
    outcomes = [other.outcome for other in sound]
    if set(outcomes) != {result.outcome}:
        said = f"it is {result.outcome}; with the other orders {', '.join(outcomes)}"
        return Reordered(run.id, "apart", run.columns, (), said)
    spreads = spreads_of(_at_the_end(result.measurement), [_at_the_end(other.measurement) for other in sound])
    apart = [spread for spread in spreads if not spread.comparable]
    said = "; ".join(
        f"{s.quantity} {s.recorded:.4g} recorded, {s.mean:.4g} ± {s.deviation:.2g} with {len(sound)} other orders"
        for s in apart
    )
    return Reordered(run.id, "apart" if apart else "comparable", run.columns, tuple(spreads), said)
