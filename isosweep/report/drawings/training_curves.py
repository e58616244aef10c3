"""Quantities along training: the median over seeds with its range, a panel for each family of networks."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import INK, SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title
from isosweep.report.described import Described, inline, join_words, plural
from isosweep.report.statistics import fences
from isosweep.report.training import Curves, banded, worst_counts

__all__ = ["ALONG_TRAINING", "AlongTraining", "dash_legend", "line_legend", "training_curves"]


@dataclass(frozen=True)
class AlongTraining:
    """A figure of curves: its columns of `training` by what they are called, each with a dash of its own."""

    name: str
    title: str
    axis: str
    sentence: str
    columns: tuple[tuple[str, str], ...]
    logarithmic: bool = True


ALONG_TRAINING = (
    AlongTraining(
        "training_loss",
        "Loss",
        "mean loss of an example",
        "the mean loss of an example",
        (
            ("batch_loss", "training (mean over the epoch)"),
            ("train_loss", "training (whole split)"),
            ("validation_loss", "validation"),
            ("test_loss", "test"),
        ),
    ),
    AlongTraining(
        "training_accuracy",
        "Accuracy",
        "share of examples classified right",
        "the share of examples that are classified right",
        (
            ("batch_accuracy", "training (mean over the epoch)"),
            ("train_accuracy", "training (whole split)"),
            ("validation_accuracy", "validation"),
            ("test_accuracy", "test"),
        ),
        logarithmic=False,
    ),
    AlongTraining(
        "lambda_max_along_training",
        "Largest Fisher eigenvalue along training",
        "λ_max",
        "the largest eigenvalue of the Fisher information matrix, and of the loss's Hessian where it was measured",
        (("fisher_lambda_max", "Fisher information"), ("hessian_lambda_max", "Hessian of the loss")),
    ),
    AlongTraining(
        "condition_number_along_training",
        "Condition number along training",
        "κ(F)",
        "the condition number of the Fisher information matrix",
        (("fisher_condition_number", "Fisher information"),),
    ),
    AlongTraining(
        "s_max_along_training",
        "Largest singular value of the Jacobian along training",
        "s_max(J)",
        "the largest singular value of the Jacobian ∂x^L/∂x^0 over the sampled inputs",
        (("jacobian_s_max", "Jacobian"),),
    ),
    AlongTraining(
        "gradient_norm_along_training",
        "Gradient norm",
        "‖∇L‖",
        "the norm of the loss's gradient",
        (("gradient_norm", "on the measured inputs"), ("batch_gradient_norm", "minibatches (mean over the epoch)")),
    ),
    AlongTraining(
        "orthogonality_error_along_training",
        "Distance from the manifold",
        "largest error of a layer",
        "the largest orthogonality error of any layer, how far its weights are from their manifold",
        (("orthogonality_error", "largest of the layers"),),
    ),
    AlongTraining(
        "kernel_drift_along_training",
        "Drift of the tangent kernel",
        "‖K_t − K_0‖ / ‖K_0‖",
        "how far the tangent kernel has moved from its start",
        (("kernel_drift", "drift"),),
    ),
    AlongTraining(
        "kernel_alignment_along_training",
        "Alignment of the tangent kernel with the labels",
        "alignment",
        "the alignment of the tangent kernel with the labels",
        (("kernel_alignment", "alignment"),),
        logarithmic=False,
    ),
)


def training_curves(along: AlongTraining, curves: Curves | None) -> Described | None:
    """The figure of these columns; None where no run has them beyond its start."""
    if curves is None:
        return None
    present = {column: called for column, called in along.columns if curves.has(column)}
    if "batch_loss" in present and len(present) > 1:
        present.pop("train_loss", None)  # at the points of the spectra alone; the mean stands at every epoch
    if "batch_accuracy" in present and len(present) > 1:
        present.pop("train_accuracy", None)
    told = banded(curves, present)
    lost = 0
    if along.logarithmic:
        lost = int((told["least"] <= 0).sum())
        told = told[told["least"] > 0]
    if told["epoch"].nunique() < 2:
        return None
    frame = told.assign(
        **{
            name: np.log10(told[column]) if along.logarithmic else told[column]
            for name, column in (("middle", "median"), ("low", "least"), ("high", "most"))
        }
    )
    beyond = 0
    if along.logarithmic:
        bottom, top = fences(pd.concat([frame["low"], frame["high"]]), least=2.0)
        beyond = int(((frame["high"] > top) | (frame["low"] < bottom)).sum())
        frame[["middle", "low", "high"]] = frame[["middle", "low", "high"]].clip(bottom, top)
    seeds = [int(count) for count in curves.runs.groupby("cell").size()]
    sentences = [
        f"Lines are the median over the seeds of {along.sentence}, bands run from the least to the most of them "
        f"({worst_counts(told, seeds)}; a range, no confidence interval); {curves.facts}"
    ]
    if len(present) > 1:
        sentences.append(f"Dashes tell {join_words(list(present.values()))} apart.")
    if beyond:
        sentences.append(f"{plural(beyond, 'place is', 'places are')} so far off that the band is cut at the edge.")
    if lost:
        sentences.append(f"{plural(lost, 'place')} of 0 cannot stand on the logarithmic axis.")
    ends = frame[frame["epoch"] == frame["epoch"].max()]
    last = f"{ends['median'].min():.3g} to {ends['median'].max():.3g}"
    return Described(
        name=along.name,
        title=along.title,
        chart=_chart(frame, along, curves, list(present.values())),
        caption=" ".join(sentences),
        alternative=f"{along.title} against the epoch, {plural(len(curves.panels), 'panel')}; medians at the last "
        f"epoch from {last}.",
        data=told.drop(columns=["cell"]).rename(columns={"line": curves.across or "runs"}).reset_index(drop=True),
        section="training",
        panel_width=220,
        gutter=80,
    )


def line_legend(title: str | None) -> alt.Legend:
    """What tells lines apart by colour, below the panels and in full strength whatever is drawn faint."""
    return alt.Legend(
        title=title, orient="bottom", columns=6, symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2
    )


def dash_legend() -> alt.Legend:
    """What tells lines apart by their dashes."""
    return alt.Legend(title=None, orient="bottom", columns=2, symbolType="stroke", symbolStrokeColor=INK)


def _chart(frame: pd.DataFrame, along: AlongTraining, curves: Curves, called: list[str]) -> alt.FacetChart:
    title = axis_title(curves.across) if curves.across else None
    axis = alt.Axis(title=along.axis, tickCount=6)
    if along.logarithmic:
        axis.labelExpr = power_of_ten()
    y = alt.Y("middle:Q", scale=alt.Scale(zero=False), axis=axis)
    colour = alt.Color(
        "line:O",
        scale=alt.Scale(domain=list(curves.order), scheme=SEQUENTIAL),
        legend=line_legend(title) if curves.across else None,
    )
    x_axis = alt.Axis(title="epoch", format="~r", tickCount=6)
    base = alt.Chart().encode(
        x=alt.X("epoch:Q", scale=alt.Scale(nice=False, zero=False), axis=x_axis),
        color=colour,
        detail=["line:O", "what:N"],
    )
    band = base.mark_area(opacity=0.18, aria=False).encode(
        y=alt.Y("low:Q", scale=alt.Scale(zero=False), axis=axis), y2="high:Q"
    )
    dash = alt.StrokeDash(
        "what:N",
        scale=alt.Scale(domain=called, range=[[1, 0], [5, 3], [2, 2], [8, 3, 2, 3]][: len(called)]),
        legend=dash_legend() if len(called) > 1 else None,
    )
    line = base.mark_line(strokeWidth=1.5, aria=False).encode(y=y, strokeDash=dash)
    points = base.mark_point(size=12, filled=True).encode(
        y=y,
        tooltip=[
            alt.Tooltip("panel:N", title="network"),
            alt.Tooltip("line:N", title=title or "runs"),
            alt.Tooltip("what:N", title="what"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("median:Q", title="median over seeds", format=".5g"),
            alt.Tooltip("least:Q", title="least", format=".5g"),
            alt.Tooltip("most:Q", title="most", format=".5g"),
            alt.Tooltip("n:Q", title="seeds with a value"),
        ],
    )
    chart: alt.FacetChart = (
        alt.layer(band, line, points)
        .properties(width=220, height=180)
        .facet(
            facet=alt.Facet("panel:N", sort=list(curves.panels), header=alt.Header(title=None)),
            columns=min(2, len(curves.panels)),
            data=inline(frame, along.name),
        )
        .resolve_axis(x="independent", y="independent")
    )
    return chart
