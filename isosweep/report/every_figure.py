"""All figures of a sweep, in the order they are read; each only if the sweep has what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import altair as alt

from isosweep.report.appearance import CONFIG
from isosweep.report.axes import roles
from isosweep.report.cells import MEASURES, MISTAKES, REVERSAL, Cells, cells_of
from isosweep.report.described import Described, join_words
from isosweep.report.drawings.chosen_network import chosen_network
from isosweep.report.drawings.completeness import completeness
from isosweep.report.drawings.edge_of_stability import edge_of_stability
from isosweep.report.drawings.fisher_by_layer import fisher_by_layer, fisher_layer_spectra
from isosweep.report.drawings.growth_with import growth_with
from isosweep.report.drawings.heat_map import heat_map
from isosweep.report.drawings.jacobian_law import jacobian_histogram, jacobian_quantiles, near_critical
from isosweep.report.drawings.layer_profile import PROFILES, layer_profile
from isosweep.report.drawings.relation import relation
from isosweep.report.drawings.residuals import residuals
from isosweep.report.drawings.smoothness import smoothness
from isosweep.report.drawings.spectra_overview import spectra_overview
from isosweep.report.drawings.training_curves import ALONG_TRAINING, training_curves
from isosweep.report.drawings.training_speed import condition_against_speed, manifolds
from isosweep.report.drawings.verified import data_orders, tolerances
from isosweep.report.reading import Tables
from isosweep.report.reproducibility import Verification, verifications
from isosweep.report.thinning import NetworkSpectra, spectra_of
from isosweep.report.training import curves_of

Progress = Callable[[int, int], None]
GROWING = (MEASURES[0], MEASURES[3])

__all__ = ["Drawn", "Progress", "described_figures", "draw", "figures"]


@dataclass(frozen=True)
class Drawn:
    """The figures of a sweep and what they were drawn from."""

    figures: tuple[Described, ...]
    cells: Cells
    networks: dict[str, list[NetworkSpectra]]
    notes: tuple[str, ...]
    verifications: tuple[Verification, ...] = ()


def draw(tables: Tables, progress: Progress | None = None) -> Drawn:
    """All figures of these tables; `progress` is told after each how many of how many steps are done."""
    cells = cells_of(tables, roles(tables))
    networks, note = spectra_of(tables, cells)
    lawful, without = near_critical(cells, networks)
    curves = curves_of(tables, cells)
    found = verifications(tables)
    steps: tuple[Callable[[], Described | None], ...] = (
        partial(completeness, cells),
        partial(heat_map, cells, MEASURES[0]),
        partial(chosen_network, cells, networks, note),
        *(partial(heat_map, cells, measure) for measure in MEASURES[1:]),
        partial(heat_map, cells, REVERSAL),
        *(partial(spectra_overview, kind, cells, networks) for kind in ("fisher", "jacobian")),
        partial(fisher_by_layer, cells, networks),
        partial(fisher_layer_spectra, tables, cells, networks),
        partial(relation, cells),
        *(partial(growth_with, cells, measure, along) for measure in GROWING for along in ("depth", "width")),
        partial(jacobian_histogram, tables, cells, lawful),
        partial(jacobian_quantiles, cells, networks, lawful, without),
        *(partial(layer_profile, profile, cells, networks) for profile in PROFILES),
        *(partial(residuals, cells, measure) for measure in MEASURES),
        *(partial(training_curves, along, curves) for along in ALONG_TRAINING[:3]),
        partial(heat_map, cells, MISTAKES),
        partial(edge_of_stability, curves),
        partial(condition_against_speed, curves),
        partial(manifolds, curves),
        partial(smoothness, curves),
        *(partial(training_curves, along, curves) for along in ALONG_TRAINING[3:]),
        partial(tolerances, found),
        partial(data_orders, tables, found),
    )
    told = progress or (lambda done, total: None)
    before = 1  # reading the spectra, which takes about as long as a figure of a large sweep
    told(before, before + len(steps))
    drawn = []
    for number, step in enumerate(steps, before + 1):
        drawn.append(step())
        told(number, before + len(steps))
    lawless = f"The law of the Jacobian is not predicted for {join_words(without)}." if without and not lawful else ""
    notes = tuple(text for text in (cells.note, note, lawless) if text)
    return Drawn(tuple(figure for figure in drawn if figure is not None), cells, networks, notes, found)


def described_figures(tables: Tables, progress: Progress | None = None) -> dict[str, Described]:
    """All figures with their captions, alternative texts and the tables behind them, by name."""
    return {figure.name: figure for figure in draw(tables, progress).figures}


def figures(tables: Tables) -> dict[str, alt.TopLevelMixin]:
    """All figures as Altair charts, by name; a notebook shows each by itself."""
    return {
        name: figure.chart.properties(description=figure.alternative).configure(**CONFIG)
        for name, figure in described_figures(tables).items()
    }
