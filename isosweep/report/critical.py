"""Where the critical line crosses a panel: the gain at which χ = 1, for the panel's activation and its biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from isosweep.report.axes import plain, short
from isosweep.report.described import join_words

__all__ = ["CriticalGain", "critical_gain", "critical_gains", "critical_sentence", "line_names"]


@dataclass(frozen=True)
class CriticalGain:
    """σ_w at which χ = 1, or None and the reason; `q_star` is the fixed point there, `stable` whether it attracts."""

    gain: float | None
    reason: str = ""
    q_star: float | None = None
    stable: bool = True


def critical_gain(activation: str, bias_std: float, negative_slope: float | None = None) -> CriticalGain:
    """The critical gain of an activation with biases of this standard deviation."""
    from isosweep.theory.activations import activation as known
    from isosweep.theory.critical_line import NoCriticalPoint, critical_at_bias

    try:
        point = critical_at_bias(known(activation, negative_slope), bias_std)
        return CriticalGain(point.sigma_w, "", point.q_star, point.stable)
    except NoCriticalPoint as error:
        return CriticalGain(None, str(error))
    except (ValueError, KeyError) as error:
        return CriticalGain(None, f"{activation} is not an activation that the theory knows ({error})")


_SIGNS = {"bias_std": "σ_b", "negative_slope": "negative slope"}


def _words(key: object) -> tuple[str, ...]:
    return tuple(str(part) for part in (key if isinstance(key, tuple) else (key,)))


def critical_gains(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], CriticalGain]:
    """The critical gain of every group of runs (`keys` name columns); none where activations or biases mix."""
    result: dict[tuple[str, ...], CriticalGain] = {}
    columns = [name for name in ("activation", "bias_std", "negative_slope") if name in runs]
    for key, group in runs.groupby(list(keys), sort=True, dropna=False):
        name = _words(key)
        settings = group[columns].drop_duplicates()
        row = {column: plain(value) for column, value in settings.iloc[0].items()}
        if len(settings) > 1:
            result[name] = CriticalGain(None, "the activation or the biases vary within it")
        elif row.get("activation") is None or row.get("bias_std") is None:
            result[name] = CriticalGain(None, "its activation or its biases are not in the table")
        else:
            slope = row.get("negative_slope")
            result[name] = critical_gain(str(row["activation"]), float(row["bias_std"]), slope)
    return result


def critical_sentence(lines: Mapping[str, CriticalGain], outside: Sequence[str]) -> str:
    """What the caption says of the critical line: where it lies, where it leaves the gains swept, where there is none.

    `lines` are by the name that tells them apart; `outside` are names whose line leaves the gains swept somewhere.
    """
    at: dict[float, list[str]] = {}
    for name, line in lines.items():
        if line.gain is not None:
            at.setdefault(line.gain, []).append(name)
    sentences = []
    if at:
        places = [f"σ_w = {gain:.7g} for {join_words(names)}" for gain, names in sorted(at.items())]
        sentences.append(f"The dashed line is the critical line, where theory has χ = 1: {'; '.join(places)}.")
    repelling = [name for name, line in lines.items() if line.gain is not None and not line.stable]
    if repelling:
        sentences.append(
            f"The fixed point q* on it does not attract for {join_words(repelling)}: a deep network leaves it."
        )
    if outside:
        sentences.append(f"It lies outside the gains swept, and is not drawn, for {join_words(outside)}.")
    for name, line in lines.items():
        if line.gain is None:
            sentences.append(f"There is no critical line for {name}: {line.reason}.")
    return " ".join(sentences)


def line_names(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], str]:
    """A name for the critical line of every group: its activation, and its biases or slope where these vary."""
    varying = [n for n in ("bias_std", "negative_slope") if n in runs and runs[n].map(short).nunique() > 1]
    result = {}
    for key, group in runs.groupby(list(keys), sort=True, dropna=False):
        words = [str(plain(group["activation"].iloc[0]) or "unknown activation")]
        words += [f"{_SIGNS[name]} = {short(group[name].iloc[0])}" for name in varying]
        result[_words(key)] = " with ".join(filter(None, [words[0], " and ".join(words[1:])]))
    return result
