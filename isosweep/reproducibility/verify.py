"""Repeat recorded runs and compare every bit; where one differs, say where first, and what else is not as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isosweep.draws import generator
from isosweep.store.records import BadRecord, NewerRecord, quarantine, record_path
from isosweep.store.store import Store

from .again import Computer, Failure
from .difference import Difference, differences
from .result import Result, read_result
from .surroundings import Change, changes_between

__all__ = ["Checked", "Recorded", "Unusable", "draw_sample", "read_recorded", "repeat"]


def draw_sample(ids: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of the run ids, all alike likely, the same for the same ids and seed."""
    ordered = sorted(ids)
    chosen = generator(seed, "verify").permutation(len(ordered))[:count]
    return [ordered[i] for i in sorted(chosen)]


@dataclass(frozen=True)
class Unusable:
    """A record that is there and cannot be compared with: why, and where it was put if it was set aside."""

    reason: str
    path: str
    set_aside: bool


@dataclass(frozen=True)
class Recorded:
    """Records read for a verification: results by run id, and those that are no use."""

    results: Mapping[str, Result]
    unusable: Mapping[str, Unusable]


def read_recorded(store: Store, outcomes: Mapping[str, str], *, set_aside: bool) -> Recorded:
    """Read the records of these runs (run id → outcome).

    Args:
        set_aside: move one that is torn, altered or foreign to the store's quarantine, as `collect` does, so that its
            run counts as missing; one whose data are whole and whose digest is another's stays, to be looked into.
    """
    results: dict[str, Result] = {}
    unusable: dict[str, Unusable] = {}
    for run, outcome in outcomes.items():
        path = record_path(store, run, outcome)
        try:
            results[run] = read_result(path)
        except FileNotFoundError:
            unusable[run] = Unusable("it is gone", str(path), False)
        except OSError as error:
            unusable[run] = Unusable(error.strerror or str(error), str(path), False)
        except BadRecord as error:
            moved = None
            if set_aside and not isinstance(error, NewerRecord):
                moved = quarantine(store, path, str(error))
            unusable[run] = Unusable(str(error), str(path), moved is not None)
    return Recorded(results, unusable)


@dataclass(frozen=True)
class Checked:
    """What became of one run.

    Attributes:
        verdict: "same" to the last bit, "differs", "failed" (it gave no result now), "unusable" (its record cannot be
            compared with).
        differences: the arrays that differ, in the order in which a run comes to them.
        changes: of the fingerprint and the code, those that can change bits first.
        explanation: of a verdict that is not "same", in words.
        repeats: whether two new computations agreed with each other; None where no second was needed.
    """

    run: str
    verdict: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    recorded_digest: str | None = None
    digest: str | None = None
    differences: tuple[Difference, ...] = ()
    changes: tuple[Change, ...] = ()
    explanation: str = ""
    repeats: bool | None = None
    seconds: float | None = None

    @property
    def first(self) -> Difference | None:
        """The first array that differs."""
        return self.differences[0] if self.differences else None

    @property
    def largest_relative(self) -> float:
        """The largest relative difference of any number."""
        return max((d.largest_relative for d in self.differences), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """As findings hold it."""
        return {
            "run_id": self.run,
            "verdict": self.verdict,
            "settings": {k: v for k, v in self.settings.items() if v is not None},
            "recorded_digest": self.recorded_digest,
            "digest": self.digest,
            "first_difference": self.first.to_dict() if self.first else None,
            "arrays_differing": len(self.differences),
            "largest_relative": self.largest_relative,
            "changes": [change.to_dict() for change in self.changes],
            "explanation": self.explanation,
            "repeats": self.repeats,
            "seconds": self.seconds,
        }


def repeat(computer: Computer, recorded: Recorded) -> list[Checked]:
    """Compute every recorded result again and compare. A run that differs is computed once more, to tell a run that is
    not deterministic from one that was recorded under other conditions.

    Raises:
        What `Computer.compute` raises.
    """
    results = recorded.results
    checked: dict[str, Checked] = {}
    for run, record in recorded.unusable.items():
        said = f"its record cannot be used: {record.reason}" + ("; it was set aside" if record.set_aside else "")
        checked[run] = Checked(run, "unusable", explanation=said)
    now = computer.compute(list(results.values()))
    differing = [r for r in results.values() if (n := now[r.run.id]) and isinstance(n, Result) and n.digest != r.digest]
    twice = computer.compute(differing, "once-more") if differing else {}
    for run, result in results.items():
        new = now[run]
        if isinstance(new, Failure):
            checked[run] = Checked(
                run, "failed", result.run.columns, result.digest, explanation=f"it fails now: {new.cause}"
            )
        else:
            checked[run] = _compared(result, new, twice.get(run))
    return [checked[run] for run in sorted(checked)]


def _compared(recorded: Result, now: Result, again: Result | Failure | None) -> Checked:
    changes = tuple(changes_between(recorded.provenance, now.provenance))
    settings, run, seconds = recorded.run.columns, recorded.run.id, now.provenance.get("seconds")
    if now.digest == recorded.digest:
        return Checked(run, "same", settings, recorded.digest, now.digest, (), changes, seconds=seconds)
    found = tuple(differences(recorded.measurement, now.measurement))
    repeats = isinstance(again, Result) and again.digest == now.digest
    return Checked(
        run,
        "differs",
        settings,
        recorded.digest,
        now.digest,
        found,
        changes,
        _explained(found, changes, repeats),
        repeats,
        seconds,
    )


def _explained(found: Sequence[Difference], changes: Sequence[Change], repeats: bool) -> str:
    first = found[0]
    where = f"first at {first.where}"
    if first.missing is not None:
        where += f" ({first.missing})"
    else:
        size = f"relative {first.largest_relative:.1e}" if math.isfinite(first.largest_relative) else "not finite"
        where += f" ({first.recorded!r} recorded, {first.now!r} now; {size})"
    if not repeats:
        return (
            f"{where}. Two new computations differ from each other as well: the run is not deterministic. Something in "
            "it draws without the run's seed, or depends on time, order or memory; look at what computes the first "
            "number that differs"
        )
    decisive = [change for change in changes if change.decisive]
    if decisive:
        named = "; ".join(f"{change.name} {change.recorded} then, {change.now} now" for change in decisive)
        return f"{where}. It repeats here, but the surroundings have changed: {named}"
    return (
        f"{where}. It repeats here, in the same environment class and with the same code: the record was made by "
        "something that its fingerprint does not tell of"
    )
