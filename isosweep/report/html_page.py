"""The page: one HTML file with its figures, its numbers and its scripts inside, that needs no network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from isosweep.report.appearance import CONFIG, with_stacked_legends
from isosweep.report.described import Described, records
from isosweep.report.drawings.chosen_network import PARTS, cell_labels, cell_rows, cell_said, first_cell
from isosweep.report.every_figure import Drawn, Progress, draw
from isosweep.report.provenance import account, duration, size
from isosweep.report.reading import Tables

__all__ = ["VEGA_LITE", "cell_text", "page", "rendered", "specification", "told_of"]

VEGA_LITE = "6.4"  # the version that vl-convert and the page draw with
_MOST_ROWS = 60  # of the table below a figure
_MOST_MARKS = 4000  # of a figure drawn as SVG; beyond it the page draws on a canvas
_SECTIONS = (
    ("run", "What was run"),
    ("curvature", "Curvature at initialisation"),
    ("spectra", "Spectra"),
    ("relations", "Relations"),
    ("theory", "Beside theory"),
    ("training", "Training"),
    ("reproducibility", "Reproducibility"),
)


@lru_cache(maxsize=1)
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    # The stub wants a snippet; without one the libraries are assigned to the window, as the page needs.
    bundle: str = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
    if re.search(r"</script|<!--", bundle, re.IGNORECASE):
        raise RuntimeError("the Vega bundle cannot stand inside a script element")
    return bundle


def _file(name: str) -> str:
    return resources.files("isosweep.report").joinpath("templates", name).read_text(encoding="utf-8")


def _json(value: Any) -> Markup:
    """JSON that can stand inside a script element: no '<' in it, keys in order, one way to write it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def specification(figure: Described) -> dict[str, Any]:
    """The Vega-Lite specification of a figure."""
    spec: dict[str, Any] = figure.chart.properties(description=figure.alternative).to_dict(validate=False)
    spec["config"] = with_stacked_legends(CONFIG)
    return spec


def cell_text(value: Any) -> str:
    """A value of the table below a figure."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def told_of(figure: Described) -> dict[str, Any]:
    """What the page says of a figure: title, caption, alternative text and the first rows of its numbers."""
    rows = records(figure.data.head(_MOST_ROWS))
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "alternative": figure.alternative,
        "columns": [str(name).replace("_", " ") for name in figure.data.columns],
        "rows": [[cell_text(value) for value in row.values()] for row in rows],
        "more": max(0, len(figure.data) - _MOST_ROWS),
        "beside": figure.beside,
    }


def _networks(drawn: Drawn) -> dict[str, Any]:
    """The spectra of every cell, columns instead of rows, for the script to hand to the figure."""
    result = {}
    labels = cell_labels(drawn.cells)
    for cell, networks in drawn.networks.items():
        parts = {}
        for name, rows in cell_rows(networks).items():
            seeds: dict[str, dict[str, list[Any]]] = {}
            for row in rows:
                columns = seeds.setdefault(row["seed"], {"x": [], "y": []})
                columns["x"].append(row["x"])
                columns["y"].append(row["y"])
            parts[name] = [[seed, columns["x"], columns["y"]] for seed, columns in seeds.items()]
        result[cell] = {"parts": parts, "said": cell_said(labels[cell], networks)}
    return result


def _choices(drawn: Drawn) -> list[dict[str, Any]]:
    """The networks one can choose, by panel."""
    groups: dict[str, list[dict[str, str]]] = {}
    labels = cell_labels(drawn.cells)
    panels = drawn.cells.shown.drop_duplicates("cell").set_index("cell")["panel"]
    for cell, panel in panels.items():
        if cell in drawn.networks:
            groups.setdefault(panel, []).append({"cell": str(cell), "label": labels[str(cell)]})
    return [{"panel": panel, "cells": cells} for panel, cells in groups.items()]


def rendered(template: str, figures: Mapping[str, Described], networks: Mapping[str, Any], **context: Any) -> str:
    """A page with its styles, scripts, figures and the networks they choose from inside."""
    specs = {
        name: {
            "spec": specification(figure),
            "panel": figure.panel_width,
            "gutter": figure.gutter,
            "legend": figure.legend,
            "renderer": "canvas" if len(figure.data) > _MOST_MARKS else "svg",
        }
        for name, figure in figures.items()
    }
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(duration=duration, size=size)
    return environment.get_template(template).render(
        style=Markup(_file("page.css")),
        library=Markup(_library()),
        script=Markup(_file("page.js")),
        specs=_json(specs),
        networks=_json(networks),
        **context,
    )


def page(tables: Tables, progress: Progress | None = None) -> str:
    """The report of these tables: the same tables give the same text, byte for byte.

    `progress` is told after each figure how many of how many steps are done.
    """
    drawn = draw(tables, progress)
    figures = {figure.name: figure for figure in drawn.figures}
    sections = []
    for key, title in _SECTIONS:
        members = [told_of(figure) for figure in figures.values() if figure.section == key]
        if members or key == "run" or (key == "reproducibility" and drawn.verifications):
            sections.append({"key": key, "title": title, "figures": members})
    return rendered(
        "page.html.j2",
        figures,
        {"parts": list(PARTS), "cells": _networks(drawn), "first": first_cell(drawn.cells, drawn.networks)},
        name=tables.name,
        sweep=tables.sweep,
        account=account(tables),
        sections=sections,
        choices=_choices(drawn),
        notes=drawn.notes,
        verifications=drawn.verifications,
    )
