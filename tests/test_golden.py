"""Ids and numbers of twenty runs, kept: a change in any is a new measurement version, or a mistake."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from regenerate import KEPT, SWEEP, close, numbers  # type: ignore[import-not-found]

import isosweep
from isosweep.sweep.identity import MEASUREMENT_VERSION
from isosweep.sweep.settings import Run, from_json, to_json

GOLDEN = json.loads(KEPT.read_text())
RUNS: dict[str, Run] = {run.id: run for run in isosweep.load(SWEEP).runs()}

WHAT_TO_DO = """
A result moved, or a run id did. If that was not meant, it is a bug: mend it. If it was meant, records that exist are no
longer what this code computes: add a version to MEASUREMENT_VERSIONS in isosweep/sweep/identity.py, say there what
changed, then run `python tests/golden/regenerate.py`."""


def test_the_golden_values_are_those_of_this_measurement_version() -> None:
    assert GOLDEN["measurement_version"] == MEASUREMENT_VERSION, (
        f"golden.json is of version {GOLDEN['measurement_version']}: run `python tests/golden/regenerate.py`"
    )


def test_run_ids_are_as_they_were() -> None:
    assert len(GOLDEN["runs"]) == 20
    assert list(RUNS) == list(GOLDEN["runs"]), WHAT_TO_DO


@pytest.mark.parametrize("id_", GOLDEN["runs"])
def test_settings_are_as_they_were(id_: str) -> None:
    kept = copy.deepcopy(GOLDEN["runs"][id_]["settings"])
    assert from_json(json.dumps(kept)).id == id_
    now = json.loads(to_json(RUNS[id_]))
    # a solved gain may differ in its last bits from machine to machine; the rule is what enters the id
    for part, name in (("network", "gain"), ("network", "bias_std"), ("data", "mean_square")):
        solved, before = now[part].pop(name), kept[part].pop(name)
        assert solved == (before and pytest.approx(before, rel=1e-12)), WHAT_TO_DO
    assert now == kept, WHAT_TO_DO


@pytest.mark.parametrize("id_", GOLDEN["runs"])
def test_numbers_are_as_they_were(id_: str) -> None:
    run, kept = RUNS[id_], GOLDEN["runs"][id_]["numbers"]
    found = numbers(run)
    assert found.keys() == kept.keys(), WHAT_TO_DO
    moved = {name: (found[name], kept[name]) for name in kept if not close(found[name], kept[name], run.measure.dtype)}
    assert not moved, f"(found, kept) of {run.columns}: {moved}{WHAT_TO_DO}"
