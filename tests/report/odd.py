"""Tables that a report must survive: each writes a folder and returns it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from .synthetic import write_tables

SMALL = {"depth": [4, 16], "activation": ["tanh"], "init": ["orthogonal"], "gain": [0.9, 1.0, 1.1], "seed": [0, 1]}
MARKUP = "</script><script>alert('x')</script> & \"quoted\" <b>name</b>"


def empty(folder: Path) -> Path:
    return write_tables(folder, {"depth": [], "activation": ["tanh"], "gain": [1.0], "seed": [0]})


def only_ids(folder: Path) -> Path:
    return write_tables(folder, SMALL, edit=lambda runs: runs[["run_id", "status"]], with_sweep=False)


def one_run(folder: Path) -> Path:
    return write_tables(folder, {"depth": [4], "gain": [1.0], "seed": [0]})


def all_failed(folder: Path) -> Path:
    return write_tables(folder, SMALL, statuses=dict.fromkeys(range(12), ("failed", "ValueError: [bold]bad[/bold]")))


def all_missing(folder: Path) -> Path:
    return write_tables(folder, SMALL, statuses=dict.fromkeys(range(12), ("missing", "")))


def one_depth(folder: Path) -> Path:
    return write_tables(folder, {**SMALL, "depth": [16]})


def one_gain(folder: Path) -> Path:
    return write_tables(folder, {**SMALL, "gain": [1.0]})


def one_seed(folder: Path) -> Path:
    return write_tables(folder, {**SMALL, "seed": [7]})


def not_finite(folder: Path) -> Path:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        runs.loc[0:1, ["fisher_lambda_max", "jacobian_s_max"]] = math.nan
        runs.loc[0:1, ["jacobian_log_s_max"]] = math.nan
        runs.loc[2:3, ["fisher_lambda_max", "fisher_condition_number", "jacobian_s_max"]] = math.inf
        runs.loc[4:5, ["fisher_lambda_max", "fisher_trace"]] = 0.0
        runs.loc[6, ["fisher_lambda_max"]] = -1e-18
        runs.loc[0:1, "status"] = "diverged"
        return runs

    return write_tables(folder, SMALL, edit=edit)


def nothing_finite(folder: Path) -> Path:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        measures = [
            n
            for n in runs.columns
            if n.startswith(("fisher_lambda", "fisher_tr", "fisher_cond", "jacobian_s", "jacobian_l"))
        ]
        runs[measures] = np.nan
        return runs

    return write_tables(folder, SMALL, edit=edit)


def markup(folder: Path) -> Path:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(failure_cause=runs["failure_cause"].where(runs["status"] == "done", MARKUP))

    axes = {**SMALL, "activation": ["tanh", MARKUP], "init": ['it\'s \\ "odd"']}
    return write_tables(folder, axes, name=MARKUP, statuses={3: ("failed", "x")}, edit=edit)


def no_gain(folder: Path) -> Path:
    """A user's own network: its arguments are the axes."""
    empty_settings = dict.fromkeys(("depth", "width", "activation", "init", "gain", "bias_std"))
    axes = {"blocks": [1, 2, 3], "step size": [0.1, 0.5], "kind": ["a", "b"], "seed": [0, 1]}
    return write_tables(folder, axes, fixed=empty_settings)


def critical_rule(folder: Path) -> Path:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(gain=1 + runs["q_star"], bias_std=runs["q_star"] / 10, gain_rule="critical")

    return write_tables(folder, {"depth": [4, 16], "q_star": [1e-4, 1e-2, 0.5], "seed": [0, 1]}, edit=edit)


def biases_up(folder: Path) -> Path:
    return write_tables(folder, {"bias_std": [0.0, 0.05, 0.2], "gain": [0.9, 1.0, 1.1, 1.2], "seed": [0, 1]})


def zipped(folder: Path) -> Path:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(width=runs["depth"] * 4)

    return write_tables(folder, {"depth": [4, 16, 64], "gain": [0.9, 1.1], "seed": [0, 1]}, edit=edit, with_sweep=False)


def only_runs(folder: Path) -> Path:
    write_tables(folder, SMALL, with_sweep=False)
    for table in ("fisher", "jacobian", "layers"):
        (folder / f"{table}.parquet").unlink()
    return folder


def mixed(folder: Path) -> Path:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        half = np.arange(len(runs)) % 2 == 0
        runs["environment_class"] = np.where(half, "aaaa", "bbbb")
        runs["code_id"] = np.where(half, "c1", "c2")
        runs["gpu_model"] = np.where(half, "NVIDIA H100", None)
        return runs

    return write_tables(folder, SMALL, edit=edit)


ODD: tuple[Callable[[Path], Path], ...] = (
    *(empty, only_ids, one_run, all_failed, all_missing, one_depth, one_gain, one_seed, not_finite, nothing_finite),
    *(markup, no_gain, critical_rule, biases_up, zipped, only_runs, mixed),
)
