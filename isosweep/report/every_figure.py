"""All figures of a sweep, in the order they are read; each only if the sweep has what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt

from isosweep.report.appearance import CONFIG
from isosweep.report.axes import roles
from isosweep.report.cells import MEASURES, Cells, cells_of
from isosweep.report.described import Described, join_words
from isosweep.report.drawings.chosen_network import chosen_network
from isosweep.report.drawings.completeness import completeness
from isosweep.report.drawings.growth_with import growth_with
from isosweep.report.drawings.heat_map import heat_map
from isosweep.report.drawings.jacobian_law import jacobian_histogram, jacobian_quantiles, near_critical
from isosweep.report.drawings.relation import relation
from isosweep.report.drawings.residuals import residuals
from isosweep.report.drawings.spectra_overview import spectra_overview
from isosweep.report.reading import Tables
from isosweep.report.thinning import NetworkSpectra, spectra_of

__all__ = ["Drawn", "described_figures", "draw", "figures"]


@dataclass(frozen=True)
class Drawn:
    """The figures of a sweep and what they were drawn from."""

    figures: tuple[Described, ...]
    cells: Cells
    networks: dict[str, list[NetworkSpectra]]
    notes: tuple[str, ...]


def draw(tables: Tables) -> Drawn:
    """All figures of these tables."""
    cells = cells_of(tables, roles(tables))
    networks, note = spectra_of(tables, cells)
    lawful, without = near_critical(cells, networks)
    drawn = [
        completeness(cells),
        heat_map(cells, MEASURES[0]),
        chosen_network(cells, networks, note),
        *(heat_map(cells, measure) for measure in MEASURES[1:]),
        spectra_overview("fisher", cells, networks),
        spectra_overview("jacobian", cells, networks),
        relation(cells),
        *(growth_with(cells, measure, along) for measure in (MEASURES[0], MEASURES[3]) for along in ("depth", "width")),
        jacobian_histogram(tables, cells, lawful),
        jacobian_quantiles(cells, networks, lawful, without),
        *(residuals(cells, measure) for measure in MEASURES),
    ]
    lawless = f"The law of the Jacobian is not predicted for {join_words(without)}." if without and not lawful else ""
    notes = tuple(text for text in (cells.note, note, lawless) if text)
    return Drawn(tuple(figure for figure in drawn if figure is not None), cells, networks, notes)


def described_figures(tables: Tables) -> dict[str, Described]:
    """All figures with their captions, alternative texts and the tables behind them, by name."""
    return {figure.name: figure for figure in draw(tables).figures}


def figures(tables: Tables) -> dict[str, alt.TopLevelMixin]:
    """All figures as Altair charts, by name; a notebook shows each by itself."""
    return {
        name: figure.chart.properties(description=figure.alternative).configure(**CONFIG)
        for name, figure in described_figures(tables).items()
    }
