"""How the cost of a full Fisher spectrum grows with depth, width, samples and classes, beside the operation count.

    python benchmarks/curvature_scaling.py --out scaling.csv
    python benchmarks/curvature_scaling.py --quick

One quantity at a time is doubled from a base size; the slope of ln(core-seconds) over ln(size) is fitted, and so is
that of the minimal operations. `--plot FILE.svg` draws both.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
from curvature_networks import chaotic_tanh, gaussian_inputs

from isosweep.curvature import fisher

BASE = {"depth": 32, "width": 256, "samples": 100, "classes": 8}
SIZES = {
    "depth": [16, 32, 64, 128],
    "width": [128, 256, 512, 1024],
    "samples": [50, 100, 200, 400],
    "classes": [4, 8, 16, 32],
}
QUICK = {"depth": [4, 8, 16], "width": [64, 128], "samples": [25, 50], "classes": [4, 8]}


def operations(depth: int, width: int, samples: int, classes: int) -> float:
    rows = samples * (classes - 1)
    return (depth + 1) * rows**2 * width + 2 * depth * rows * width**2 + 4 * rows**3 / 3


def core_seconds(depth: int, width: int, samples: int, classes: int) -> float:
    network, inputs = chaotic_tanh(depth, width, classes), gaussian_inputs(samples, width)
    best = math.inf
    for _ in range(2):
        start = time.process_time()
        fisher(network, inputs)
        best = min(best, time.process_time() - start)
    return best


def slope(sizes: list[int], values: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="the measured points as CSV")
    parser.add_argument("--plot", type=Path, help="a figure, by its suffix: svg, png or pdf")
    options = parser.parse_args()
    points: list[dict] = []
    print("| grows with | exponent measured | exponent of the operations | GFLOP/s at each size |")
    print("|---|---|---|---|")
    for name, sizes in (QUICK if options.quick else SIZES).items():
        settings = [{**BASE, name: size} for size in sizes]
        if options.quick:
            settings = [{**setting, "depth": min(setting["depth"], 16)} for setting in settings]
        seconds = [core_seconds(**setting) for setting in settings]
        counts = [operations(**setting) for setting in settings]
        rates = ", ".join(f"{count / second / 1e9:.0f}" for count, second in zip(counts, seconds, strict=True))
        print(f"| {name} | {slope(sizes, seconds):.2f} | {slope(sizes, counts):.2f} | {rates} |", flush=True)
        for size, second, count in zip(sizes, seconds, counts, strict=True):
            points.append({"grows with": name, "size": size, "core-seconds": second, "operations": count})
    if options.out:
        lines = [",".join(points[0])] + [",".join(str(value) for value in point.values()) for point in points]
        options.out.write_text("\n".join(lines) + "\n")
    if options.plot:
        draw(points, options.plot)


def draw(points: list[dict], path: Path) -> None:
    import altair as alt
    import pandas as pd

    frame = pd.DataFrame(points)
    scale = (frame["core-seconds"] / frame["operations"]).groupby(frame["grows with"]).transform("median")
    frame["by operations"] = frame["operations"] * scale
    panels = []
    for name, part in frame.groupby("grows with", sort=False):
        axis = alt.Axis(values=part["size"].tolist(), grid=False)
        size = alt.X("size:Q", title=str(name), axis=axis).scale(type="log", nice=False, padding=12)
        seconds = alt.Y("core-seconds:Q", title="core-seconds").scale(type="log", nice=False, padding=12)
        counted = alt.Y("by operations:Q", title="core-seconds").scale(type="log", nice=False, padding=12)
        base = alt.Chart(part)
        measured = base.mark_point(filled=True, size=50).encode(x=size, y=seconds)
        panels.append(
            (base.mark_line(color="#999").encode(x=size, y=counted) + measured).properties(width=220, height=170)
        )
    rows = alt.vconcat(panels[0] | panels[1], panels[2] | panels[3])
    title = alt.TitleParams("Full Fisher spectrum: measured (points), operation count (lines)", anchor="middle")
    rows.properties(title=title).save(str(path))


if __name__ == "__main__":
    main()
