"""The same runs on several devices, or in several precisions: every quantity's error beside its tolerance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isosweep.sweep.identity import run_id
from isosweep.sweep.settings import Run

from .again import CannotVerify, Computer, Failure
from .condition import NUDGES, UNIT_ROUNDOFF, Agreement, agreement, merged, nudged
from .result import Result

__all__ = ["Compared", "across", "tolerated", "variants"]

_DEVICES = ("cpu", "cuda")


def variants(text: str) -> tuple[str, ...]:
    """The words of ``--across``: two devices, or two precisions.

    Raises:
        CannotVerify: other words, or fewer than two, or of both kinds.
    """
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    known = (set(words) <= set(_DEVICES), set(words) <= set(UNIT_ROUNDOFF))
    if len(words) != 2 or not any(known):
        raise CannotVerify(f"--across {text}: expected cpu,cuda or float64,float32")
    return words


@dataclass(frozen=True)
class Compared:
    """One run in two variants.

    Attributes:
        verdict: "same" bits, "within" tolerance, "beyond" it, or "failed".
        quantities: how far each agrees.
        explanation: of a verdict that is neither "same" nor "within".
    """

    run: str
    verdict: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    quantities: tuple[Agreement, ...] = ()
    explanation: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As findings hold it."""
        return {
            "run_id": self.run,
            "verdict": self.verdict,
            "settings": {k: v for k, v in self.settings.items() if v is not None},
            "quantities": [q.to_dict() for q in self.quantities],
            "explanation": self.explanation,
        }


def _in_precision(result: Result, dtype: str) -> Result:
    run = dataclasses.replace(result.run, measure=dataclasses.replace(result.run.measure, dtype=dtype))
    return dataclasses.replace(result, run=dataclasses.replace(run, id=run_id(run)))


def _coarsest(run: Run) -> str:
    """The coarsest floating type that the run computes in: training has one of its own."""
    types = [run.measure.dtype, *([run.train.dtype] if run.train is not None else [])]
    return max(types, key=lambda dtype: UNIT_ROUNDOFF[dtype])


def _nudged(computer: Computer, result: Result, dtype: str) -> list[Result]:
    """The run with its weights moved by arithmetic in `dtype`, to be computed in float64."""
    base, modules = _in_precision(result, "float64"), computer.origin.modules(result)
    return [
        dataclasses.replace(result, run=nudged(base.run, number, dtype, computer.scratch / "weights", modules))
        for number in range(NUDGES)
    ]


def _judged(
    run: Run,
    reference: Result | Failure,
    other: Result | Failure,
    moved: Sequence[Result | Failure],
    units: Sequence[float],
    names: Sequence[str],
) -> Compared:
    for name, found in zip(names, (reference, other), strict=True):
        if isinstance(found, Failure):
            return Compared(run.id, "failed", run.columns, (), f"it fails with {name}: {found.cause}")
    assert isinstance(reference, Result)
    assert isinstance(other, Result)
    if reference.digest == other.digest:
        return Compared(run.id, "same", run.columns)
    sound = [m.measurement for m in moved if isinstance(m, Result)]
    if len(sound) != NUDGES:
        causes = [m.cause for m in moved if isinstance(m, Failure)]
        return Compared(run.id, "failed", run.columns, (), f"its condition cannot be measured: {causes[0]}")
    quantities = agreement(reference.measurement, other.measurement, sound, units)
    beyond = sorted((q for q in quantities if q.judged and q.used > 1), key=lambda q: -q.used)
    said = "; ".join(
        f"{q.quantity}: {q.used:.3g} times its tolerance, relative error {q.largest_relative:.1e}, at {q.where}"
        for q in beyond[:3]
    )
    return Compared(run.id, "beyond" if beyond else "within", run.columns, tuple(quantities), said)


def across(computer: Computer, results: Sequence[Result], words: Sequence[str]) -> list[Compared]:
    """Compute every run in both variants and compare.

    Raises:
        What `Computer.compute` raises: a device that is not there, above all.
    """
    if words[0] in _DEVICES:
        return _across_devices(computer, results, words)
    # tolerances hold from the float64 result: it is the reference, whichever was named first
    words = sorted(words, key=lambda word: UNIT_ROUNDOFF[word])
    pairs = [[_in_precision(result, word) for word in words] for result in results]
    moved = [_nudged(computer, result, words[-1]) for result in results]
    found = computer.compute([one for group in (*pairs, *moved) for one in group], "across")
    units = [UNIT_ROUNDOFF[word] for word in words]
    return [
        _judged(result.run, found[a.run.id], found[b.run.id], [found[m.run.id] for m in nudges], units, words)
        for result, (a, b), nudges in zip(results, pairs, moved, strict=True)
    ]


def _across_devices(computer: Computer, results: Sequence[Result], words: Sequence[str]) -> list[Compared]:
    moved = [_nudged(computer, result, _coarsest(result.run)) for result in results]
    first = computer.compute([*results, *(m for nudges in moved for m in nudges)], words[0], device=words[0])
    second = computer.compute(results, words[1], device=words[1])
    return [
        _judged(
            result.run,
            first[result.run.id],
            second[result.run.id],
            [first[m.run.id] for m in nudges],
            [UNIT_ROUNDOFF[_coarsest(result.run)]],
            words,
        )
        for result, nudges in zip(results, moved, strict=True)
    ]


def tolerated(computer: Computer, pairs: Sequence[tuple[Result, Result]]) -> dict[str, Compared]:
    """For runs whose bits differ between environment classes: whether the differences are within their tolerance.

    Args:
        pairs: each run's recorded result and the one computed here.
    """
    moved = {now.run.id: _nudged(computer, now, _coarsest(now.run)) for _, now in pairs}
    found = computer.compute([m for nudges in moved.values() for m in nudges], "nudged")
    return {
        recorded.run.id: _judged(
            recorded.run,
            now,
            recorded,
            [found[m.run.id] for m in moved[now.run.id]],
            [UNIT_ROUNDOFF[_coarsest(recorded.run)]],
            ("this environment", "the record's"),
        )
        for recorded, now in pairs
    }


def worst_by_quantity(compared: Sequence[Compared]) -> list[Agreement]:
    """The worst agreement of each quantity over all runs."""
    return merged([one.quantities for one in compared])
