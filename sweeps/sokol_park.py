"""What a sweep of Sokol & Park's design says about the paper's claims: numbers as Markdown, and figures.

    isosweep collect sweeps/sokol-park-small.yaml --out tables
    python sweeps/sokol_park.py tables --out docs/reproduction

Works on the tables of the full design as on those of the small one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import FONT, SERIES

VARIANTS = ("euclidean", "stiefel", "oblique")
FIRST_EPOCHS = 5


def read(tables: Path) -> pd.DataFrame:
    """One row for every epoch of every run: the training curve, with the run's variant, q* and seed."""
    runs = pd.read_parquet(tables / "runs.parquet", columns=["run_id", "status", "data", "manifold", "q_star", "seed"])
    training = pd.read_parquet(tables / "training.parquet")
    joined = training.merge(runs[runs.status.isin(["done", "diverged"])], on="run_id")
    joined = joined[np.isclose(joined.epoch % 1, 0)]
    joined["log_lambda"] = np.log10(joined.fisher_lambda_max)
    joined["log_jacobian"] = 2 * np.log10(joined.jacobian_s_max)
    return joined.sort_values(["manifold", "q_star", "seed", "step"])


def table(frame: pd.DataFrame, form: str = "{:.3g}") -> str:
    """A Markdown table: rows by the index, the variants as columns in their order."""
    frame = frame[[v for v in VARIANTS if v in frame.columns]]
    lines = ["| q* | " + " | ".join(frame.columns) + " |", "|---|" + "---|" * len(frame.columns)]
    lines += [
        f"| {q:.3g} | " + " | ".join("—" if pd.isna(v) else form.format(v) for v in row) + " |"
        for q, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return "\n".join(lines)


def by_variant(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Means over the seeds, q* down and variants across."""
    return rows.groupby(["q_star", "manifold"])[column].mean().unstack()


def bootstrap(points: pd.DataFrame, draws: int = 2000) -> tuple[float, float, float]:
    """Pearson's correlation of log λ_max and log σ²_max, and its 95 % interval, whole runs drawn again."""
    dice = np.random.default_rng(0)
    groups = [group[["log_jacobian", "log_lambda"]].to_numpy() for _, group in points.groupby("run_id")]
    whole = np.concatenate(groups)
    drawn = [
        np.corrcoef(np.concatenate([groups[i] for i in dice.integers(len(groups), size=len(groups))]).T)[0, 1]
        for _ in range(draws)
    ]
    return float(np.corrcoef(whole.T)[0, 1]), *map(float, np.percentile(drawn, [2.5, 97.5]))


def claims(rows: pd.DataFrame) -> str:
    """Every claim's numbers."""
    points = rows.dropna(subset=["fisher_lambda_max", "jacobian_s_max"])
    start, end = points[points.epoch == 0], points[points.epoch == points.epoch.max()]
    parts = [f"{rows.run_id.nunique()} runs, {rows.seed.nunique()} networks of each kind."]
    parts.append("## 1. λ_max against σ²_max(J)")
    for name, chosen in (
        ("all points", points),
        ("initialisation", start),
        ("after training has begun", points[points.epoch > 0]),
        *((v, points[points.manifold == v]) for v in VARIANTS),
    ):
        both = chosen[["fisher_lambda_max"]].assign(square=chosen.jacobian_s_max**2)
        r, low, high = bootstrap(chosen)
        parts.append(
            f"- {name}: Pearson {both.corr().iloc[0, 1]:.2f} of the numbers, {r:.2f} of their logarithms "
            f"({low:.2f} to {high:.2f}), Spearman {both.corr('spearman').iloc[0, 1]:.2f} ({len(chosen)} points)"
        )
    parts += ["## 2. λ_max at initialisation", table(by_variant(start, "fisher_lambda_max"))]
    parts += ["λ_max at the end", table(by_variant(end, "fisher_lambda_max"))]
    for variant, group in end.groupby("manifold"):
        rank = group[["q_star", "fisher_lambda_max"]].corr("spearman").iloc[0, 1]
        parts.append(f"- {variant}: Spearman of λ_max at the end and q* {rank:.2f}")
    early = points[(points.epoch > 0) & (points.epoch <= FIRST_EPOCHS)].groupby("run_id").fisher_lambda_max.max()
    jump = start.set_index("run_id").assign(jump=early)
    jump["jump"] = jump.jump / jump.fisher_lambda_max
    parts += [
        f"## 3. The largest λ_max of the first {FIRST_EPOCHS} epochs over that at initialisation",
        table(by_variant(jump, "jump")),
    ]
    parts += ["## 4. and 5. The loss on the training split, at points"]
    for epoch in sorted(points.epoch.unique()):
        if epoch > 0:
            parts += [f"epoch {epoch:g}", table(by_variant(points[points.epoch == epoch], "train_loss"))]
    parts += ["Accuracy on the test split at the end", table(by_variant(end, "test_accuracy"))]
    for words, chosen in (("all q*", end), ("q* below 1", end[end.q_star < 1])):
        spread = by_variant(chosen, "train_loss")
        parts.append(
            f"Spread over {words} of the training loss at the end, largest over smallest: "
            + ", ".join(f"{v} {spread[v].max() / spread[v].min():.2f}" for v in VARIANTS if v in spread)
        )
    parts += [
        "## 6. Condition number of the Fisher at initialisation",
        table(by_variant(start, "fisher_condition_number")),
    ]
    parts += ["σ_max(J) at initialisation", table(by_variant(start, "jacobian_s_max"))]
    return "\n\n".join(parts) + "\n"


def figures(rows: pd.DataFrame, out: Path) -> None:
    """Three figures, as PNG."""
    rows = rows.assign(q=rows.q_star.map("{:.2g}".format), square=rows.jacobian_s_max**2)
    order = [f"{q:.2g}" for q in sorted(rows.q_star.unique())]
    points = rows.dropna(subset=["fisher_lambda_max"])
    colour = alt.Color("q:N", title="q*", sort=order, scale=alt.Scale(domain=order, range=list(SERIES[: len(order)])))
    variant = alt.Facet("manifold:N", title=None, sort=list(VARIANTS), columns=3)
    columns = ["epoch", "manifold", "q", "square", "fisher_lambda_max", "run_id", "train_loss", "test_accuracy"]
    relation = (
        alt.Chart(points[columns])
        .mark_point(filled=True, opacity=0.7)
        .encode(
            x=alt.X("square:Q", title="σ²_max(J), largest of 30 training inputs", scale=alt.Scale(type="log")),
            y=alt.Y("fisher_lambda_max:Q", title="λ_max of the Fisher, test inputs", scale=alt.Scale(type="log")),
            color=colour,
            shape=alt.Shape("manifold:N", title="variant", sort=list(VARIANTS)),
        )
        .properties(width=460, height=320)
    )
    along = (
        alt.Chart(points[columns])
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", title="epoch"),
            y=alt.Y("mean(fisher_lambda_max):Q", title="λ_max of the Fisher", scale=alt.Scale(type="log")),
            color=colour,
            facet=variant,
        )
        .properties(width=230, height=220)
    )
    loss = (
        alt.Chart(rows[rows.epoch > 0][["epoch", "manifold", "q", "batch_loss"]])
        .mark_line()
        .encode(
            x=alt.X("epoch:Q", title="epoch"),
            y=alt.Y("mean(batch_loss):Q", title="training loss, mean of the epoch", scale=alt.Scale(type="log")),
            color=colour,
            facet=variant,
        )
        .properties(width=230, height=220)
    )
    out.mkdir(parents=True, exist_ok=True)
    for name, chart in (("relation", relation), ("along-training", along), ("loss", loss)):
        chart.configure(font=FONT, background="white").save(out / f"{name}.png", ppi=90)


def main() -> None:
    """Read the tables, print the claims' numbers, draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, help="a folder that isosweep collect wrote")
    parser.add_argument("--out", type=Path, help="folder of the figures; none are drawn without")
    options = parser.parse_args()
    rows = read(options.tables)
    print(claims(rows), end="")
    if options.out is not None:
        figures(rows, options.out)


if __name__ == "__main__":
    main()
