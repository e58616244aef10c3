"""Packing: every run in exactly one task, whatever the order they come in."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from isosweep.launching.plan import pack, split_arrays
from isosweep.sweep.settings import DataSettings, FisherSettings, MeasureSettings, NetworkSettings, Run

DATA = DataSettings("digits", 64, "unit", 1.0, 64, 10)
MEASURE = MeasureSettings(FisherSettings(8, "categorical", "summary"), None)


def runs_of(costs: list[int]) -> list[Run]:
    return [Run(NetworkSettings(cost, 4, "tanh"), DATA, MEASURE, i, f"{i:020x}") for i, cost in enumerate(costs)]


def depth(run: Run) -> float:
    return float(run.network.depth)  # type: ignore[union-attr]


COSTS = st.lists(st.integers(1, 1000), min_size=1, max_size=60)


@given(COSTS, st.floats(1, 5000), st.integers(0, 10))
def test_every_run_is_in_one_task_and_the_order_does_not_matter(costs: list[int], target: float, seed: int) -> None:
    runs = runs_of(costs)
    tasks = pack(runs, target_seconds=target, cost=depth)
    assert sorted(run.id for task in tasks for run in task) == sorted(run.id for run in runs)
    assert all(tasks)
    shuffled = runs[:]
    random.Random(seed).shuffle(shuffled)
    assert pack(shuffled, target_seconds=target, cost=depth) == tasks


@given(COSTS, st.floats(1, 5000))
def test_no_task_is_longer_than_its_longest_run_and_a_third_over_the_mean(costs: list[int], target: float) -> None:
    runs = runs_of(costs)
    tasks = pack(runs, target_seconds=target, cost=depth)
    loads = [sum(map(depth, task)) for task in tasks]
    best = max(max(costs), sum(costs) / len(tasks))
    # the list-scheduling bound that holds for any order: mean + longest
    assert max(loads) <= sum(costs) / len(tasks) + max(costs)
    assert max(loads) <= 2 * best
    assert [depth(run) for task in tasks for run in task[:1]] == [max(map(depth, task)) for task in tasks]


@given(COSTS, st.integers(1, 20))
def test_a_number_of_runs_a_task_is_kept(costs: list[int], number: int) -> None:
    tasks = pack(runs_of(costs), runs_per_task=number, cost=depth)
    assert max(map(len, tasks)) <= number
    assert len(tasks) == -(-len(costs) // number)


@given(st.integers(1, 10_000), st.integers(1, 1001))
def test_arrays_are_as_few_as_the_limit_allows(tasks: int, largest: int) -> None:
    sizes = split_arrays(tasks, largest)
    assert sum(sizes) == tasks
    assert max(sizes) <= largest
    assert len(sizes) == -(-tasks // largest)
