"""The search: what the file asks for, what is asked in which order, and what the found values look like in the file."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.sweep import SpecError, load
from isosweep.tuning.found import with_found_values
from isosweep.tuning.search import Range, Search, read_search
from isosweep.tuning.study import Trial, best_of, run_search

SPEC = """\
# a sweep that is searched
name: searched
network: {depth: 2, width: 8, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 100, validation: 50}
measure: {jacobian: {samples: 2}}
train:
  epochs: 4      # not many
  batch: 20
  optimizer: adam
  learning_rate: 1e-3
seeds: 2
tune:
  ranges: {learning_rate: [1e-5, 1]}
"""

GRIDS = """\
grids:
  - train: {manifold: euclidean}
  - train:
      manifold: stiefel
      optimizer: riemannian_adam
      learning_rate_manifold: 0.01   # of the weights
    tune:
      ranges: {learning_rate: [1e-4, 1e-2], train.learning_rate_manifold: [1e-3, 1]}
      trials: 7
"""


def written(folder: Path, text: str = SPEC) -> Path:
    path = folder / "searched.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    search = read_search(written(tmp_path))
    assert search.ranges == {"learning_rate": Range(("train", "learning_rate"), 1e-5, 1.0)}
    assert (search.objective, search.direction, search.epoch) == ("validation_accuracy", "maximize", 4)
    assert (search.trials, search.batch, search.seed) == (40, 4, 0)
    assert search.start == {"learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("objective", "direction"),
    [("validation_loss", "minimize"), ("train_accuracy", "maximize"), ("fisher_lambda_max", "minimize")],
)
def test_the_direction_follows_from_the_objective(tmp_path: Path, objective: str, direction: str) -> None:
    spec = written(tmp_path, SPEC + f"  objective: {objective}\n")
    assert read_search(spec).direction == direction
    other = "maximize" if direction == "minimize" else "minimize"
    assert read_search(spec, [f"tune.direction={other}"]).direction == other


def test_a_trial_is_the_sweep_with_the_values_in_place(tmp_path: Path) -> None:
    spec = written(tmp_path, SPEC + "  set: {train.epochs: 2, seeds: [5]}\n")
    search = read_search(spec)
    (run,) = search.sweep({"learning_rate": 0.0123456}).runs()
    assert (run.train.learning_rate, run.train.epochs, run.seed) == (0.0123456, 2, 5)
    # the same run as if it had been written by hand
    by_hand = load(spec, ["train.learning_rate=0.0123456", "train.epochs=2", "seeds=[5]"]).runs()
    assert [run.id] == [one.id for one in by_hand]
    # the search does not touch what the file itself is
    assert [r.id for r in load(spec).runs()] == [
        r.id for r in load(written(tmp_path, SPEC.partition("tune:")[0])).runs()
    ]


def test_a_grid_is_searched_by_itself(tmp_path: Path) -> None:
    spec = written(tmp_path, SPEC + GRIDS)
    whole, one, two = (read_search(spec, grid=grid) for grid in (None, 0, 1))
    assert len(whole.sweep({"learning_rate": 0.1}).runs()) == 4
    assert {run.train.manifold for run in one.sweep({"learning_rate": 0.1}).runs()} == {"euclidean"}
    assert list(two.ranges) == ["learning_rate", "learning_rate_manifold"]
    assert (one.trials, two.trials) == (40, 7)
    found = two.sweep({"learning_rate": 0.004, "learning_rate_manifold": 0.5}).runs()
    assert {(r.train.manifold, r.train.learning_rate, r.train.learning_rate_manifold) for r in found} == {
        ("stiefel", 0.004, 0.5)
    }
    assert two.start == {"learning_rate": 1e-3, "learning_rate_manifold": 0.01}


def test_the_first_trial_is_the_files_own_value_only_where_there_is_one(tmp_path: Path) -> None:
    spec = written(tmp_path)
    assert read_search(spec, ["train.learning_rate=[1e-3, 1e-2]"]).start is None
    assert read_search(spec, ["train.learning_rate=5"]).start is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tune.ranges={}", "no ranges"),
        ("tune.ranges={learning_rat: [1e-5, 1]}", "did you mean 'learning_rate'"),
        ("tune.ranges={seed: [1, 2]}", "no axis is named 'seed'"),
        ("tune.ranges={learning_rate: [1, 1e-5]}", "the range of learning_rate is empty"),
        ("tune.ranges={learning_rate: [1e-5]}", "expected two numbers"),
        ("tune.ranges={learning_rate: [0, 1]}", "greater than 0"),
        ("tune.ranges={momentum: [0.1, 2]}", "less than 1"),
        ("tune.ranges={optimizer: [1, 2]}", "one of sgd"),
        ("tune.objective=validation_acuracy", "did you mean 'validation_accuracy'"),
        ("tune.objective=hessian_eigenvalues", "no number"),
        ("tune.epoch=5", "epoch 5 is after the last, 4"),
        ("tune.trials=0", "at least 1"),
        ("tune.range={learning_rate: [1e-5, 1]}", "unknown key"),
        ("tune.set={train.epochs: 0}", "at least 1"),
        ("tune=null", "no section tune"),
        ("train=null", "not all runs train"),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path: Path, change: str, said: str) -> None:
    overrides = [change] if change != "train=null" else ["train=null", "data.validation=null"]
    with pytest.raises(SpecError) as caught:
        read_search(written(tmp_path), overrides)
    assert said in str(caught.value)


def test_there_is_no_such_grid(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no grid 2: the file has 2"):
        read_search(written(tmp_path, SPEC + GRIDS), grid=2)
    with pytest.raises(SpecError, match="there is no grid 0: the file has 0"):
        read_search(written(tmp_path), grid=0)


# ---- the study


def asked_of(**changes: Any) -> Search:
    ranges = {"x": Range(("train", "x"), 1e-6, 1.0), "y": Range(("train", "y"), 1e-3, 1e3)}
    fields = {
        "spec": Path("none"),
        "overrides": (),
        "grid": None,
        "ranges": ranges,
        "start": None,
        "objective": "validation_loss",
        "epoch": 1.0,
        "direction": "minimize",
        "trials": 30,
        "batch": 4,
        "seed": 0,
    }
    return Search(**{**fields, **changes})  # type: ignore[arg-type]


def bowl(values: dict[str, float]) -> float:
    """Smallest, 0, at x = 10⁻³ and y = 10."""
    return (math.log10(values["x"]) + 3) ** 2 + (math.log10(values["y"]) - 1) ** 2


def searched(search: Search, worth: Any = bowl) -> tuple[list[Trial], list[list[dict[str, float]]]]:
    batches: list[list[dict[str, float]]] = []

    def evaluate(batch: list[dict[str, float]]) -> list[float]:
        batches.append([dict(values) for values in batch])
        return [worth(values) for values in batch]

    return run_search(search, evaluate, lambda trial: None), batches


def test_the_search_finds_the_bottom_of_a_bowl() -> None:
    trials, batches = searched(asked_of(trials=60))
    best = best_of(trials, "minimize")
    assert best.value < 0.3  # a random one of 60 is below that with probability 0.6; see the next line for the search
    later = sorted(trial.value for trial in trials[30:])
    earlier = sorted(trial.value for trial in trials[:10])
    assert later[len(later) // 2] < 0.5 * earlier[len(earlier) // 2]
    assert [len(batch) for batch in batches] == [4] * 15
    mirrored, _ = searched(asked_of(trials=60, direction="maximize"), lambda values: -bowl(values))
    assert [trial.values for trial in mirrored] == [trial.values for trial in trials]


def test_a_search_begun_again_asks_the_same() -> None:
    one, asked = searched(asked_of())
    again, asked_again = searched(asked_of())
    assert one == again
    assert asked == asked_again
    other, _ = searched(asked_of(seed=1))
    assert [t.values for t in other] != [t.values for t in one]


def test_more_trials_begin_with_the_same_ones() -> None:
    """Of a search whose random beginning is as long."""
    short, _ = searched(asked_of(trials=32))
    long, _ = searched(asked_of(trials=48))
    assert long[:32] == short


@settings(max_examples=20, deadline=None)
@given(low=st.floats(1e-9, 1e3), factor=st.floats(1.001, 1e6), seed=st.integers(0, 2**32 - 1))
def test_values_lie_in_their_range_and_have_few_digits(low: float, factor: float, seed: int) -> None:
    high = low * factor
    search = asked_of(ranges={"x": Range(("x",), low, high)}, trials=12, seed=seed)
    for trial in searched(search, lambda values: math.log(values["x"]))[0]:
        x = trial.values["x"]
        assert low <= x <= high
        assert x in (low, high) or float(f"{x:.6g}") == x


def test_what_diverged_is_the_worst_and_the_search_goes_on() -> None:
    def worth(values: dict[str, float]) -> float:
        return math.inf if values["x"] > 1e-2 else bowl(values)

    trials, _ = searched(asked_of(trials=60), worth)
    assert any(trial.value == math.inf for trial in trials)
    assert math.isfinite(best_of(trials, "minimize").value)
    bad = [trial.values["x"] > 1e-2 for trial in trials]
    assert sum(bad[30:]) < sum(bad[:10]) * 3  # fewer than the third that chance would try
    assert best_of([Trial(0, {}, math.inf), Trial(1, {}, math.inf)], "minimize").number == 0


def test_the_files_own_values_come_first() -> None:
    trials, _ = searched(asked_of(start={"x": 0.25, "y": 4.0}))
    assert trials[0].values == {"x": 0.25, "y": 4.0}


def test_of_equals_the_first_is_best() -> None:
    trials = [Trial(0, {}, 0.5), Trial(1, {}, 0.7), Trial(2, {}, 0.7), Trial(3, {}, 0.1)]
    assert best_of(trials, "maximize").number == 1
    assert best_of(trials, "minimize").number == 3


# ---- the file


def found(spec: Path, values: dict[str, float], grid: int | None = None) -> str:
    return with_found_values(read_search(spec, grid=grid), Trial(3, values, 0.75))


def test_the_found_values_stand_in_the_file_and_all_else_stays(tmp_path: Path) -> None:
    spec = written(tmp_path)
    text = found(spec, {"learning_rate": 0.0123456})
    changed = [(a, b) for a, b in zip(SPEC.splitlines(), text.splitlines(), strict=True) if a != b]
    assert len(changed) == 1
    old, new = changed[0]
    assert old == "  learning_rate: 1e-3"
    assert new.startswith("  learning_rate: 0.0123456 ")
    assert "trial 3 of 40, validation_accuracy 0.75 at epoch 4" in new
    again = tmp_path / "again.yaml"
    again.write_text(text)
    by_hand = load(spec, ["train.learning_rate=0.0123456"]).runs()
    assert [run.id for run in load(again).runs()] == [run.id for run in by_hand]


def test_a_very_small_value_is_read_as_the_number_it_is(tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text(found(written(tmp_path), {"learning_rate": 1.23e-05}))
    assert load(again).runs()[0].train.learning_rate == 1.23e-05


def test_values_of_a_grid_go_into_that_grid(tmp_path: Path) -> None:
    spec = written(tmp_path, SPEC + GRIDS)
    again = tmp_path / "again.yaml"
    text = found(spec, {"learning_rate": 0.004, "learning_rate_manifold": 0.5}, grid=1)
    again.write_text(text)
    assert {(r.train.manifold, r.train.learning_rate, r.train.learning_rate_manifold) for r in load(again).runs()} == {
        ("euclidean", 0.001, None),
        ("stiefel", 0.004, 0.5),
    }
    assert "# a sweep that is searched" in text
    assert "# not many" in text
    # another grid's search takes the file as it then is
    last = tmp_path / "last.yaml"
    last.write_text(found(again, {"learning_rate": 0.2}, grid=0))
    assert sorted({r.train.learning_rate for r in load(last).runs()}) == [0.004, 0.2]


def test_one_comment_for_all_and_none_inside_a_line(tmp_path: Path) -> None:
    spec = written(tmp_path, SPEC + GRIDS)
    text = found(spec, {"learning_rate": 0.004, "learning_rate_manifold": 0.5}, grid=1)
    assert text.count("found by isosweep tune") == 1
    flow = written(tmp_path, SPEC.replace("network: {", "network: {gain: 1.5, ").replace(", gain: 1.0", ""))
    search = read_search(flow, ["tune.ranges={gain: [0.5, 2]}"])
    text = with_found_values(search, Trial(0, {"gain": 1.25}, 0.5))
    assert "network: {gain: 1.25, depth: 2" in text
    again = tmp_path / "again.yaml"
    again.write_text(text)
    assert load(again).runs()[0].network.gain == 1.25
