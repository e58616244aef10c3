"""Figures as files for a paper: vectors of a page's width, fonts embedded, the table behind each beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from isosweep.report.appearance import PAPER_CONFIG, with_stacked_legends
from isosweep.report.described import Described
from isosweep.report.every_figure import Progress, described_figures
from isosweep.report.html_page import VEGA_LITE
from isosweep.report.reading import Tables

__all__ = ["FORMATS", "paper_specification", "write_described", "write_figures"]

FORMATS = ("pdf", "svg", "png", "csv", "parquet", "json")
PAPER_WIDTH = 486  # pt: 6.75 inches, the text of a two-column page
_PNG_DPI = 300


def paper_specification(figure: Described) -> dict[str, Any]:
    """The Vega-Lite specification of a figure at a paper's size: the page's, with smaller letters and panels."""
    spec: dict[str, Any] = figure.chart.properties(description=figure.alternative).to_dict(validate=False)
    spec["config"] = with_stacked_legends(PAPER_CONFIG)
    columns = int(spec.get("columns", 1))
    room = (PAPER_WIDTH - 0.75 * figure.legend) / columns - 0.8 * figure.gutter
    width = round(min(figure.panel_width, room))
    if "facet" in spec:
        spec["spec"]["width"] = width
    elif "concat" in spec:
        for part in spec["concat"]:
            part["width"] = width
    else:
        spec["width"] = width
    return spec


def _write(figure: Described, kind: str, path: Path) -> None:
    if kind == "csv":
        figure.data.to_csv(path, index=False, lineterminator="\n")
        return
    if kind == "parquet":
        figure.data.to_parquet(path, index=False)
        return
    spec = paper_specification(figure)
    if kind == "json":
        path.write_text(json.dumps(spec, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    elif kind == "svg":
        path.write_text(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE), encoding="utf-8")
    elif kind == "pdf":
        path.write_bytes(vl_convert.vegalite_to_pdf(spec, vl_version=VEGA_LITE))
    else:
        path.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=_PNG_DPI / 72, ppi=_PNG_DPI))


def write_figures(
    tables: Tables,
    folder: str | Path,
    formats: Sequence[str] = ("pdf", "svg", "png"),
    progress: Progress | None = None,
) -> list[Path]:
    """Write every figure to `folder` in each of the formats, and the table behind it as CSV.

    `progress` is told after each figure how many of how many are written.

    Raises:
        ValueError: a format that there is not; nothing is written then.
    """
    _known(formats)
    return write_described(described_figures(tables), folder, formats, progress)


def _known(formats: Sequence[str]) -> None:
    unknown = [kind for kind in formats if kind not in FORMATS]
    if unknown:
        raise ValueError(f"no such format: {', '.join(unknown)}; there are {', '.join(FORMATS)}")


def write_described(
    figures: Mapping[str, Described],
    folder: str | Path,
    formats: Sequence[str] = ("pdf", "svg", "png"),
    progress: Progress | None = None,
) -> list[Path]:
    """The same for figures that are there already, as those of a comparison."""
    _known(formats)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = list(dict.fromkeys([*formats, "csv"]))
    written = []
    for number, (name, figure) in enumerate(figures.items(), 1):
        for kind in kinds:
            path = folder / f"{name}.{kind}"
            _write(figure, kind, path)
            written.append(path)
        if progress is not None:
            progress(number, len(figures))
    return written
