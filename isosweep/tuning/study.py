"""The search itself: optuna's tree of Parzen estimators, seeded, asked for a batch of trials at a time.

Nothing of it is kept on disk. A search that is begun again asks the same questions in the same order and is told the
same answers, since trials are runs and runs have records: so it goes on where it was, and finds what an undisturbed
one finds. (Another version of optuna may ask other questions; runs that it does not need any more stay in the store.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .search import Search

__all__ = ["Trial", "best_of", "run_search"]

_DIGITS = 6


@dataclass(frozen=True)
class Trial:
    """A trial that is done: its number, what was tried, and what it was worth."""

    number: int
    values: dict[str, float]
    value: float


def run_search(
    search: Search, evaluate: Callable[[list[dict[str, float]]], Sequence[float]], told: Callable[[Trial], None]
) -> list[Trial]:
    """Every trial of the search, in order.

    Args:
        search: what is searched.
        evaluate: what a batch of trials is worth, in their order; infinities are for what cannot be used.
        told: called for each trial that is done.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Ranges are searched together, not one by one; of trials that are still running the worst is assumed, so that
        # a batch does not ask the same question several times.
        sampler = optuna.samplers.TPESampler(
            seed=search.seed,
            multivariate=True,
            constant_liar=True,
            n_startup_trials=min(10, max(2, search.trials // 3)),
        )
    study = optuna.create_study(sampler=sampler, direction=search.direction)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(bounds.low, bounds.high, log=True)
        for name, bounds in search.ranges.items()
    }
    if search.start is not None:
        study.enqueue_trial(search.start)
    done: list[Trial] = []
    while len(done) < search.trials:
        asked = [study.ask(space) for _ in range(min(search.batch, search.trials - len(done)))]
        batch = [{name: _rounded(search, name, one.params[name]) for name in search.ranges} for one in asked]
        for one, values, value in zip(asked, batch, evaluate(batch), strict=True):
            study.tell(one, value)
            done.append(Trial(one.number, values, value))
            told(done[-1])
    return done


def _rounded(search: Search, name: str, value: float) -> float:
    """As many digits as anybody would write into a file, within the range."""
    bounds = search.ranges[name]
    return min(max(float(f"{value:.{_DIGITS}g}"), bounds.low), bounds.high)


def best_of(trials: Sequence[Trial], direction: str) -> Trial:
    """The best; of equals the first."""
    sign = -1 if direction == "maximize" else 1
    return min(trials, key=lambda trial: (sign * trial.value, trial.number))
