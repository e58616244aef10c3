"""A finding of the doctor's."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "good", "problem", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: what was looked at.
        state: "ok"; "warning": it works, with a limit that one should know; "problem": a launch would not work.
        said: what was found.
        remedy: what to do about it; empty where nothing needs to be done.
    """

    what: str
    state: str
    said: str
    remedy: str = ""


def good(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", said)


def warning(what: str, said: str, remedy: str) -> Finding:
    """It works, with a limit."""
    return Finding(what, "warning", said, remedy)


def problem(what: str, said: str, remedy: str) -> Finding:
    """A launch would not work."""
    return Finding(what, "problem", said, remedy)
