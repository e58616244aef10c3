"""The questions that `isosweep verify` asks, each answered in words and as the findings hold it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .common import message
from .usage import UsageProblem

if TYPE_CHECKING:
    from isosweep.reproducibility.across import Compared
    from isosweep.reproducibility.again import Computer
    from isosweep.reproducibility.result import Result
    from isosweep.reproducibility.verify import Checked, Recorded

__all__ = ["across", "orders", "repeat"]

_SHOWN_CHANGES = 12


def _with_progress(computer: Computer, runs: int, quiet: bool, stack: ExitStack) -> None:
    from .progress import RunProgress

    computer.progress = stack.enter_context(RunProgress(runs, quiet)).ran


def repeat(computer: Computer, recorded: Recorded, tolerance: bool, *, quiet: bool) -> dict[str, Any]:
    """Whether the bits are the same again; what of the findings tells of it."""
    from isosweep.reproducibility import verify

    with ExitStack() as stack:
        _with_progress(computer, len(recorded.results), quiet, stack)
        checked = verify.repeat(computer, recorded)
    within: dict[str, Compared] = {}
    if tolerance:
        within = _within_tolerance(computer, recorded, checked)
    agreeing = {c.run for c in checked if c.verdict == "same"} | {r for r, c in within.items() if c.verdict == "within"}
    counts: dict[str, int] = {}
    rows = []
    for one in checked:
        row = one.to_dict()
        if one.run in within:
            row["verdict"] = within[one.run].verdict
            row["quantities"] = [q.to_dict() for q in within[one.run].quantities]
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
        rows.append(row)
        if row["verdict"] != "same":
            _tell(one, row["verdict"])
    message(", ".join(f"{n} {_WORDS[verdict]}" for verdict, n in sorted(counts.items())), quiet=quiet)
    return {"kind": "repeat", "agree": len(agreeing) == len(checked), "counts": counts, "runs": rows}


_WORDS = {
    "same": "the same to the last bit",
    "within": "within tolerance",
    "beyond": "beyond tolerance",
    "differs": "differ",
    "failed": "failed",
    "unusable": "with a record that cannot be used",
    "comparable": "comparable under other orders of the data",
    "apart": "not comparable under other orders of the data",
    "untrained": "without training",
}


def _tell(checked: Checked, verdict: str) -> None:
    message(f"{checked.run} {_WORDS[verdict]}: {checked.explanation}")
    if checked.verdict != "differs":
        return
    message(f"  {len(checked.differences)} arrays differ; the largest relative error is {checked.largest_relative:.1e}")
    for change in checked.changes[:_SHOWN_CHANGES]:
        message(f"  {change.name:22} {change.recorded} recorded, {change.now} now")


def _within_tolerance(computer: Computer, recorded: Recorded, checked: Sequence[Checked]) -> dict[str, Compared]:
    """Of the runs that differ where the environment class is another: whether rounding explains it."""
    from isosweep.reproducibility.across import tolerated
    from isosweep.reproducibility.again import Failure

    others = [c.run for c in checked if c.verdict == "differs" and any(x.decisive for x in c.changes)]
    if not others:
        return {}
    now = computer.compute([recorded.results[run] for run in others])  # there already: it is only read
    pairs: list[tuple[Result, Result]] = []
    for run in others:
        new = now[run]
        if not isinstance(new, Failure):
            pairs.append((recorded.results[run], new))
    return tolerated(computer, pairs) if pairs else {}


def across(computer: Computer, recorded: Recorded, words: tuple[str, ...], *, quiet: bool) -> dict[str, Any]:
    """Whether two devices, or two precisions, agree to their tolerance."""
    from isosweep.reproducibility import across as variants
    from isosweep.reproducibility.across import worst_by_quantity
    from isosweep.reproducibility.condition import NUDGES

    results = list(recorded.results.values())
    with ExitStack() as stack:
        _with_progress(computer, len(results) * (2 + NUDGES), quiet, stack)
        compared = variants.across(computer, results, words)
    counts: dict[str, int] = {}
    for one in compared:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
        if one.verdict in ("beyond", "failed"):
            message(f"{one.run} {_WORDS[one.verdict]}: {one.explanation}")
    for run, record in recorded.unusable.items():
        counts["unusable"] = counts.get("unusable", 0) + 1
        message(f"{run} {_WORDS['unusable']}: {record.reason}")
    worst = worst_by_quantity(compared)
    if worst and not quiet:
        message(f"{'quantity':44} {'largest relative error':>22} {'of its tolerance':>17}")
        for one_quantity in worst:
            used = f"{one_quantity.used:17.2g}" if one_quantity.judged else f"{'not judged':>17}"
            message(f"{one_quantity.quantity:44} {one_quantity.largest_relative:22.2g} {used}")
    message(", ".join(f"{n} {_WORDS[verdict]}" for verdict, n in sorted(counts.items())), quiet=quiet)
    return {
        "kind": "across",
        "variants": list(words),
        "agree": set(counts) <= {"same", "within"},
        "counts": counts,
        "quantities": [q.to_dict() for q in worst],
        "runs": [one.to_dict() for one in compared],
    }


def orders(computer: Computer, recorded: Recorded, count: int, *, quiet: bool) -> dict[str, Any]:
    """How far the order of the data moves what training ends with."""
    from isosweep.reproducibility.orders import reorder

    results = list(recorded.results.values())
    trained = sum(result.run.train is not None for result in results)
    if not trained:
        raise UsageProblem("--orders: these runs do not train, so that their data have no order")
    with ExitStack() as stack:
        _with_progress(computer, trained * count, quiet, stack)
        reordered = reorder(computer, results, count)
    counts: dict[str, int] = {}
    for one in reordered:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
        message(f"{one.run} {_WORDS[one.verdict]}" + (f": {one.explanation}" if one.explanation else ""), quiet=quiet)
        for spread in one.spreads:
            spread_of = f"{spread.mean:12.5g} ± {spread.deviation:.2g}"
            message(f"  {spread.quantity:30} {spread.recorded:12.5g} recorded, {spread_of}", quiet=quiet)
    for run, record in recorded.unusable.items():
        counts["unusable"] = counts.get("unusable", 0) + 1
        message(f"{run} {_WORDS['unusable']}: {record.reason}")
    message(", ".join(f"{n} {_WORDS[verdict]}" for verdict, n in sorted(counts.items())), quiet=quiet)
    return {
        "kind": "orders",
        "orders": count,
        "agree": set(counts) <= {"comparable", "untrained"},
        "counts": counts,
        "runs": [one.to_dict() for one in reordered],
    }
