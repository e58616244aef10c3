"""Figures as files: sizes of a paper, fonts inside, the numbers beside (PNG: with the bytes, in test_page)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from isosweep.report import described_figures, load_tables, write_figures

from .synthetic import write_tables


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
