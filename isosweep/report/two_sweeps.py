"""The page of two sweeps, its figures, and its text for a terminal: what changed from A to B."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from functools import partial

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from isosweep.report.comparison import Comparison, ratio
from isosweep.report.described import Described, records
from isosweep.report.drawings.shift import shift_map, shift_scatter
from isosweep.report.every_figure import Progress
from isosweep.report.html_page import cell_text, rendered, told_of

__all__ = ["comparison_figures", "comparison_page", "comparison_text"]


def comparison_figures(compared: Comparison, progress: Progress | None = None) -> dict[str, Described]:
    """All figures of a comparison by name: of each measure the cells of both, and their ratio."""
    steps: list[Callable[[], Described | None]] = []
    for shift in compared.shifts:
        steps.append(partial(shift_scatter, compared.matched, shift))
        steps.append(partial(shift_map, compared.matched, shift.measure))
    drawn: dict[str, Described] = {}
    for number, step in enumerate(steps, 1):
        figure = step()
        if figure is not None:
            drawn[figure.name] = figure
        if progress is not None:
            progress(number, len(steps))
    return drawn


def comparison_page(compared: Comparison, progress: Progress | None = None) -> str:
    """The page of two sweeps: the same tables give the same text, byte for byte."""
    figures = comparison_figures(compared, progress)
    different = compared.digests.different
    return rendered(
        "comparison.html.j2",
        figures,
        {"parts": [], "cells": {}, "first": None},
        compared=compared,
        sides=list(zip("AB", compared.accounts, strict=True)),
        shown=[told_of(figure) for figure in figures.values()],
        different={
            "columns": [str(name).replace("_", " ") for name in different.columns],
            "rows": [[cell_text(value) for value in row.values()] for row in records(different)],
        },
    )


def comparison_text(compared: Comparison, width: int | None = None) -> str:
    """The same for people on a login node: what differs, and how far each measure moved."""
    look = {"title_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}
    parts: list[RenderableType] = [
        Text(f"A: {compared.names[0]}", style="bold"),
        Text(f"   {compared.accounts[0].sentence}"),
        Text(f"B: {compared.names[1]}", style="bold"),
        Text(f"   {compared.accounts[1].sentence}"),
        *(Text(sentence) for sentence in compared.answer),
    ]
    if compared.differing:
        settings = Table("setting", "A", "B", title="Settings that differ", **look)  # type: ignore[arg-type]
        for setting in compared.differing:
            settings.add_row(*(Text(word) for word in (setting.name, *setting.words)))
        parts.append(settings)
    if compared.shifts:
        names = ("measure", "cells", "least", "median", "most", "95 % interval of the median")
        moved = Table(*names, title="B over A, medians over the seeds of each matched cell", **look)  # type: ignore[arg-type]
        for shift in compared.shifts:
            interval = "below 8 cells" if shift.interval is None else " to ".join(map(ratio, shift.interval))
            numbers = (ratio(shift.least), ratio(shift.median), ratio(shift.most))
            moved.add_row(shift.measure.symbol, f"{shift.cells:,}", *numbers, interval)
        parts.append(moved)
    written = io.StringIO()
    columns = width or shutil.get_terminal_size(fallback=(120, 24)).columns
    Console(width=columns, file=written, color_system=None, highlight=False).print(Group(*parts))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"
