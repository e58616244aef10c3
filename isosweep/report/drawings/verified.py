"""What verifications found: errors against their tolerances, and the spread over other orders of the data."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import INK, SERIES, SHAPES, power_of_ten
from isosweep.report.described import Described, inline, join_words, plural
from isosweep.report.reading import Tables
from isosweep.report.reproducibility import Verification, quantities_of, spreads_of

__all__ = ["data_orders", "tolerances"]

_FLOOR = -4.0  # log₁₀ of the share of a tolerance below which nothing is told apart
_MOST_SPREADS = 60


def tolerances(found: tuple[Verification, ...]) -> Described | None:
    """The share of its tolerance that each quantity uses, largest last; None without a comparison to tolerances."""
    frame = quantities_of(found)
    if not len(frame):
        return None
    with np.errstate(divide="ignore"):
        log10 = np.log10(frame["share of its tolerance"].to_numpy(dtype=float))
    frame["log10"] = np.where(np.isposinf(log10), -_FLOOR, np.clip(log10, _FLOOR, None))
    frame = frame[np.isfinite(frame["log10"])]
    judged = frame[frame["judged"]]
    if not len(judged):
        return None
    order = list(judged.groupby("quantity")["log10"].max().sort_values(kind="stable").index)
    names = [str(name) for name in dict.fromkeys(judged["verification"])]
    points = (
        alt.Chart(inline(judged, "tolerances"))
        .mark_point(size=46, strokeWidth=1.5)
        .encode(
            x=alt.X(
                "log10:Q",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(title="largest error / its tolerance", labelExpr=power_of_ten(), tickCount=6),
            ),
            y=alt.Y("quantity:N", sort=order, axis=alt.Axis(title=None, labelLimit=220)),
            color=alt.Color(
                "verification:N",
                scale=alt.Scale(domain=names, range=[SERIES[i % len(SERIES)] for i in range(len(names))]),
                legend=alt.Legend(title=None, orient="bottom", columns=1, labelLimit=320),
            ),
            shape=alt.Shape(
                "verification:N",
                scale=alt.Scale(domain=names, range=[SHAPES[i % len(SHAPES)] for i in range(len(names))]),
                legend=alt.Legend(title=None, orient="bottom", columns=1, labelLimit=320),
            ),
            tooltip=[
                alt.Tooltip("quantity:N"),
                alt.Tooltip("verification:N"),
                alt.Tooltip("share of its tolerance:Q", format=".3g"),
                alt.Tooltip("largest relative error:Q", format=".3g"),
                alt.Tooltip("where:N"),
                alt.Tooltip("numbers:Q", title="numbers compared"),
            ],
        )
    )
    edge = (
        alt.Chart(inline([{"edge": 0.0}], "tolerance_edge"))
        .mark_rule(color=INK, strokeDash=[5, 3], aria=False)
        .encode(x=alt.X("edge:Q", axis=alt.Axis(title="largest error / its tolerance")))
    )
    beyond = judged[judged["log10"] > 0]
    outcome = (
        f"{join_words(sorted(set(beyond['quantity'])))} {'is' if len(beyond) == 1 else 'are'} beyond it"
        if len(beyond)
        else "none is beyond it"
    )
    others = sorted(set(frame["quantity"]) - set(judged["quantity"]))
    unjudged = f" Not judged, and in the numbers alone: {join_words(others)}." if others else ""
    return Described(
        name="tolerances",
        title="Errors against their tolerances",
        chart=alt.layer(edge, points).properties(width=300, height=alt.Step(20)),
        caption=(
            "Of every quantity the largest error over all runs and numbers that were compared, as a share of the "
            "tolerance that its condition and the unit roundoff give it, on a logarithmic axis; right of the dashed "
            f"line rounding does not explain the error. Of {plural(len(judged), 'quantity', 'quantities')} judged, "
            f"{outcome}; the largest relative error is {judged['largest relative error'].max():.2g}. "
            f"Shares below 1e{_FLOOR:.0f} stand there.{unjudged}"
        ),
        alternative=(
            f"Errors of {plural(len(order), 'quantity', 'quantities')} as shares of their tolerances; {outcome}."
        ),
        data=frame.drop(columns=["log10"]).reset_index(drop=True),
        section="reproducibility",
        panel_width=300,
        gutter=230,
    )


def data_orders(tables: Tables, found: tuple[Verification, ...]) -> Described | None:
    """Recorded losses and accuracies within the spread over other orders; None where no order was tried."""
    frame = spreads_of(tables, found)
    if not len(frame):
        return None
    frame = frame[frame["quantity"].str.endswith(("_loss", "_accuracy")) & np.isfinite(frame["standardised"])]
    if not len(frame):
        return None
    total = frame["run"].nunique()
    drawn = frame[frame["run"].isin(sorted(set(frame["run"]))[:_MOST_SPREADS])]
    limit = float(frame["limit"].replace(np.inf, np.nan).max())
    points = (
        alt.Chart(inline(drawn, "data_orders"))
        .mark_point(size=36, strokeWidth=1.4, opacity=0.85)
        .encode(
            x=alt.X("standardised:Q", axis=alt.Axis(title="(recorded − mean) / spread of a further order")),
            y=alt.Y("quantity:N", axis=alt.Axis(title=None, labelLimit=220)),
            color=alt.Color(
                "comparable:N",
                scale=alt.Scale(domain=[True, False], range=[SERIES[0], SERIES[1]]),
                legend=alt.Legend(title="comparable", orient="bottom"),
            ),
            shape=alt.Shape(
                "comparable:N",
                scale=alt.Scale(domain=[True, False], range=["circle", "cross"]),
                legend=alt.Legend(title="comparable", orient="bottom"),
            ),
            tooltip=[
                alt.Tooltip("quantity:N"),
                alt.Tooltip("run:N"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("recorded:Q", format=".5g"),
                alt.Tooltip("mean:Q", title="mean over the orders", format=".5g"),
                alt.Tooltip("deviation:Q", title="standard deviation", format=".3g"),
                alt.Tooltip("smallest:Q", format=".5g"),
                alt.Tooltip("largest:Q", format=".5g"),
            ],
        )
    )
    layers: list[alt.Chart] = [points]
    if np.isfinite(limit):
        ends = pd.DataFrame({"end": [-limit, limit]})
        layers.insert(
            0,
            alt.Chart(inline(ends, "data_orders_limits"))
            .mark_rule(color=INK, strokeDash=[5, 3], aria=False)
            .encode(x="end:Q"),
        )
    apart = int((~frame["comparable"].astype(bool)).sum())
    caption = (
        f"Losses and accuracies at the end of training of {plural(total, 'run')}, each against its own mean over other "
        "orders of the data, in units of the standard deviation that one further order would have; between the dashed "
        f"lines (±{limit:.3g}, Student's t at a level of 0.1 % shared among a run's numbers) the record is one of many "
        f"alike. {apart:,} of {len(frame):,} numbers {'is' if apart == 1 else 'are'} apart."
    )
    if drawn["run"].nunique() < total:
        caption += f" {_MOST_SPREADS} runs are drawn, chosen by run id."
    return Described(
        name="data_orders",
        title="Other orders of the data",
        chart=alt.layer(*layers).properties(width=300, height=alt.Step(26)),
        caption=caption,
        alternative=(
            f"Recorded numbers within their spread over other orders of the data; {apart} of {len(frame)} apart."
        ),
        data=frame.reset_index(drop=True),
        section="reproducibility",
        panel_width=300,
        gutter=170,
    )
