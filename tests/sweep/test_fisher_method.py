"""`measure.fisher.method: auto`: chosen from shapes before launch, a setting of the run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sweep_files import loaded, spec

from isosweep.curvature.chain import chain_of
from isosweep.curvature.fisher import _problem
from isosweep.curvature.memory import dual_bytes
from isosweep.networks.realize import realize
from isosweep.sweep import SpecError


def methods(**fisher: Any) -> list[tuple[int, str, str]]:
    made = spec(network__depth=[2, 8], network__width=50, **{f"measure__fisher__{k}": v for k, v in fisher.items()})
    return [
        (run.columns["depth"], run.columns["fisher_method"], run.columns["fisher_layers"])
        for run in loaded(made).runs()
    ]


def test_auto_is_resolved_by_the_shapes_and_the_budget() -> None:
    assert methods(method="auto") == [(2, "dual", "summary"), (8, "dual", "summary")]
    assert methods(method="auto", memory=1.4e-3, likelihood="gaussian") == [
        (2, "lanczos", "none"),
        (8, "lanczos", "none"),
    ]


def test_auto_gives_the_run_that_naming_the_method_gives() -> None:
    by_budget = loaded(spec(measure__fisher__method="auto")).runs()
    assert [run.id for run in by_budget] == [run.id for run in loaded(spec()).runs()]
    small = {"network__width": 40, "measure__fisher__method": "auto", "measure__fisher__memory": 1e-3}
    named = {"network__width": 40, "measure__fisher__method": "lanczos"}
    assert [run.id for run in loaded(spec(**small)).runs()] == [run.id for run in loaded(spec(**named)).runs()]


@pytest.mark.parametrize(("centred", "parameters"), [(False, "all"), (True, "weights")])
def test_the_rule_counts_what_the_engine_holds(centred: bool, parameters: Any) -> None:
    """The sweep's count, from the file alone, is the engine's, from the network."""
    made = spec(measure__fisher__centred=centred, measure__fisher__parameters=parameters)
    (run,) = loaded(made).runs()
    network, inputs, _ = realize(run)
    with torch.no_grad():
        chain = chain_of(network, inputs)
    per_sample = 10 if centred else 9
    need = dual_bytes(_problem(chain, inputs, per_sample, parameters, True)) / 2**30
    for share, method in ((1 + 1e-9, "dual"), (1 - 1e-9, "lanczos")):
        made["measure"]["fisher"] |= {"method": "auto", "memory": need * share}
        assert loaded(made).runs()[0].columns["fisher_method"] == method


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "auto", "memory": 1e-6}, "even the matrix-free method needs"),
        ({"method": "lanczos", "layers": "spectrum"}, "no spectra of the layers' blocks"),
        ({"method": "lanczos", "leading": 30, "steps": 20}, "20 steps cannot show 30"),
        ({"method": "lanczos", "damping": 0.1}, "set probes"),
        ({"centred": True, "bounds": True}, "the bounds are of the true Fisher"),
        ({"memory": 4}, "fisher_memory has no effect"),
        ({"leading": 4}, "fisher_leading has no effect"),
        ({"method": "exact"}, "dual, lanczos, auto"),
        ({"bounds": "yes"}, "true or false"),
        ({"damping": 0}, "greater than 0"),
    ],
    ids=str,
)
def test_mistakes(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        loaded(spec(**{f"measure__fisher__{k}": v for k, v in changes.items()}))
