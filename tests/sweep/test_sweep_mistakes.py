"""Sweep files with mistakes: where, what, what was expected, the nearest name; several at once; never a traceback."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import ONE_MISTAKE, TEXT
from sweep_files import loaded

from isosweep.sweep import Problem, SpecError, load


def problems(text: str, *overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        loaded(text, overrides)
    return caught.value.problems


def edited(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


@pytest.mark.parametrize("name", ONE_MISTAKE)
def test_one_mistake_is_named_with_its_place(name: str) -> None:
    old, new, line, column, key, message, expected, near = ONE_MISTAKE[name]
    (problem,) = problems(edited(old, new))
    assert message in problem.message, problem
    assert problem.key == key
    if name != "nested too deep":
        assert (problem.line, problem.column) == (line, column), problem
        assert str(problem).startswith(f"{problem.file}:{line}:{column}: ")
    assert expected is None or expected in (problem.expected or ""), problem
    assert problem.nearest == near
    assert len(str(problem)) < 500


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = edited("  width: 8", "  widht: 8").replace("tanh", "tahn").replace("gain: 1.0", "gain: [1, x, -1]")
    text = text.replace("digits", "digit").replace("seeds: 1", "sed: 1")
    found = [(p.line, p.key) for p in problems(text)]
    assert found == [
        (2, "network.width"),
        (4, "network.widht"),
        (5, "network.activation"),
        (7, "network.gain[1]"),
        (7, "network.gain[2]"),
        (8, "data.name"),
        (12, "sed"),
    ]
    text = TEXT + "zip: [[depth], [width, q_star]]\nexclude: [{gian: 1}, {gain: x}]\nwhen: {bias: {gain: 1}}\n"
    assert [p.key for p in problems(text)] == ["zip[0]", "zip[1][1]", "exclude[0].gian", "exclude[1].gain", "when.bias"]


def test_impossible_points_are_grouped_and_named() -> None:
    text = (
        edited("gain: 1.0", "gain: critical\n  bias_std: 0.1")
        .replace("tanh", "[tanh, relu]")
        .replace("depth: 4", "depth: [1, 2, 3, 4]")
    )
    (problem,) = problems(text)
    assert "relu with σ_b = 0.1 has no critical point" in problem.message
    assert "depth=1, activation=relu" in problem.message
    assert "4 points in all" in problem.message


BILLION_LAUGHS = "b0: &b0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a mapping of keys"),
        (b"# nothing\n", "a mapping of keys"),
        (b"- 1\n", "a mapping of keys"),
        (b"5\n", "a mapping of keys"),
        (b"name: \xff\n", "sweep.yaml:1:7: not UTF-8"),
        (b"a: " + b"1" * 5000, "not valid YAML"),
        (BILLION_LAUGHS.encode(), "more than 300,000"),
    ],
    ids=["empty", "comment", "list", "scalar", "latin-1", "5,000 digits", "a billion laughs"],
)
def test_files_that_are_no_sweep(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=words):
        load(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text(TEXT)
    with pytest.raises(SpecError, match=r"no such sweep file; did you mean '.*/quickstart.yaml'"):
        load(tmp_path / "quikstart.yaml")
    with pytest.raises(SpecError, match=r"the folder .*/none does not exist"):
        load(tmp_path / "none" / "a.yaml")
    with pytest.raises(SpecError, match="Is a directory"):
        load(tmp_path)


def test_a_byte_order_mark_and_windows_lines_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert [r.id for r in load(path).runs()] == [r.id for r in loaded(TEXT).runs()]


def test_anchors_and_merges_work() -> None:
    text = edited("depth: 4", "depth: &size [4, 8]").replace("width: 8", "width: *size")
    assert len(loaded(text).runs()) == 4
    merged = textwrap.dedent("""\
        name: t
        network: &deep {depth: 4, width: 8, activation: tanh, init: orthogonal, gain: 1.0}
        data: {name: digits, samples: 64}
        grids:
          - network: {<<: *deep, gain: [1, 2]}
        """)
    assert len(loaded(merged).runs()) == 2
    (problem,) = problems(merged.replace("depth: 4", "depth: 0"))
    assert problem.line in (2, 5)


def test_too_many_points_are_refused_before_they_are_made() -> None:
    (problem,) = problems(edited("seeds: 1", "seeds: 1000000").replace("depth: 4", "depth: [1, 2, 3]"))
    assert "3,000,000 points" in problem.message


OVERRIDES: dict[str, tuple[str, str, str]] = {
    "wrong value": ("network.gain=[1,x]", "network.gain[1]", "'x'"),
    "wrong lone value": ("network.gain=x", "network.gain", "'x'"),
    "unknown section": ("netwrk.gain=1", "netwrk", "unknown key"),
    "unknown key": ("network.gian=1", "network.gian", "unknown key"),
    "plain name": ("gain=1", "gain", "belongs to the section network"),
    "into a value": ("network.gain.x=1", "", "a value, not a section"),
    "no value": ("network.gain", "", "expected KEY=VALUE"),
    "no key": ("=1", "", "expected KEY=VALUE"),
    "a hole in the path": ("network..gain=1", "", "expected KEY=VALUE"),
    "no YAML": ("network.gain=[1", "", "not valid YAML"),
    "no such item": ("exclude.0.gain=1", "", "is a list of 0"),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_mistakes_on_the_command_line_name_the_option(name: str) -> None:
    assignment, key, words = OVERRIDES[name]
    (problem,) = problems(TEXT + "exclude: []\n", assignment)
    assert words in problem.message
    assert problem.key == key
    assert str(problem).startswith(f"--set {assignment}")


def test_an_override_has_the_last_word_in_every_grid() -> None:
    text = TEXT.replace("seeds: 1", "grids:\n  - seeds: 3\n  - network: {gain: [1, 2]}\n    seeds: 2")
    assert len(loaded(text).runs()) == 3 + 2 * 2 - 2  # gain 1 twice
    assert {r.seed for r in loaded(text, ["seeds=1"]).runs()} == {0}
    assert len(loaded(text, ["network.gain=5"]).runs()) == 3
    assert len(loaded(text, ["grids.1.seeds=7"]).runs()) == 3 + 2 * 7 - 3
    (problem,) = problems(text, "grids.2.seeds=1")
    assert "list of 2" in problem.message


def test_an_override_may_make_a_section_and_take_a_key_away() -> None:
    bare = "\n".join(
        line
        for line in TEXT.splitlines()
        if "measure" not in line and "  fisher" not in line and "jacobian" not in line
    )
    (run,) = loaded(bare, ["measure.fisher.samples=8", "data.scale=null"]).runs()
    assert run.measure.fisher is not None
    assert run.measure.fisher.samples == 8
    assert run.measure.jacobian is None
    (run,) = loaded(bare).runs()
    assert run.measure.fisher is not None
    assert run.measure.jacobian is not None
    assert (run.measure.fisher.samples, run.measure.jacobian.samples) == (64, 16)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1/2", "critical", "tanh"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["linspace", "min", "not", "gain", "seed", "depth", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    key=st.sampled_from(
        [
            "seeds",
            "zip",
            "include",
            "exclude",
            "when",
            "grids",
            "network.gain",
            "network.depth",
            "network.bias_std",
            "measure.fisher",
            "data.scale",
            "data.samples",
            "network",
            "name",
        ]
    ),
    value=anything,
)
def test_whatever_stands_there_it_is_runs_or_a_problem_with_a_place(key: str, value: Any) -> None:
    try:
        sweep = loaded(TEXT, [f"{key}={json.dumps(value)}"])
    except SpecError as error:
        told = error.problems
    else:
        assert sweep.runs()
        return
    assert told
    for problem in told:
        assert problem.message
        assert problem.line is not None or "--set" in str(problem)


def test_what_all_grids_have_wrong_in_one_place_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\n"
        "network: {depth: 2, width: 4, activation: tanh, init: orthogonal, gain: 1.0}\n"
        "data: {name: mnist, samples: 10}\n"
        "measure: {jacobian: {samples: 2}}\n"
        "seeds: 2\n"
        "grids:\n"
        "  - {network: {depth: [2, 3]}}\n"
        "  - {network: {width: [5, 6]}}\n"
    )
    with pytest.raises(SpecError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert (problem.key, problem.line) == ("data.name", 3)
    # all points have it: none is an example
    assert "depth=" not in problem.message


def test_a_near_name_stands_for_a_long_list_of_names() -> None:
    names = ", ".join(f"name{number}" for number in range(40))
    assert str(Problem("unknown key", key="k", expected=f"one of {names}", nearest="name3")) == (
        "k: unknown key; did you mean 'name3'?"
    )
    assert names in str(Problem("unknown key", key="k", expected=f"one of {names}"))
