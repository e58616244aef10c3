"""How figures look: colours that colour-blind readers and grey printers tell apart, fonts, axes of powers of ten."""

from __future__ import annotations

from typing import Any, Literal

__all__ = [
    "CONFIG",
    "FONT",
    "GREY",
    "INK",
    "PAPER_CONFIG",
    "SEQUENTIAL",
    "SERIES",
    "SHAPES",
    "STATUS_COLOURS",
    "power_of_ten",
    "with_stacked_legends",
]

# DejaVu Sans has every symbol the figures use (superscripts, χ, √); Verdana has its measures.
FONT = "DejaVu Sans, Verdana, sans-serif"
INK = "#1a1a1a"
GREY = "#595959"
SEQUENTIAL: Literal["viridis"] = (
    "viridis"  # even in lightness: it keeps its order in grey and for every kind of colour vision
)
# Okabe and Ito, "Color Universal Design" (2008); yellow left out, too pale for lines on white.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
# In the order they are stacked; light and dark alternate, so that neighbours differ in grey.
STATUS_COLOURS = {
    "done": "#0072b2",
    "diverged": "#e69f00",
    "failed": "#8b2500",
    "oom": "#cc79a7",
    "timeout": "#5e3c99",
    "preempted": "#f0b6a0",
    "node_failed": "#7a5c00",
    "lost": "#d9c04a",
    "cancelled": "#666666",
    "running": "#56b4e9",
    "pending": "#a6d9f5",
    "missing": "#d9d9d9",
}


def _config(size: int) -> dict[str, Any]:
    small = size - 1
    return {
        "font": FONT,
        "background": "white",
        "axis": {
            "labelFont": FONT,
            "titleFont": FONT,
            "labelFontSize": small,
            "titleFontSize": size,
            "titleFontWeight": "normal",
            "labelColor": INK,
            "titleColor": INK,
            "gridColor": "#e6e6e6",
            "domainColor": GREY,
            "tickColor": GREY,
        },
        "legend": {
            "labelFont": FONT,
            "titleFont": FONT,
            "labelFontSize": small,
            "titleFontSize": small,
            "titleFontWeight": "normal",
            "labelColor": INK,
            "titleColor": INK,
            "labelLimit": 260,
            "titleLimit": 320,
        },
        "header": {"labelFont": FONT, "labelFontSize": size, "labelColor": INK, "labelLimit": 230, "title": None},
        "title": {"font": FONT, "fontSize": size, "fontWeight": "normal", "color": INK, "anchor": "start"},
        "view": {"stroke": "#bfbfbf"},
    }


CONFIG = _config(12)
PAPER_CONFIG = _config(9)


def with_stacked_legends(config: dict[str, Any]) -> dict[str, Any]:
    """A config whose legends below a figure stand one under the other: side by side they would widen it.

    Vega knows this; Altair's schema does not, so that a notebook's charts do without.
    """
    layout = {"bottom": {"direction": "vertical", "anchor": "start", "margin": 4}}
    return config | {"legend": config["legend"] | {"layout": layout}}


_SUPERSCRIPTS = dict(zip("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻", strict=True))


def power_of_ten(value: str = "datum.value") -> str:
    """A Vega expression that labels an axis of log₁₀ values: plain numbers near 1, powers of ten far away.

    The axis carries logarithms because 10^−5000, which a deep network reaches, is no float64.
    """
    exponent = f"format({value}, '~r')"
    for plain, raised in _SUPERSCRIPTS.items():
        exponent = f"replace({exponent}, /{plain}/g, '{raised}')"
    # A value between two decades is written out: 10^0.5 as 3.2, 10^-12.5 as 3.2e-13.
    near = f"format(pow(10, {value}), '.2~r')"
    between = f"(abs({value}) < 300 ? format(pow(10, {value}), '.1e') : '')"
    far = f"(abs({value} - round({value})) < 1e-9 ? '10' + {exponent} : {between})"
    return f"abs({value}) <= 3.5 ? {near} : {far}"
