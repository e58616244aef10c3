"""Where the critical line crosses a panel: the gain at which χ = 1, for the panel's activation and its biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from isosweep.report.axes import plain
from isosweep.report.described import join_words

__all__ = ["CriticalGain", "critical_gain", "critical_gains", "critical_sentence"]


@dataclass(frozen=True)
class CriticalGain:
    """σ_w at which χ = 1, or None and the reason."""

    gain: float | None
    reason: str = ""


def critical_gain(activation: str, bias_std: float, negative_slope: float | None = None) -> CriticalGain:
    """The critical gain of an activation with biases of this standard deviation."""
    from isosweep.theory.activations import activation as known
    from isosweep.theory.critical_line import NoCriticalPoint, critical_at_bias

    try:
        return CriticalGain(critical_at_bias(known(activation, negative_slope), bias_std).sigma_w)
    except NoCriticalPoint as error:
        return CriticalGain(None, str(error))
    except (ValueError, KeyError) as error:
        return CriticalGain(None, f"{activation} is not an activation that the theory knows ({error})")


def critical_gains(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], CriticalGain]:
    """The critical gain of every group of runs (`keys` name columns); of groups that mix activations or biases, none."""
    result: dict[tuple[str, ...], CriticalGain] = {}
    columns = [name for name in ("activation", "bias_std", "negative_slope") if name in runs]
    for key, group in runs.groupby(list(keys), sort=True, dropna=False):
        key = tuple(str(part) for part in (key if isinstance(key, tuple) else (key,)))
        settings = group[columns].drop_duplicates()
        row = {name: plain(value) for name, value in settings.iloc[0].items()}
        if len(settings) > 1:
            result[key] = CriticalGain(None, "the activation or the biases vary within it")
        elif row.get("activation") is None or row.get("bias_std") is None:
            result[key] = CriticalGain(None, "its activation or its biases are not in the table")
        else:
            slope = row.get("negative_slope")
            result[key] = critical_gain(str(row["activation"]), float(row["bias_std"]), slope)
    return result


def critical_sentence(lines: dict[str, CriticalGain], inside: dict[str, bool]) -> str:
    """What the caption says of the critical line: where it lies, where it leaves the gains swept, where there is none."""
    at: dict[float, list[str]] = {}
    for name, line in lines.items():
        if line.gain is not None:
            at.setdefault(line.gain, []).append(name)
    sentences = []
    if at:
        places = [f"σ_w = {gain:.7g} ({join_words(names)})" for gain, names in sorted(at.items())]
        sentences.append(f"The dashed line is the critical line, where theory has χ = 1: {'; '.join(places)}.")
    outside = [name for name, line in lines.items() if line.gain is not None and not inside.get(name, True)]
    if outside:
        sentences.append(f"It lies outside the gains swept, and is not drawn, for {join_words(outside)}.")
    for name, line in lines.items():
        if line.gain is None:
            sentences.append(f"No critical line for {name}: {line.reason}.")
    return " ".join(sentences)
