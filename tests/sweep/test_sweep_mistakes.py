"""Sweep files with mistakes: where, what, what was expected, the nearest name; several at once; never a traceback."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_files import loaded

from isosweep.sweep import Problem, SpecError, load

TEXT = """\
name: t
network:
  depth: 4
  width: 8
  activation: tanh
  init: orthogonal
  gain: 1.0
data: {name: digits, samples: 64}
measure:
  fisher: {samples: 16}
  jacobian: {samples: 4}
seeds: 1
"""


def problems(text: str, *overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        loaded(text, overrides)
    return caught.value.problems


def edited(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


# (old, new, line, column, key, part of the message, part of what was expected, nearest)
ONE_MISTAKE: dict[str, tuple[str, str, int, int, str, str, str | None, str | None]] = {
    "unknown key": ("seeds: 1", "sed: 1", 12, 1, "sed", "unknown key", "name", "seeds"),
    "unknown key in a section": ("  gain", "  gian", 7, 3, "network.gian", "unknown key", "gain", "gain"),
    "a key of another section": (
        "seeds",
        "activation",
        12,
        1,
        "activation",
        "belongs to the section network",
        "",
        None,
    ),
    "wrong type": ("depth: 4", "depth: deep", 3, 3, "network.depth", "whole number", None, None),
    "a fraction of a layer": ("depth: 4", "depth: 4.5", 3, 3, "network.depth", "whole number", None, None),
    "true where a number stands": ("gain: 1.0", "gain: true", 7, 3, "network.gain", "found true", None, None),
    "true in a list": ("gain: 1.0", "gain: [1, true]", 7, 13, "network.gain[1]", "found true", None, None),
    "yes is a word": ("depth: 4", "depth: yes", 3, 3, "network.depth", "found 'yes'", None, None),
    "null in a list": ("gain: 1.0", "gain: [1, null]", 7, 13, "network.gain[1]", "found null", None, None),
    "null for a necessary axis": ("depth: 4", "depth:", 3, 3, "network.depth", "no value", None, None),
    "null gain": ("gain: 1.0", "gain: null", 7, 3, "network.gain", "missing", None, None),
    "a quoted number": ("depth: 4", "depth: '4'", 3, 3, "network.depth", "found '4'", None, None),
    "depth 0": ("depth: 4", "depth: [4, 0]", 3, 14, "network.depth[1]", "found 0", "at least 1", None),
    "depth beyond all": ("depth: 4", "depth: 1" + "0" * 30, 3, 3, "network.depth", "64 bits", None, None),
    "a billion layers": ("depth: 4", "depth: 3000000000", 3, 3, "network.depth", "found 3", "at most 1000000000", None),
    "gain 0": ("gain: 1.0", "gain: 0", 7, 3, "network.gain", "positive", None, None),
    "gain -0.0": ("gain: 1.0", "gain: [1, -0.0]", 7, 13, "network.gain[1]", "positive", None, None),
    "gain not a number": ("gain: 1.0", "gain: .nan", 7, 3, "network.gain", "finite", None, None),
    "gain infinite": ("gain: 1.0", "gain: -.inf", 7, 3, "network.gain", "finite", None, None),
    "gain beyond float64": ("gain: 1.0", "gain: 1e400", 7, 3, "network.gain", "finite", None, None),
    "gain beyond float64, whole": ("gain: 1.0", "gain: 1" + "0" * 400, 7, 3, "network.gain", "characters)", None, None),
    "gain overflowing when squared": (
        "gain: 1.0",
        "gain: 1e200",
        7,
        3,
        "network.gain",
        "overflows float64",
        None,
        None,
    ),
    "gain vanishing when squared": ("gain: 1.0", "gain: 1e-200", 7, 3, "network.gain", "vanishes", None, None),
    "an empty axis": ("gain: 1.0", "gain: []", 7, 3, "network.gain", "empty", None, None),
    "a list in a list": ("gain: 1.0", "gain: [1, [2]]", 7, 3, "network.gain", "single values", None, None),
    "a generator misspelled": (
        "gain: 1.0",
        "gain: {linspase: [1, 2, 3]}",
        7,
        3,
        "network.gain",
        "expected one of",
        None,
        "linspace",
    ),
    "two generators": (
        "gain: 1.0",
        "gain: {linspace: [1, 2, 3], range: [1, 2, 3]}",
        7,
        3,
        "network.gain",
        "expected one",
        None,
        None,
    ),
    "a generator short of a number": (
        "gain: 1.0",
        "gain: {linspace: [1, 2]}",
        7,
        3,
        "network.gain",
        "three numbers",
        None,
        None,
    ),
    "an empty range": ("gain: 1.0", "gain: {range: [2, 1, 1/4]}", 7, 3, "network.gain", "empty", None, None),
    "a range without end": (
        "gain: 1.0",
        "gain: {range: [1, 2, 1e-9]}",
        7,
        3,
        "network.gain",
        "1,000,000,000",
        None,
        None,
    ),
    "division by 0": ("gain: 1.0", "gain: 1/0", 7, 3, "network.gain", "divides by 0", None, None),
    "a wrong word": ("gain: 1.0", "gain: critcal", 7, 3, "network.gain", "critical", None, "critical"),
    "unknown activation": ("tanh", "[relu, tahn]", 5, 22, "network.activation[1]", "'tahn'", "hard_tanh", "tanh"),
    "unknown data set": ("digits", "digit", 8, 8, "data.name", "'digit'", "fashion_mnist", "digits"),
    "no section": ("data: {name: digits, samples: 64}", "data: null", 8, 1, "data", "found null", "a section", None),
    "a list for a section": (
        "data: {name: digits, samples: 64}",
        "data: [1]",
        8,
        1,
        "data",
        "found [1]",
        "a section",
        None,
    ),
    "too many samples": ("samples: 64", "samples: 2000", 8, 22, "data.samples", "1797", None, None),
    "more to measure than there is": (
        "samples: 16",
        "samples: 65",
        10,
        12,
        "measure.fisher.samples",
        "the 64",
        None,
        None,
    ),
    "a Jacobian outside the Fisher": (
        "samples: 4}",
        "samples: 17}",
        11,
        14,
        "measure.jacobian.samples",
        "16",
        None,
        None,
    ),
    "sizes of a set that has its own": (
        "samples: 64",
        "samples: 64, inputs: 3",
        8,
        35,
        "data.inputs",
        "64 inputs",
        None,
        None,
    ),
    "a set without its sizes": ("digits", "gaussian", 8, 8, "data.name", "data.inputs and data.classes", None, None),
    "no seed": ("seeds: 1", "seeds: 0", 12, 1, "seeds", "at least 1", None, None),
    "negative seed": ("seeds: 1", "seeds: [-1]", 12, 9, "seeds[0]", "found -1", "at least 0", None),
    "a seed beyond 64 bits": ("seeds: 1", "seeds: [1" + "0" * 30 + "]", 12, 9, "seeds[0]", "64 bits", None, None),
    "a billion seeds": ("seeds: 1", "seeds: 1000000000", 12, 1, "seeds", "1,000,000,000", None, None),
    "half a seed": ("seeds: 1", "seeds: 2.5", 12, 1, "seeds", "whole number", None, None),
    "the name of a sweep": ("name: t\n", "name: a b\n", 1, 1, "name", "letters, digits", None, None),
    "a name with other letters": ("name: t\n", "name: süß\n", 1, 1, "name", "'süß'", None, None),
    "a slope without leaky_relu": (
        "tanh",
        "tanh\n  negative_slope: 0.1",
        6,
        3,
        "network.negative_slope",
        "no effect",
        "leaky_relu",
        None,
    ),
    "a q* without effect": ("tanh", "tanh\n  q_star: 0.1", 6, 3, "network.q_star", "no effect", "critical", None),
    "a tab": ("  depth", "\tdepth", 3, 1, "", "not valid YAML", None, None),
    "a key twice": ("seeds: 1", "seeds: 1\nseeds: 2", 13, 1, "", "duplicate key", None, None),
    "two documents": ("seeds: 1", "seeds: 1\n---\na: 1", 13, 1, "", "single document", None, None),
    "a bracket left open": ("gain: 1.0", "gain: [1, 2", 8, 5, "", "not valid YAML", None, None),
    "nested too deep": ("gain: 1.0", "gain: " + "[" * 500, 1, 1, "", "nested too deep", None, None),
    "NUL": ("gain: 1.0", "gain: \0", 7, 9, "", "U+0000", None, None),
    "a zip of two lengths": (
        "seeds: 1",
        "zip: [[depth, seeds]]\nseeds: 2",
        12,
        7,
        "zip[0]",
        "depth has 1, seed has 2",
        None,
        None,
    ),
    "a zip of nobody": ("seeds: 1", "zip: [[depth, widht]]", 12, 15, "zip[0][1]", "'widht'", None, None),
    "a zip of one": ("seeds: 1", "zip: [[depth]]", 12, 7, "zip[0]", "at least two", None, None),
    "zipped twice": (
        "seeds: 1",
        "zip: [[depth, width], [gain, depth]]",
        12,
        30,
        "zip[1][1]",
        "already in zip[0]",
        None,
        None,
    ),
    "an include of nothing": ("seeds: 1", "include: [{}]", 12, 11, "include[0]", "at least one axis", "depth", None),
    "an include of no axis": (
        "seeds: 1",
        "include: [{gain: 2, deepness: 4}]",
        12,
        21,
        "include[0].deepness",
        "no axis",
        None,
        None,
    ),
    "a wrong value included": (
        "seeds: 1",
        "include: [{gain: [2, -2]}]",
        12,
        22,
        "include[0].gain[1]",
        "positive",
        None,
        None,
    ),
    "an impossible include": (
        "seeds: 1",
        "include: [{jacobian_samples: 40}]",
        12,
        12,
        "include[0].jacobian_samples",
        "the Fisher's 16",
        None,
        None,
    ),
    "half of a zip included": (
        "seeds: 1",
        "zip: [[depth, width]]\ninclude: [{depth: 8}]",
        13,
        11,
        "include[0]",
        "moves together with width",
        None,
        None,
    ),
    "one axis by two names": (
        "seeds: 1",
        "include: [{gain: 2, network.gain: 3}]",
        12,
        21,
        "include[0].network.gain",
        "same axis",
        None,
        None,
    ),
    "everything excluded": ("seeds: 1", "exclude: [{depth: 4}]", 12, 1, "exclude", "all 1 points", None, None),
    "excluded by no axis": (
        "seeds: 1",
        "exclude: [{dpeth: 4}]",
        12,
        12,
        "exclude[0].dpeth",
        "did you mean 'depth'",
        None,
        None,
    ),
    "excluded by an empty condition": ("seeds: 1", "exclude: [{}]", 12, 11, "exclude[0]", "names no axis", None, None),
    "excluded by a wrong word": (
        "seeds: 1",
        "exclude: [{init: haar}]",
        12,
        12,
        "exclude[0].init",
        "orthogonal",
        None,
        None,
    ),
    "bounds the wrong way": (
        "seeds: 1",
        "exclude: [{gain: {min: 3, max: 2}}]",
        12,
        12,
        "exclude[0].gain",
        "above",
        None,
        None,
    ),
    "a bound misspelled": (
        "seeds: 1",
        "exclude: [{gain: {min: 3, mxa: 2}}]",
        12,
        27,
        "exclude[0].gain.mxa",
        "min and max",
        None,
        None,
    ),
    "bounds of words": ("seeds: 1", "exclude: [{init: {min: 3}}]", 12, 19, "exclude[0].init.min", "words", None, None),
    "a condition on itself": ("seeds: 1", "when: {gain: {gain: 1}}", 12, 8, "when.gain", "itself", None, None),
    "an axis every run has": ("seeds: 1", "when: {depth: {gain: 1}}", 12, 8, "when.depth", "every run has", None, None),
    "a conditional axis without value": (
        "seeds: 1",
        "when: {q_star: {gain: 1}}",
        12,
        8,
        "when.q_star",
        "no value",
        None,
        None,
    ),
    "no grid": ("seeds: 1", "grids: []", 12, 1, "grids", "found []", "a list of grids", None),
    "a grid's own name": ("seeds: 1", "grids: [{name: q}]", 12, 10, "grids[0].name", "top of the file", None, None),
    "a mistake in a grid": (
        "seeds: 1",
        "grids:\n  - network: {gain: [1, x]}",
        13,
        25,
        "grids[0].network.gain[1]",
        "'x'",
        None,
        None,
    ),
    "a mistake above a grid": ("gain: 1.0", "gain: x\ngrids: [{}]", 7, 3, "network.gain", "'x'", None, None),
    "an alias in its own anchor": ("gain: 1.0", "gain: &a [1, *a]", 7, 9, "network.gain[1]", "found null", None, None),
}


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
