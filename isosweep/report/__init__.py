"""The report: tables in, one self-contained page, figures for a paper and a summary for the terminal out; of two sweeps
what changed between them.

Everything is imported when it is first asked for, so that `import isosweep.report` costs neither pandas nor altair.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isosweep.report.comparison import compare
    from isosweep.report.every_figure import described_figures, figures
    from isosweep.report.figure_files import write_described, write_figures
    from isosweep.report.html_page import page
    from isosweep.report.in_terminal import text_summary
    from isosweep.report.reading import Tables, TablesError, load_tables
    from isosweep.report.two_sweeps import comparison_figures, comparison_page, comparison_text

__all__ = [
    "Tables",
    "TablesError",
    "compare",
    "comparison_figures",
    "comparison_page",
    "comparison_text",
    "described_figures",
    "figures",
    "load_tables",
    "page",
    "text_summary",
    "write_described",
    "write_figures",
]

_HOME = {
    "Tables": "reading",
    "TablesError": "reading",
    "compare": "comparison",
    "comparison_figures": "two_sweeps",
    "comparison_page": "two_sweeps",
    "comparison_text": "two_sweeps",
    "load_tables": "reading",
    "described_figures": "every_figure",
    "figures": "every_figure",
    "page": "html_page",
    "text_summary": "in_terminal",
    "write_described": "figure_files",
    "write_figures": "figure_files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
