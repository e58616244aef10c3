"""What is wrong with a sweep file, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Impossible", "Problem", "SpecError", "in_order", "nearest", "short"]

# Characters of what is expected, beyond which the nearest name stands for it.
_LONG = 100

_WORDS = {None: "null", True: "true", False: "false"}


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where nothing is like it."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def short(value: object) -> str:
    """`value` as it is shown in a message: the words as YAML has them, not more than a line of it."""
    text = _WORDS.get(value, repr(value)) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


@dataclass(frozen=True)
class Problem:
    """One thing wrong: where (file, line and column from 1, dotted key), what, what was expected, the nearest name."""

    message: str
    key: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None
    expected: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        text = f"{place}: " if place else ""
        text += f"{self.key}: " if self.key else ""
        text += self.message
        # A long list of names would hide the one that was meant.
        if self.expected and not (self.nearest and len(self.expected) > _LONG):
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f"; did you mean {self.nearest!r}?"
        return text


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, in the order of the file."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.line or 0, p.column or 0))


class Impossible(Exception):
    """A point that cannot be run: the axis at fault, and why."""

    def __init__(self, axis: str, message: str):
        super().__init__(message)
        self.axis = axis


class SpecError(Exception):
    """A sweep file that cannot be run as it stands; `.problems` lists every one found."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))
