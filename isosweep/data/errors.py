"""What can be wrong with data: files that are not there, and files that are not what they should be."""

from __future__ import annotations

__all__ = ["MissingData", "UnreadableFile"]


class UnreadableFile(Exception):
    """A file that is torn, or not of the format that its name promises; the message names it."""


class MissingData(Exception):
    """Files of a data set that are not there or not what they should be: what was looked for, where, how to get it."""
