"""The page in Chromium, from disk and without a network."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isosweep.report import compare, comparison_page, load_tables, page

from . import odd
from .synthetic import write_tables, write_trained

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
CORNER = {"x": 4, "y": 4}  # of a cell, beside the number written in it
DRAWN = (odd.empty, odd.all_failed, odd.one_run, odd.not_finite, odd.markup, odd.no_gain, odd.critical_rule)


@pytest.fixture
def shown(browser: Any) -> Iterator[Open]:
    """Opens a page from file:// with the network off; at the end nothing may have been said or asked for."""
    contexts, said = [], []

    def show(text: str, folder: Path, width: int = 1280) -> Any:
        path = folder / "page.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        contexts.append(context)
        context.set_default_timeout(120_000)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on(
            "request",
            lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
        )
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready=yes]")
        # the figures of the first network are still being drawn
        tab.evaluate("Promise.all(Object.values(window.isosweep.views).map(view => view.runAsync())).then(() => true)")
        return tab

    yield show
    for context in contexts:
        context.close()
    assert said == []


QUANTITIES = [
    {"quantity": name, "numbers": 9, "largest_relative": 1e-12, "used": used, "judged": True, "where": name}
    for name, used in (("layer q", 0.02), ("fisher eigenvalues", 0.4), ("jacobian singular_values", 3.0))
]


@pytest.fixture(scope="module")
def trained_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sweep that trained and was verified."""
    axes = {"manifold": ["euclidean", "stiefel"], "gain": [1.0, 1.5], "seed": [0, 1, 2]}
    folder = write_trained(tmp_path_factory.mktemp("trained"), axes, statuses={2: ("diverged", "")})
    ids = list(load_tables(folder).runs["run_id"])
    spread = {"quantity": "test_loss", "recorded": 0.3, "mean": 0.28, "standardised": 1.8, "limit": 5.4}
    found = [
        {"kind": "repeat", "runs": [{"run_id": ids[0], "verdict": "same"}], "counts": {"same": 1}},
        {
            "kind": "across", "variants": ["cpu", "cuda"], "quantities": QUANTITIES, "counts": {"beyond": 1},
            "runs": [{"run_id": ids[1], "verdict": "beyond", "explanation": "three times its tolerance"}],
        },
        {
            "kind": "orders", "counts": {"comparable": 1},
            "runs": [{"run_id": ids[1], "verdict": "comparable", "spreads": [spread]}],
        },
    ]  # fmt: skip
    (folder / "verifications.json").write_text(json.dumps({"verifications": found}))
    return page(load_tables(folder))


@pytest.fixture(scope="module")
def compared_page(quickstart: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The quickstart beside a sweep of other depths."""
    axes = {"depth": [16, 64, 128], "activation": ["tanh"], "init": ["gaussian"], "gain": [0.8, 1.2], "seed": [0, 1]}
    other = write_tables(tmp_path_factory.mktemp("other"), axes, statuses={3: ("oom", "4 GB asked for")})
    return comparison_page(compare(quickstart, load_tables(other)))


@pytest.mark.whole
@pytest.mark.parametrize("made", ["trained_page", "compared_page"])
@pytest.mark.parametrize("width", [375, pytest.param(1280, marks=pytest.mark.slow)])
def test_pages_of_training_and_of_two_sweeps(
    shown: Open, tmp_path: Path, request: pytest.FixtureRequest, made: str, width: int
) -> None:
    """Every figure has marks, nothing is wider than the screen, and axe finds nothing."""
    tab = shown(request.getfixturevalue(made), tmp_path, width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    names = _names(tab)
    expected = {"trained_page": {"training_loss", "edge_of_stability", "manifolds", "smoothness", "tolerances"}}
    assert expected.get(made, {"fisher_lambda_max_ratio", "jacobian_s_max_both"}) <= set(names)
    for name in names:
        marks = tab.locator(f"#drawing-{name} svg .role-mark path, #drawing-{name} svg .role-mark text").count()
        assert marks > 0, name
        assert tab.locator(f"#drawing-{name}").evaluate("e => e.scrollWidth <= e.clientWidth + 1"), name
    assert _violations(tab) == []


def _violations(tab: Any) -> list[tuple[str, str]]:
    """What axe finds: the rule and the first place. What passes, ninety thousand times, is neither named nor sent."""
    import axe_playwright_python

    tab.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    asked = "axe.run(document, {resultTypes: ['violations'], selectors: false}).then(found => found.violations)"
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in tab.evaluate(asked)]


def _names(tab: Any) -> list[str]:
    return tab.eval_on_selector_all("figure[data-figure]", "all => all.map(f => f.dataset.figure)")


@pytest.mark.parametrize("width", [375, *(pytest.param(width, marks=pytest.mark.whole) for width in (768, 1600))])
def test_every_figure_has_marks_and_fits_the_screen(
    shown: Open, quickstart_page: str, tmp_path: Path, width: int
) -> None:
    tab = shown(quickstart_page, tmp_path, width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for name in _names(tab):
        marks = tab.locator(f"#drawing-{name} svg .role-mark path, #drawing-{name} svg .role-mark text").count()
        assert marks > 0, name
        assert tab.locator(f"#drawing-{name}").evaluate("e => e.scrollWidth <= e.clientWidth + 1"), name


@pytest.mark.whole
def test_a_click_on_a_cell_changes_the_spectra_everywhere(shown: Open, quickstart_page: str, tmp_path: Path) -> None:
    tab = shown(quickstart_page, tmp_path)
    data = "isosweep.views.chosen_network.data('network_fisher')"
    before = tab.evaluate(f"JSON.stringify({data}.map(d => [d.seed, d.x, d.y]))")
    chosen = tab.eval_on_selector("#network", "e => e.value")
    cell = tab.locator("#drawing-jacobian_s_max svg .mark-rect path[aria-label*='tanh, gaussian, 4, 0.8']").first
    cell.click(position=CORNER)
    tab.wait_for_function(f"JSON.stringify({data}.map(d => [d.seed, d.x, d.y])) !== {before!r}")
    assert tab.eval_on_selector("#network", "e => e.value") != chosen
    assert "tanh, gaussian, depth 4, gain 0.8: 3 seeds" in tab.inner_text("#chosen")
    # The other heat maps mark the same cell.
    signal = tab.evaluate("isosweep.views.fisher_lambda_max.signal('cell')")
    assert signal == tab.eval_on_selector("#network", "e => e.value")


def test_the_keyboard_alone_chooses_a_network(shown: Open, quickstart_page: str, tmp_path: Path) -> None:
    tab = shown(quickstart_page, tmp_path)
    before = tab.inner_text("#chosen")
    tab.focus("#network")
    tab.keyboard.press("ArrowDown")
    tab.wait_for_function(f"document.getElementById('chosen').innerText !== {before!r}")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "drawing-chosen_network"


@pytest.mark.whole
def test_hovering_shows_seeds_and_spread(shown: Open, quickstart_page: str, tmp_path: Path) -> None:
    tab = shown(quickstart_page, tmp_path)
    tab.locator("#drawing-fisher_lambda_max svg .mark-rect path[aria-label*='relu, gaussian, 4, 0.8']").first.hover(
        position=CORNER
    )
    tab.wait_for_selector("#vg-tooltip-element.visible")
    told = tab.inner_text("#vg-tooltip-element")
    assert "n = 3 of 3 seeds" in told
    assert "seed 0:" in told
    assert " to " in told


@pytest.mark.whole
@pytest.mark.parametrize("width", [375, pytest.param(1280, marks=pytest.mark.slow)])
def test_accessibility(shown: Open, quickstart_page: str, tmp_path: Path, width: int) -> None:
    tab = shown(quickstart_page, tmp_path, width)
    assert _violations(tab) == []


@pytest.mark.whole
def test_the_spectra_drawn_are_the_tables(shown: Open, quickstart: Any, quickstart_page: str, tmp_path: Path) -> None:
    tab = shown(quickstart_page, tmp_path)
    label = "tanh, orthogonal, depth 16, gain 1.2"
    tab.select_option("#network", label=label)
    tab.wait_for_function(f"document.getElementById('chosen').innerText.includes({label!r})")
    runs = quickstart.runs
    here = (
        (runs["activation"] == "tanh") & (runs["init"] == "orthogonal") & (runs["depth"] == 16) & (runs["gain"] == 1.2)
    )
    drawn = tab.evaluate("isosweep.views.chosen_network.data('network_fisher').map(d => [d.seed, d.x, d.y])")
    for seed, value in zip(runs[here]["seed"], runs[here]["fisher_lambda_max"], strict=True):
        first = next(y for s, x, y in drawn if s == str(seed) and x == 1)
        assert first == pytest.approx(math.log10(value), abs=5e-5)


@pytest.mark.whole
def test_saving_gives_an_image(shown: Open, quickstart_page: str, tmp_path: Path) -> None:
    tab = shown(quickstart_page, tmp_path)
    with tab.expect_download() as download:
        tab.click("button[data-save=svg][data-of=fisher_lambda_max]")
    assert download.value.suggested_filename == "fisher_lambda_max.svg"
    assert "<svg" in Path(download.value.path()).read_text(encoding="utf-8")


@pytest.mark.whole
def test_printing_hides_the_controls(shown: Open, quickstart_page: str, tmp_path: Path) -> None:
    tab = shown(quickstart_page, tmp_path)
    tab.emulate_media(media="print")
    assert not tab.locator("#network").is_visible()
    assert not tab.locator("nav").is_visible()
    assert tab.locator("#drawing-fisher_lambda_max svg").is_visible()


@pytest.mark.whole
@pytest.mark.parametrize("make", DRAWN, ids=lambda made: made.__name__)
def test_odd_tables_draw_or_say_why_not(shown: Open, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    tab = shown(page(load_tables(make(tmp_path / "tables"))), tmp_path)
    for name in _names(tab):
        assert tab.locator(f"#drawing-{name} svg .role-mark path, #drawing-{name} svg .role-mark text").count() > 0, (
            name
        )
    assert "could not be drawn" not in tab.inner_text("body")
    assert tab.locator("script").count() == 4
