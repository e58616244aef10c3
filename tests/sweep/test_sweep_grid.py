"""Products, zips, includes, exclusions and conditional axes, against a model of a few lines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_files import ids, loaded, spec

from isosweep.sweep import SpecError, Sweep

NAMES = ("depth", "width", "activation", "gain", "bias_std", "seed")
Point = dict[str, Any]

values = st.fixed_dictionaries(
    {
        "depth": st.lists(st.integers(1, 4), min_size=1, max_size=3),
        "width": st.lists(st.integers(1, 4), min_size=1, max_size=3),
        "activation": st.lists(st.sampled_from(["tanh", "relu", "erf"]), min_size=1, max_size=2),
        "gain": st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), min_size=1, max_size=3),
        "bias_std": st.lists(st.sampled_from([0.0, 0.1, 0.2]), min_size=1, max_size=2),
        "seed": st.lists(st.integers(0, 2), min_size=1, max_size=2),
    }
)


def numeric_condition(name: str, choices: list[Any]) -> st.SearchStrategy[Any]:
    one = st.sampled_from(choices)
    plain = one | st.lists(one, min_size=1, max_size=2)
    if name == "activation":
        return plain | st.builds(lambda c: {"not": c}, plain)
    bounds = st.tuples(one, one).map(lambda pair: {"min": min(pair), "max": max(pair)})
    open_ended = st.builds(lambda side, v: {side: v}, st.sampled_from(["min", "max"]), one)
    return plain | bounds | open_ended | st.builds(lambda c: {"not": c}, plain | bounds | open_ended)


CHOICES: dict[str, list[Any]] = {
    "depth": [1, 2, 3, 4],
    "width": [1, 2, 3, 4],
    "activation": ["tanh", "relu", "erf"],
    "gain": [0.5, 1.0, 1.5, 2.0],
    "bias_std": [0.0, 0.1, 0.2],
    "seed": [0, 1, 2],
}


def conditions_on(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({n: numeric_condition(n, CHOICES[n]) for n in chosen})
    )


# ---- the model


def holds(condition: Any, value: Any) -> bool:
    if isinstance(condition, dict) and "not" in condition:
        return not holds(condition["not"], value)
    if isinstance(condition, dict):
        return value is not None and condition.get("min", -1e9) <= value <= condition.get("max", 1e9)
    return value in (condition if isinstance(condition, list) else [condition])


def matches(conditions: dict[str, Any], point: Point) -> bool:
    return all(holds(condition, point.get(name)) for name, condition in conditions.items())


def product(axes: dict[str, list[Any]], zipped: tuple[str, ...], when: dict[str, Any]) -> Iterator[Point]:
    """Points; those that differ only in an axis that does not exist there are one."""
    groups = [zipped] if zipped else []
    groups += [(name,) for name in axes if name not in zipped]
    partly: list[Point] = []
    for chosen in itertools.product(*(range(len(axes[group[0]])) for group in groups)):
        point = {n: axes[n][i] for group, i in zip(groups, chosen, strict=True) for n in group}
        whole = len(point)
        # gain may hang on depth, bias_std on gain: by then gain is settled
        for name in ("gain", "bias_std"):
            if name in when and not matches(when[name], point):
                del point[name]
        if len(point) < whole:
            if point in partly:
                continue
            partly.append(point)
        yield point


def run_of(point: Point) -> tuple[Any, ...]:
    return tuple({"bias_std": 0.0, **point}[name] for name in NAMES)


def measured(sweep: Sweep) -> list[tuple[Any, ...]]:
    return [tuple(run.columns[name] for name in NAMES) for run in sweep.runs()]


def file_of(axes: dict[str, list[Any]], **more: Any) -> dict[str, Any]:
    network = {name: v for name, v in axes.items() if name != "seed"} | {"init": "orthogonal"}
    return spec(network=network, seeds=axes["seed"], **more)


# ---- the laws


@settings(max_examples=60, deadline=None)
@given(axes=values)
def test_a_grid_is_the_product_of_its_axes_and_repeats_are_counted(axes: dict[str, list[Any]]) -> None:
    sweep = loaded(file_of(axes))
    everything = [run_of(point) for point in product(axes, (), {})]
    assert set(measured(sweep)) == set(everything)
    assert len(sweep.runs()) == len(set(everything))
    assert sweep.duplicates == len(everything) - len(set(everything))
    assert sweep.axes == tuple(name for name in NAMES if len(set(axes[name])) > 1)


@settings(max_examples=150, deadline=None)
@given(
    axes=values,
    zipped=st.sampled_from([(), ("depth", "width"), ("gain", "depth"), ("activation", "gain", "seed")]),
    exclude=st.lists(conditions_on(NAMES), max_size=2),
    when=st.none() | conditions_on(("depth", "gain", "activation")),
    include=st.none()
    | st.fixed_dictionaries(
        {}, optional={n: st.lists(st.sampled_from(CHOICES[n]), min_size=1, max_size=2) for n in NAMES}
    ),
)
def test_zip_exclude_when_and_include_are_what_the_model_says(
    axes: dict[str, list[Any]],
    zipped: tuple[str, ...],
    exclude: list[dict[str, Any]],
    when: dict[str, Any] | None,
    include: dict[str, Any] | None,
) -> None:
    if zipped:
        length = min(len(axes[name]) for name in zipped)
        axes = {n: v[:length] if n in zipped else v for n, v in axes.items()}
    conditional = {} if when is None else {"bias_std": when}
    more: dict[str, Any] = {"exclude": exclude, "when": conditional, "zip": [zipped] if zipped else []}
    points = list(product(axes, zipped, conditional))
    kept = [p for p in points if not any(matches(c, p) for c in exclude)]
    excluded = len(points) - len(kept)
    if include:
        if any(n in zipped for n in include):
            include = {n: v for n, v in include.items() if n not in zipped}
        if include:
            more["include"] = [include]
            kept += list(product({**axes, **include}, zipped, conditional))
    if not kept:
        with pytest.raises(SpecError, match="no run is left"):
            loaded(file_of(axes, **more))
        return
    sweep = loaded(file_of(axes, **more))
    everything = [run_of(p) for p in kept]
    assert set(measured(sweep)) == set(everything)
    assert sweep.duplicates == len(everything) - len(set(everything))
    assert sweep.excluded == excluded


@pytest.mark.parametrize("turned", [False, True])
def test_a_chain_of_conditions_does_not_hang_on_the_order_of_its_keys(turned: bool) -> None:
    # the bias is there for wide gains alone, the Jacobian where there is a bias
    when: dict[str, Any] = {"bias_std": {"gain": {"min": 1.5}}, "jacobian_samples": {"bias_std": 0.1}}
    if turned:
        when = dict(reversed(when.items()))
    sweep = loaded(spec(network__gain=[1.0, 1.5], network__bias_std=[0.1, 0.2], when=when))
    found = [(r.columns["gain"], r.columns["bias_std"], r.columns["jacobian_samples"]) for r in sweep.runs()]
    assert found == [(1.0, 0.0, None), (1.5, 0.1, 4), (1.5, 0.2, None)]
    assert sweep.duplicates == 0


def test_zipped_axes_move_together_even_through_equal_values() -> None:
    sweep = loaded(spec(network__depth=[4, 4, 8], network__width=[8, 16, 16], zip=[["depth", "network.width"]]))
    assert [(r.columns["depth"], r.columns["width"]) for r in sweep.runs()] == [(4, 8), (4, 16), (8, 16)]
    assert sweep.duplicates == 0


def test_several_grids_are_one_after_the_other() -> None:
    whole = spec(
        grids=[
            {"network": {"gain": [1, 2]}},
            {"network": {"depth": [8, 9]}, "seeds": 2, "data": {"samples": 32}},
        ]
    )
    first = ids(spec(network__gain=[1, 2]))
    second = ids(spec(network__depth=[8, 9], seeds=2, data__samples=32))
    assert ids(whole) == [*first, *second]
    assert loaded(whole).duplicates == 0
    twice = loaded(spec(grids=[{}, {"seeds": 2}]))
    assert len(twice.runs()) == 2
    assert twice.duplicates == 1
    assert twice.axes == ("seed",)


def test_a_grid_may_be_another_kind_of_network_than_the_next(tmp_path: Any) -> None:
    (tmp_path / "net.py").write_text("def make(inputs, classes, wide): ...\n")
    dense = spec()["network"]
    text = spec(network=..., grids=[{"network": dense}, {"network": {"module": "net:make", "wide": [1, 2]}}])
    sweep = loaded(text, (), tmp_path)
    assert [type(run.network).__name__ for run in sweep.runs()] == ["NetworkSettings"] + 2 * ["ModuleSettings"]


def test_the_conditional_gain_of_the_documentation() -> None:
    sweep = loaded(
        spec(
            network__gain=[1.0, 1.5, "critical"],
            network__q_star=["1/64", "1/2"],
            network__bias_std=0.1,
            when={"q_star": {"gain": "critical"}, "bias_std": {"gain": {"not": "critical"}}},
        )
    )
    found = [
        (r.columns["gain_rule"], r.columns["gain"], r.columns["bias_std"], r.columns["q_star"]) for r in sweep.runs()
    ]
    assert found[:2] == [(None, 1.0, 0.1, None), (None, 1.5, 0.1, None)]
    assert [f[0] for f in found[2:]] == ["critical", "critical"]
    assert [f[3] for f in found[2:]] == [1 / 64, 0.5]
    assert found[2][1] == pytest.approx(1.015163785, abs=1e-9)
    assert found[3][2] == pytest.approx(0.1950415369, abs=1e-9)
    assert sweep.duplicates == 0


def test_an_include_takes_an_optional_axis_away_by_null() -> None:
    sweep = loaded(spec(network__bias_std=0.1, include=[{"gain": "critical", "q_star": 0.5, "bias_std": None}]))
    assert [r.columns["gain_rule"] for r in sweep.runs()] == [None, "critical"]


def test_seeds_count_in_an_include_and_in_a_condition_as_in_the_file() -> None:
    sweep = loaded(spec(include=[{"seeds": 3, "depth": 9}, {"seed": 3, "depth": 9}]))
    assert [r.seed for r in sweep.runs()] == [0, 0, 1, 2, 3]
    assert [r.seed for r in loaded(spec(seeds=5, exclude=[{"seeds": 2}, {"seed": 3}])).runs()] == [2, 4]


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [(3, [0, 1, 2]), ([5, 7], [5, 7]), ({"range": [2, 8, 3]}, [2, 5]), ("4/2", [0, 1]), (2.0, [0, 1]), ([3], [3])],
)
def test_seeds(seeds: Any, expected: list[int]) -> None:
    assert [run.seed for run in loaded(spec(seeds=seeds)).runs()] == expected


def test_a_bound_may_be_a_number_that_the_axis_could_not_take() -> None:
    sweep = loaded(spec(network__gain=[0.5, 1, 2], network__depth=[1, 2], exclude=[{"gain": {"min": -1, "max": 0.9}}]))
    assert sweep.excluded == 2
    assert loaded(spec(network__depth=[1, 2, 3], exclude=[{"depth": {"min": 1.5}}])).excluded == 2
    # a word is in no range
    both = loaded(spec(network__gain=[0.5, "critical"], network__q_star=0.5, exclude=[{"gain": {"min": 0}}]))
    assert [run.columns["gain_rule"] for run in both.runs()] == ["critical"]
