"""The page's text: self-contained, escaped, honest about what is missing or mixed."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from isosweep.report import Tables, TablesError, described_figures, figures, load_tables, page, text_summary
from isosweep.report.described import Described

from . import odd
from .odd import ODD
from .synthetic import SWEEP_FILE


def _without_scripts(text: str) -> str:
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_asks_for_nothing(quickstart_page: str) -> None:
    body = _without_scripts(quickstart_page)
    assert not re.search(r"""(src|href|action|poster)\s*=\s*["']?(https?:)?//""", body)
    assert "@import" not in body
    assert "url(" not in body
    assert not re.search(r"<script[^>]+src=", quickstart_page)
    assert len(quickstart_page.encode()) < 2_500_000


def test_the_page_tells_what_was_run(quickstart_page: str) -> None:
    body = html.unescape(_without_scripts(quickstart_page))
    assert "172 of 180 planned runs done; 5 failed, 1 missing, 1 oom and 1 timeout." in body
    assert "ValueError: the variance left float64 in layer 41" in body
    assert SWEEP_FILE.strip() in body
    assert "isosweep report sweeps/quickstart.yaml --out quickstart.html" in body
    assert "All runs here are of one class." in body


def test_every_figure_has_caption_alternative_and_numbers(quickstart_figures: dict[str, Described]) -> None:
    for name, figure in quickstart_figures.items():
        assert figure.caption.endswith("."), name
        assert len(figure.caption) > 80, name
        assert figure.alternative.endswith("."), name
        assert len(figure.data), name


def test_a_notebook_gets_the_same_charts(quickstart: Tables, quickstart_figures: dict[str, Described]) -> None:
    charts = figures(quickstart)
    assert list(charts) == list(quickstart_figures)
    for name, chart in charts.items():
        spec = chart.to_dict()
        assert spec["description"], name
        assert spec["config"]["font"].startswith("DejaVu Sans"), name


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_odd_tables_make_a_page_and_a_summary(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables = load_tables(make(tmp_path))
        text = page(tables)
        summary = text_summary(tables)
    assert text.endswith("</html>")
    assert "NaN" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "\x1b" not in summary


def test_empty_tables_say_so(tmp_path: Path) -> None:
    text = page(load_tables(odd.empty(tmp_path)))
    assert "These tables hold no runs." in text
    assert "There is nothing to draw" in text


def test_all_failed_says_so_and_names_the_cause(tmp_path: Path) -> None:
    tables = load_tables(odd.all_failed(tmp_path))
    assert "No run has a record yet" in page(tables)
    assert "[bold]bad[/bold]" in text_summary(tables)


def test_markup_is_escaped_everywhere(tmp_path: Path) -> None:
    text = page(load_tables(odd.markup(tmp_path)))
    assert "<b>name" not in text
    assert "<script>alert" not in text
    assert text.count("</script>") == 4
    assert html.escape("<b>name</b>") in text


def test_mixed_environments_are_warned_of(tmp_path: Path) -> None:
    tables = load_tables(odd.mixed(tmp_path))
    warning = "2 environment classes are mixed (6 runs in aaaa and 6 runs in bbbb)"
    text = page(tables)
    assert warning in text
    assert "2 versions of the code (c1 and c2)" in text
    assert warning in " ".join(text_summary(tables, width=400).split())


def test_axes_zipped_together_make_one_row_not_panels(tmp_path: Path) -> None:
    figure = described_figures(load_tables(odd.zipped(tmp_path)))["fisher_lambda_max"]
    assert figure.data["panel"].nunique() == 1
    assert sorted(set(figure.data["depth"])) == ["16", "4", "64"]


def test_a_users_own_axes_are_used(tmp_path: Path) -> None:
    data = described_figures(load_tables(odd.no_gain(tmp_path)))["fisher_lambda_max"].data
    assert {"blocks", "step size"} <= set(data.columns)
    assert set(data["panel"]) == {"kind = a", "kind = b"}


def test_folders_without_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TablesError, match=r"no runs\.parquet in .*isosweep collect"):
        load_tables(tmp_path)
    (tmp_path / "runs.parquet").write_bytes(b"not a table")
    with pytest.raises(TablesError, match="not a readable Parquet file"):
        load_tables(tmp_path)


def test_the_order_of_rows_does_not_matter(quickstart_folder: Path, quickstart_page: str, tmp_path: Path) -> None:
    for path in sorted(quickstart_folder.iterdir()):
        if path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
            if path.stem == "runs":
                table = table.take(pa.array(list(reversed(range(len(table))))))
            pyarrow.parquet.write_table(table, tmp_path / path.name)
        else:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert page(load_tables(tmp_path)) == quickstart_page


_PROGRAM = """
import hashlib, sys
from pathlib import Path
from isosweep.report import load_tables, page, write_figures
folder, out = map(Path, sys.argv[1:])
print(hashlib.sha256(page(load_tables(folder)).encode()).hexdigest())
for path in sorted(write_figures(load_tables(folder), out, ("svg", "png"))):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.mark.whole
def test_the_same_bytes_under_any_hash_seed(tmp_path: Path) -> None:
    tables = odd.one_run(tmp_path / "tables")
    # Side by side: most of the time goes into starting vl-convert.
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(tables), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "4711")
    ]
    said = [program.communicate(timeout=300)[0] for program in programs]
    assert [program.returncode for program in programs] == [0, 0]
    assert said[0] == said[1]
    assert said[0].count("\n") > 20


def test_importing_the_report_costs_neither_pandas_nor_altair() -> None:
    program = (
        "import sys, isosweep.report; print([m for m in ('pandas', 'altair', 'pyarrow', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_terminal_gets_medians_and_counts(quickstart: Tables) -> None:
    text = text_summary(quickstart, width=140)
    assert max(map(len, text.splitlines())) <= 140
    line = next(line for line in text.splitlines() if "tanh, gaussian" in line and " 64 " in line)
    runs = quickstart.runs
    here = runs[
        (runs["activation"] == "tanh") & (runs["init"] == "gaussian") & (runs["depth"] == 64) & (runs["gain"] == 1.0)
    ]
    assert f"{here['fisher_lambda_max'].median():.4g}" in line
    assert "no value [0/3]" in text
    assert isinstance(here, pd.DataFrame)
