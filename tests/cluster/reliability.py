"""The table of docs/reliability.md, out of the marks of the fault tests and how they ended.

    ISOSWEEP_WRITE_RELIABILITY=docs/reliability.md python -m pytest -m slurm -n 2 \\
        tests/cluster/test_{faults,accounting}.py

writes it, with the commit that was tested: one run, all of them. A test holds the committed page to the fault tests
there are.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGE", "Row", "commit_of", "page", "rows", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

_HEAD = """\
# What was broken, and what became of it

Made by the tests (`tests/cluster/reliability.py` says how): each row is a fault brought about on a real Slurm, the
private two-node one of the tests, to a sweep that is running. After it the sweep is launched again. In every row that
holds, every run then has exactly one valid record or a failure with its cause, no task is open, and the digests in the
tables are, run by run, those of a sweep that nothing happened to. How it works: [protocol.md](protocol.md).

All rows are of one run of the tests, of commit COMMIT.

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


def page(ended: dict[str, list[str]], commit: str) -> str:
    """The page, a line for each fault, given how its tests ended and of which commit they are."""
    lines = []
    for row in rows():
        ends = ended.get(row.test, ["not run"])
        holds = "yes" if ends == ["passed"] else ", ".join(ends)
        lines.append(f"| {row.what} | {row.leaves} | {row.taken} | `{row.test}` | {holds} |\n")
    return _HEAD.replace("COMMIT", commit) + "".join(lines)


def commit_of(text: str) -> str:
    """The commit that a page says it is of."""
    found = re.search(r"of commit ([0-9a-f]{12})\.\n", text)
    assert found is not None, "the page names no commit, or one with changes that are in none"
    return found[1]


def _commit() -> str:
    """The checkout's commit, and whether it is as committed."""
    root = PAGE.parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout

    changed = git("status", "--porcelain", "--", "isosweep", "tests")
    return git("rev-parse", "--short=12", "HEAD").strip() + (" and changes that are not committed" if changed else "")


def write_page(path: Path, ended: dict[str, list[str]]) -> None:
    """Write the page of a session's tests."""
    path.write_text(page(ended, _commit()))
