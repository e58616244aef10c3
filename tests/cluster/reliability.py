"""The table of docs/reliability.md, out of the marks of the fault tests and how they ended.

    ISOSWEEP_WRITE_RELIABILITY=results.json python -m pytest -m slurm tests/cluster/test_{faults,accounting}.py

writes it. What is in results.json already counts for tests that
are not run again. A test holds the committed page to the fault tests there are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGE", "Row", "page", "rows", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

_HEAD = """\
# What was broken, and what became of it

Made by the tests (`tests/cluster/reliability.py` says how): each row is a fault brought about on a real Slurm, the
private two-node one of the tests, to a sweep that is running. After it the sweep is launched again. In every row that
holds, every run then has exactly one valid record or a failure with its cause, no task is open, and the digests in the
tables are, run by run, those of a sweep that nothing happened to. How it works: [protocol.md](protocol.md).

| fault | what it leaves | the next launch takes its runs | test | holds |
|---|---|---|---|---|
"""


class Row(NamedTuple):
    """A fault: what is done, what it leaves, how a launch takes the runs, and the test."""

    what: str
    leaves: str
    taken: str
    test: str


def rows() -> list[Row]:
    """The fault tests there are, in their order, by their marks `fault(what, leaves, taken)`."""
    from . import test_accounting, test_faults

    found = []
    for module in (test_faults, test_accounting):
        for name, function in vars(module).items():
            marks = {mark.name: mark for mark in getattr(function, "pytestmark", [])}
            if name.startswith("test_") and "fault" in marks:
                words = (*marks["fault"].args, "by default")[:3]
                found.append(Row(*words, test=name))
    return found


def page(ended: dict[str, list[str]]) -> str:
    """The page, a line for each fault, given how its tests ended."""
    lines = []
    for row in rows():
        ends = ended.get(row.test, ["not run"])
        holds = "yes" if ends == ["passed"] else ", ".join(ends)
        lines.append(f"| {row.what} | {row.leaves} | {row.taken} | `{row.test}` | {holds} |\n")
    return _HEAD + "".join(lines)


def write_page(results: Path, ended: dict[str, list[str]]) -> None:
    """Add to the results of earlier sessions, and write the page."""
    known: dict[str, list[str]] = json.loads(results.read_text()) if results.exists() else {}
    known |= ended
    results.write_text(json.dumps(known, indent=1))
    PAGE.write_text(page(known))
