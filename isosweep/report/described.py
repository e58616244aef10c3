"""A figure with everything that must stand beside it: caption, alternative text, the table behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import altair as alt
import numpy as np
import pandas as pd
from altair.utils import schemapi

from isosweep.report.axes import plain

__all__ = ["Described", "inline", "join_words", "plural", "records", "scientific"]


@dataclass(frozen=True)
class Described:
    """One figure. `panel_width` is the width of a panel on a wide page, `gutter` what its axes add to
    it; `legend` the width of a legend on the right, which moves below on a narrow screen."""

    name: str
    title: str
    chart: alt.TopLevelMixin
    caption: str
    alternative: str
    data: pd.DataFrame
    section: str
    panel_width: int = 260
    gutter: int = 60
    legend: int = 0
    beside: str | None = None
    """The figure it stands beside, where the screen is wide enough."""


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON: plain values, and null for whatever is not a finite number."""
    columns: dict[str, list[Any]] = {}
    for name in frame.columns:
        values = [plain(value) for value in frame[name].tolist()]
        columns[str(name)] = [None if isinstance(v, float) and not np.isfinite(v) else v for v in values]
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class _Rows:
    """Rows that Altair hands on whole: a list it would copy, value by value, with every layer and facet."""

    _schema: ClassVar[dict[str, Any]] = {"type": "array"}

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def to_dict(self) -> list[dict[str, Any]]:
        return self.rows


def inline(frame: pd.DataFrame | Sequence[Mapping[str, Any]], name: str) -> alt.InlineData:
    """A frame as a named data source, so that neither size limits nor hashes of the data come in."""
    values = records(frame) if isinstance(frame, pd.DataFrame) else [dict(row) for row in frame]
    with schemapi.debug_mode(False):  # rows of plain values need no check against the schema, which is slow
        return alt.InlineData(values=cast(Any, _Rows(values)), name=name)


def plural(count: int, word: str, words: str | None = None) -> str:
    """'1 run', '2 runs', '12,000 runs'."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def join_words(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def scientific(value: float | None, digits: int = 4) -> str:
    """A number for people; what is not finite is named."""
    if value is None or np.isnan(value):
        return "not a number"
    if np.isinf(value):
        return "infinite" if value > 0 else "minus infinity"
    return f"{value:.{digits}g}"
