"""Tables and pages that the tests of the report share, and a browser that has no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isosweep.report import Tables, described_figures, load_tables, page
from isosweep.report.described import Described

from .synthetic import FAILURES, write_tables

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def quickstart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tables(tmp_path_factory.mktemp("quickstart"), statuses=FAILURES)


@pytest.fixture(scope="session")
def quickstart(quickstart_folder: Path) -> Tables:
    return load_tables(quickstart_folder)


@pytest.fixture(scope="session")
def quickstart_page(quickstart: Tables) -> str:
    return page(quickstart)


@pytest.fixture(scope="session")
def quickstart_figures(quickstart: Tables) -> dict[str, Described]:
    return described_figures(quickstart)


def _unavailable() -> str | None:
    try:
        import axe_playwright_python
        import playwright  # noqa: F401

        assert axe_playwright_python
    except ImportError as error:
        return f"the package {error.name} is not installed"
    return None if CHROMIUM.exists() else f"there is no {CHROMIUM}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, headless; skipped with the reason where it is missing, unless ISOSWEEP_REQUIRE_BROWSER=1."""
    if reason := _unavailable():
        if os.environ.get("ISOSWEEP_REQUIRE_BROWSER") == "1":
            pytest.fail(f"a browser is required, but {reason}")
        pytest.skip(f"no browser: {reason}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(_FLAGS), timeout=180_000)
        yield opened
        opened.close()
