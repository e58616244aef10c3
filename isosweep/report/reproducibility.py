"""What `isosweep verify` found, as the report tells it: each verification, and every run that does not agree."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from isosweep.report.axes import short
from isosweep.report.described import join_words, plural, scientific
from isosweep.report.reading import Tables, TablesError

__all__ = ["Disagreement", "Verification", "quantities_of", "spreads_of", "verifications"]

_FILE = "verifications.json"
_MOST_DISAGREEING = 40
_OF_SPREAD = ("recorded", "mean", "deviation", "smallest", "largest", "standardised", "limit")
_AGREE = ("same", "within", "comparable")
_WORDS = {
    "same": "the same to the last bit",
    "within": "within tolerance",
    "beyond": "beyond tolerance",
    "differs": "different",
    "failed": "failed",
    "unusable": "with a record that cannot be used",
    "comparable": "comparable",
    "apart": "apart from their other orders",
    "untrained": "without training",
}
_ORDER = {verdict: place for place, verdict in enumerate(_WORDS)}


@dataclass(frozen=True)
class Disagreement:
    """A run that does not agree: what was found first, how far, and the explanation."""

    run: str
    verdict: str
    where: str
    relative: str
    explanation: str


@dataclass(frozen=True)
class Verification:
    """One verification, in words and numbers."""

    at: str
    kind: str
    title: str
    asked: str
    counts: dict[str, int]
    agree: bool
    disagreeing: tuple[Disagreement, ...]
    left_out: int
    finding: dict[str, Any]

    @property
    def verdict(self) -> str:
        """What was found, in words."""
        ordered = sorted(self.counts.items(), key=lambda item: (_ORDER.get(item[0], len(_ORDER)), item[0]))
        return join_words([f"{count:,} {_WORDS.get(name, name)}" for name, count in ordered])


def _number(value: Any) -> float:
    """A number of a finding; JSON has no words for infinities and NaN, so that text stands for them."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def verifications(tables: Tables) -> tuple[Verification, ...]:
    """The verifications of a sweep, oldest first.

    Raises:
        TablesError: the file beside the tables is not one that `isosweep collect` writes.
    """
    path = None if tables.folder is None else tables.folder / _FILE
    if path is None or not path.is_file():
        return ()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["verifications"]
        return tuple(_verification(one) for one in found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TablesError(f"{path} holds no verifications ({error!r}); collect the tables again") from error


def _verification(finding: dict[str, Any]) -> Verification:
    kind = str(finding["kind"])
    titles = {
        "repeat": "Computed again",
        "across": f"Across {join_words([str(word) for word in finding.get('variants') or ('devices',)])}",
        "orders": "With other orders of the data",
    }
    runs = finding["runs"]
    asked = finding.get("asked") or {}
    drawn = "all" if asked.get("all") else "a sample" if asked.get("sample") else "runs that were named"
    said = f"{plural(len(runs), 'run')} of {_count(finding.get('recorded'))} with a record ({drawn})"
    off = [run for run in runs if run["verdict"] not in _AGREE]
    return Verification(
        at=str(finding.get("at", "")),
        kind=kind,
        title=titles.get(kind, kind),
        asked=said,
        counts={str(name): int(count) for name, count in finding["counts"].items()},
        agree=not off,
        disagreeing=tuple(_disagreement(run) for run in off[:_MOST_DISAGREEING]),
        left_out=max(0, len(off) - _MOST_DISAGREEING),
        finding=finding,
    )


def _count(value: Any) -> str:
    return f"{int(value):,}" if isinstance(value, int) else "those"


def _disagreement(run: dict[str, Any]) -> Disagreement:
    relative = run.get("largest_relative")
    return Disagreement(
        run=str(run["run_id"]),
        verdict=_WORDS.get(str(run["verdict"]), str(run["verdict"])),
        where=str(run.get("first_difference") or ""),
        relative="" if relative is None else scientific(_number(relative), 2),
        explanation=str(run.get("explanation", "")),
    )


def quantities_of(found: tuple[Verification, ...]) -> pd.DataFrame:
    """The worst of each quantity against its tolerance: of the verifications across devices, and of repeats in another
    environment class.
    """
    rows = []
    for number, one in enumerate(found, 1):
        listed = one.finding.get("quantities")
        if listed is None:
            listed = [q for run in one.finding["runs"] for q in run.get("quantities") or ()]
        worst: dict[str, dict[str, Any]] = {}
        for quantity in listed:
            known = worst.get(str(quantity["quantity"]))
            if known is None or _number(quantity["used"]) > _number(known["used"]):
                worst[str(quantity["quantity"])] = quantity
        rows += [
            {
                "verification": f"{number}: {one.title} ({one.at})",
                "quantity": name,
                "numbers": int(q.get("numbers", 0)),
                "largest relative error": _number(q["largest_relative"]),
                "share of its tolerance": _number(q["used"]),
                "judged": bool(q.get("judged", True)),
                "where": str(q.get("where", "")),
            }
            for name, q in sorted(worst.items())
        ]
    return pd.DataFrame(rows)


def spreads_of(tables: Tables, found: tuple[Verification, ...]) -> pd.DataFrame:
    """The numbers at the end of training beside their spread over other orders of the data, a row a run and number."""
    settings = tables.runs.set_index("run_id")
    rows = []
    for one in found:
        for run in one.finding["runs"]:
            for spread in run.get("spreads") or ():
                known = run["run_id"] in settings.index
                rows.append(
                    {
                        "run": run["run_id"],
                        "seed": short(settings.loc[run["run_id"], "seed"]) if known else "",
                        "quantity": str(spread["quantity"]),
                        **{
                            name: _number(spread.get(name))
                            for name in (
                                "recorded",
                                "mean",
                                "deviation",
                                "smallest",
                                "largest",
                                "standardised",
                                "limit",
                            )
                        },
                        "comparable": bool(spread.get("comparable", True)),
                    }
                )
    return pd.DataFrame(rows)
