"""The `tune` section of the sweep file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from .axis_types import Moderate, Positive, Section, Whole
from .errors import short
from .numbers import exact, is_fraction, number

__all__ = ["TuneSection"]


def _bounds(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 2:
        text = f"expected two numbers, [low, high], found {short(value)}"
        raise PydanticCustomError("axis", "{text}", {"text": text, "nearest": None})
    return tuple(number(exact(bound)) if is_fraction(bound) else bound for bound in value)


_Bounds = Annotated[tuple[Annotated[Moderate, Field(gt=0)], Annotated[Moderate, Field(gt=0)]], BeforeValidator(_bounds)]


class TuneSection(Section):
    """What `isosweep tune` searches: numbers that take the place of axes of this file, trial after trial."""

    ranges: dict[str, _Bounds] = Field(
        {}, description="Axis (by its plain name or its path) → `[low, high]`, both positive: searched log-uniformly."
    )
    objective: str = Field(
        "validation_accuracy", description="A column of the table `training`; its mean over a trial's runs counts."
    )
    epoch: Annotated[Whole, Field(ge=0)] | None = Field(
        None, description="The epoch at which it is read (the last if absent)."
    )
    direction: Literal["maximize", "minimize"] | None = Field(
        None, description="If absent: `maximize` for accuracies and `kernel_alignment`, `minimize` for the others."
    )
    trials: Positive = Field(40, description="How many trials.")
    batch: Positive = Field(
        4, description="How many are chosen and launched together; larger is faster on a cluster, and learns later."
    )
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = Field(0, description="Seed of the search.")
    set: dict[str, Any] = Field(
        {},
        description="Keys of the sweep file, by their path, that are otherwise in trials: fewer seeds, epochs or "
        "points: `{train.epochs: 50, seeds: 1, train.measure.epochs: [0]}`.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> TuneSection:
        for name, (low, high) in self.ranges.items():
            if not low < high:
                text = f"the range of {name} is empty: {low:g} is not below {high:g}"
                raise PydanticCustomError("axis", "{text}", {"text": text, "nearest": None})
        return self
