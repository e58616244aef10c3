"""Figures as files: sizes of a paper, fonts inside, the numbers beside (PNG: with the bytes, in test_page)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import vl_convert

from isosweep.report import described_figures, load_tables, write_figures
from isosweep.report.axes import roles
from isosweep.report.cells import cells_of
from isosweep.report.drawings.edge_of_stability import edge_of_stability
from isosweep.report.drawings.smoothness import smoothness
from isosweep.report.drawings.training_curves import ALONG_TRAINING, training_curves
from isosweep.report.drawings.training_speed import condition_against_speed, manifolds
from isosweep.report.figure_files import paper_specification
from isosweep.report.html_page import VEGA_LITE
from isosweep.report.training import curves_of

from .synthetic import write_tables, write_trained


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    axes = {"depth": [4, 16], "activation": ["tanh", "relu"], "gain": [0.9, 1.0, 1.2], "seed": [0, 1]}
    write_tables(folder / "tables", axes)
    write_figures(load_tables(folder / "tables"), folder / "out", ("pdf", "svg"))
    return folder


def test_every_figure_is_written_with_its_numbers(written: Path) -> None:
    for name, figure in described_figures(load_tables(written / "tables")).items():
        for kind in ("pdf", "svg", "csv"):
            assert (written / "out" / f"{name}.{kind}").stat().st_size > 50, (name, kind)
        assert len(pd.read_csv(written / "out" / f"{name}.csv")) == len(figure.data)


def test_figures_have_a_papers_width(written: Path) -> None:
    for path in sorted((written / "out").glob("*.svg")):
        found = re.search(r'<svg[^>]* width="(\d+)"', path.read_text(encoding="utf-8"))
        assert found is not None
        assert int(found[1]) <= 540, path.name


def test_figures_of_training_have_a_papers_width(tmp_path: Path) -> None:
    axes = {"manifold": ["euclidean", "stiefel"], "q_star": [1e-4, 0.5], "seed": [0, 1]}
    tables = load_tables(write_trained(tmp_path, axes, edit=lambda runs: runs.assign(gain=1 + runs["q_star"])))
    curves = curves_of(tables, cells_of(tables, roles(tables)))
    assert curves is not None
    drawn = [training_curves(ALONG_TRAINING[0], curves), manifolds(curves), smoothness(curves)]
    drawn += [edge_of_stability(curves), condition_against_speed(curves)]
    for figure in drawn:
        assert figure is not None
        text = vl_convert.vegalite_to_svg(paper_specification(figure), vl_version=VEGA_LITE)
        found = re.search(r'<svg[^>]* width="(\d+)"', text)
        assert found is not None
        assert int(found[1]) <= 540, figure.name


@pytest.mark.skipif(shutil.which("pdffonts") is None, reason="pdffonts of poppler-utils is not installed")
def test_fonts_are_embedded_and_none_is_type_3(written: Path) -> None:
    for path in sorted((written / "out").glob("*.pdf")):
        listed = subprocess.run(
            ["pdffonts", str(path)], capture_output=True, text=True, check=True
        ).stdout.splitlines()[2:]
        assert listed, path.name
        for line in listed:
            assert "Type 3" not in line
            assert re.search(r"\s(yes|no)\s+(yes|no)\s+(yes|no)\s", line)[1] == "yes"  # type: ignore[index]


def test_an_unknown_format_is_refused_before_anything_is_written(written: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such format: gif; there are pdf, svg, png"):
        write_figures(load_tables(written / "tables"), tmp_path / "out", ("svg", "gif"))
    assert not (tmp_path / "out").exists()
