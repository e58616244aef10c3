"""What became of the runs and where they ran: counts, causes of failure, compute, environments."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from isosweep.report.axes import plain, short
from isosweep.report.described import join_words, plural
from isosweep.report.reading import Tables

__all__ = ["Account", "Cause", "Environment", "account", "duration", "size"]

_FINISHED = ("done", "diverged")
_UNFINISHED = ("running", "pending", "missing")
_MOST_CAUSES = 12
_MOST_ENVIRONMENTS = 12


@dataclass(frozen=True)
class Cause:
    """Runs that failed alike."""

    status: str
    cause: str
    runs: int
    example: str
    where: str


@dataclass(frozen=True)
class Environment:
    """One environment class: what it is made of, and how many runs were measured in it."""

    name: str
    runs: int
    device: str
    driver: str
    torch: str
    hosts: str
    code: str


@dataclass(frozen=True)
class Account:
    """The account of a sweep."""

    counts: dict[str, int]
    planned: int
    causes: tuple[Cause, ...]
    causes_left_out: int
    environments: tuple[Environment, ...]
    codes: tuple[str, ...]
    seconds: float
    peak_bytes: float
    first: str
    last: str
    warnings: tuple[str, ...]

    @property
    def done(self) -> int:
        """Runs with a record."""
        return sum(self.counts.get(status, 0) for status in _FINISHED)

    @property
    def sentence(self) -> str:
        """How complete the sweep is, in a sentence."""
        if not self.planned:
            return "These tables hold no runs."
        rest = [f"{count:,} {status}" for status, count in self.counts.items() if status != "done"]
        start = f"{self.counts.get('done', 0):,} of {plural(self.planned, 'planned run')} done"
        return f"{start}; {join_words(rest)}." if rest else f"{start}: the sweep is complete."


def _text(group: pd.DataFrame, name: str) -> str:
    if name not in group:
        return ""
    values = sorted({str(plain(value)) for value in group[name] if plain(value) is not None})
    return ", ".join(values[:4]) + (f" and {len(values) - 4} more" if len(values) > 4 else "")


def _causes(runs: pd.DataFrame) -> list[Cause]:
    failed = runs[~runs["status"].isin([*_FINISHED, *_UNFINISHED])]
    causes = []
    shown = failed["failure_cause"].map(lambda value: str(plain(value) or "no cause was recorded").strip())
    for (status, cause), group in failed.assign(_cause=shown).groupby(["status", "_cause"], sort=True):
        alike = []
        for name in ("activation", "init", "depth", "width", "gain"):
            if name in group and runs[name].map(short).nunique() > 1:
                values = list(dict.fromkeys(group[name].map(short)))
                if len(values) <= 3:
                    alike.append(f"{name} {join_words(values)}")
        causes.append(Cause(str(status), str(cause), len(group), str(group["run_id"].min()), ", ".join(alike)))
    return sorted(causes, key=lambda cause: (-cause.runs, cause.status, cause.cause))


def _environments(runs: pd.DataFrame) -> list[Environment]:
    measured = runs[runs["status"].isin(_FINISHED)]
    names = measured["environment_class"].map(lambda value: str(plain(value) or "unknown"))
    found = []
    for name, group in measured.assign(_class=names).groupby("_class", sort=True):
        processors = _text(group, "gpu_model") or _text(group, "cpu_model") or _text(group, "device")
        found.append(
            Environment(
                str(name), len(group), processors, _text(group, "driver"), _text(group, "torch_version"),
                _text(group, "hostname"), _text(group, "code_id"),
            )
        )  # fmt: skip
    return sorted(found, key=lambda environment: (-environment.runs, environment.name))


def account(tables: Tables) -> Account:
    """The account of these tables."""
    runs = tables.runs
    counts = {str(status): int(count) for status, count in sorted(runs["status"].value_counts().items())}
    environments, causes = _environments(runs), _causes(runs)
    codes = sorted({str(value) for value in runs["code_id"].dropna()})
    warnings = []
    if len(environments) > 1:
        split = join_words([f"{plural(e.runs, 'run')} in {e.name}" for e in environments[:6]])
        warnings.append(
            f"{len(environments)} environment classes are mixed ({split}). Between classes numbers agree to a "
            "stated tolerance, "
            "not bit for bit; compare runs of one class where the last digits matter."
        )
    if len(codes) > 1:
        warnings.append(f"The runs were measured by {len(codes)} versions of the code ({join_words(codes[:6])}).")
    started = sorted(str(value) for value in runs["started_at"].dropna()) if "started_at" in runs else []
    peak = runs["peak_memory_bytes"].max() if "peak_memory_bytes" in runs else float("nan")
    return Account(
        counts=counts,
        planned=len(runs),
        causes=tuple(causes[:_MOST_CAUSES]),
        causes_left_out=max(0, len(causes) - _MOST_CAUSES),
        environments=tuple(environments[:_MOST_ENVIRONMENTS]),
        codes=tuple(codes),
        seconds=float(runs["seconds"].sum()),
        peak_bytes=float(peak),
        first=started[0] if started else "",
        last=started[-1] if started else "",
        warnings=tuple(warnings),
    )


def duration(seconds: float) -> str:
    """'41 s', '12 min', '3.4 h'."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def size(count: float) -> str:
    """'1.2 GB'."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_:
            return f"{count / bytes_:.3g} {unit}"
    return f"{count:.0f} B"
