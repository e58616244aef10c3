"""Networks of one's own: modules and checkpoints, known by their content, from the sweep file to the measurement."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import isosweep
from isosweep.networks.user import UserNetworkError
from isosweep.sweep import SpecError, Sweep, load
from isosweep.sweep.settings import ModuleSettings, from_json, to_json

NET = """\
import torch
from torch import nn


def make(inputs, classes, wide, bias=True, seed=None):
    return nn.Sequential(nn.Linear(inputs, wide, bias=bias), nn.Tanh(), nn.Linear(wide, classes))


def other(wide):
    return nn.Linear(64, 10)


def needy(inputs, classes, wide, deep):
    return make(inputs, classes, wide)


def wrong_size(classes):
    return nn.Sequential(nn.Linear(64, classes + 1))


def wrong_inputs(classes):
    return nn.Sequential(nn.Linear(65, classes))


def anything(inputs, classes, **options):
    return make(inputs, classes, options.get("wide", 3))


def positional(wide, /):
    return make(64, 10, wide)
"""


def numpy_state() -> Any:
    """The state of numpy's global generator."""
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002


def sweep_of(folder: Path, network: dict[str, Any], **more: Any) -> Sweep:
    path = folder / "sweep.yaml"
    measure = {"fisher": {"samples": 6}, "jacobian": {"samples": 2}}
    path.write_text(
        json.dumps(
            {"name": "t", "network": network, "data": {"name": "digits", "samples": 16}, "measure": measure, **more}
        )
    )
    return load(path)


def ids(folder: Path, network: dict[str, Any], **more: Any) -> list[str]:
    return [run.id for run in sweep_of(folder, network, **more).runs()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def test_a_module_is_measured_like_any_network(folder: Path) -> None:
    sweep = sweep_of(folder, {"module": "net:make", "wide": [3, 5]}, seeds=2)
    assert sweep.axes == ("wide", "seed")
    assert [(r.columns["module"], r.columns["wide"], r.seed) for r in sweep.runs()] == [
        ("net:make", 3, 0),
        ("net:make", 3, 1),
        ("net:make", 5, 0),
        ("net:make", 5, 1),
    ]
    run = sweep.runs()[2]
    assert isinstance(run.network, ModuleSettings)
    assert run.network.passes == ("inputs", "classes", "seed")
    network, inputs, _ = isosweep.realize(run, folder=folder)
    assert network[0].weight.shape == (5, 64)
    assert network[0].weight.dtype == inputs.dtype == torch.float64
    measured = isosweep.execute(run, folder=folder)
    assert measured.digest == isosweep.execute(from_json(to_json(run)), folder=folder).digest
    assert measured.fisher[0].eigenvalues is not None
    assert len(measured.fisher[0].eigenvalues) == min(6 * 9, sum(p.numel() for p in network.parameters()))
    assert measured.jacobian[0].singular_values.shape == (5,)


def test_its_draws_are_the_runs_own_and_the_callers_generators_are_untouched(folder: Path) -> None:
    (folder / "drawn.py").write_text(
        textwrap.dedent("""\
            import random
            import numpy, torch
            from torch import nn

            def make(inputs, classes):
                net = nn.Sequential(nn.Linear(inputs, classes))
                with torch.no_grad():
                    net[0].bias[0] = random.random()
                    net[0].bias[1] = numpy.random.rand()
                return net
            """)
    )
    first, second = sweep_of(folder, {"module": "drawn:make"}, seeds=2).runs()

    def parameters(run: Any) -> list[torch.Tensor]:
        return list(isosweep.realize(run, folder=folder).network.parameters())

    expected = parameters(first)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    torch.set_default_dtype(torch.float16)
    try:
        before = torch.get_rng_state(), random.getstate(), numpy_state()
        found = parameters(first)
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1] == random.getstate()
        assert np.array_equal(before[2], numpy_state())
        assert torch.get_default_dtype() == torch.float16
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert not torch.equal(expected[0], parameters(second)[0])
    assert expected[1][0] != expected[1][1]


def test_sources_enter_the_id_and_places_and_comments_of_others_do_not(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    network = {"module": "net:make", "wide": 3}
    before = ids(folder, network)
    (folder / "unrelated.py").write_text("x = 1\n")
    assert ids(folder, network) == before
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "net.py").write_text(NET)
    assert ids(elsewhere, network) == before
    (folder / "net.py").write_text(NET + "# changed\n")
    assert ids(folder, network) != before


def test_modules_that_it_imports_enter_the_id(folder: Path) -> None:
    (folder / "net.py").write_text("import torch, helpers\nfrom parts.inner import size\n" + NET)
    (folder / "helpers.py").write_text("import deeper\n")
    (folder / "deeper.py").write_text("x = 1\n")
    (folder / "parts").mkdir()
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "inner.py").write_text("size = 3\n")
    network = {"module": "net:make", "wide": 3}
    seen = {tuple(ids(folder, network))}
    for file, text in (
        ("helpers.py", "import deeper  # 2\n"),
        ("deeper.py", "x = 2\n"),
        ("parts/inner.py", "size = 4\n"),
        ("parts/new.py", ""),
    ):
        (folder / file).write_text(text)
        seen.add(tuple(ids(folder, network)))
    assert len(seen) == 5
    (folder / "helpers.py").write_text("def broken(:\n")
    with pytest.raises(SpecError, match=r"helpers\.py:1: "):
        ids(folder, network)


def test_a_package_is_known_by_all_of_its_files(folder: Path) -> None:
    package = folder / "mine" / "sub"
    package.mkdir(parents=True)
    (folder / "mine" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text("from ..tools import width\n" + NET)
    (folder / "mine" / "tools.py").write_text("width = 3\n")
    network = {"module": "mine.sub.nets:make", "wide": 3}
    before = ids(folder, network)
    assert isosweep.realize(sweep_of(folder, network).runs()[0], folder=folder).network[0].out_features == 3
    (folder / "mine" / "tools.py").write_text("width = 4\n")
    assert ids(folder, network) != before


def test_a_module_of_the_same_name_imported_before_is_not_taken_for_it(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    network = {"module": "net:make", "wide": 3}
    one = sweep_of(folder, network).runs()[0]
    assert isinstance(isosweep.realize(one, folder=folder).network[1], torch.nn.Tanh)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "net.py").write_text(NET.replace("nn.Tanh()", "nn.ReLU()"))
    other = sweep_of(elsewhere, network).runs()[0]
    assert isinstance(isosweep.realize(other, folder=elsewhere).network[1], torch.nn.ReLU)
    assert isinstance(isosweep.realize(one, folder=folder).network[1], torch.nn.Tanh)
    (folder / "net.py").write_text(NET.replace("nn.Tanh()", "nn.SiLU()"))
    changed = sweep_of(folder, network).runs()[0]
    assert isinstance(isosweep.realize(changed, folder=folder).network[1], torch.nn.SiLU)
    with pytest.raises(UserNetworkError, match="changed since the run was planned"):
        isosweep.realize(one, folder=folder)
    assert not (folder / "__pycache__").exists()


def test_arguments_are_values_not_spellings(folder: Path) -> None:
    assert ids(folder, {"module": "net:make", "wide": 3.0}) == ids(folder, {"module": "net:make", "wide": "6/2"})
    assert ids(folder, {"module": "net:make", "wide": {"linspace": [3, 5, 3]}}) == ids(
        folder, {"module": "net:make", "wide": [3, 4.0, 5]}
    )
    sweep = sweep_of(folder, {"module": "net:make", "wide": 3, "bias": [True, 1, False, "1"]})
    assert len(sweep.runs()) == 4
    assert sweep.axes == ("bias",)
    kept = sweep_of(folder, {"module": "net:make", "wide": 3, "bias": [True, 1]}, exclude=[{"bias": True}]).runs()
    assert [run.columns["bias"] for run in kept] == [1]
    assert not isinstance(kept[0].columns["bias"], bool)


def test_arguments_may_have_the_names_of_a_dense_networks_axes(folder: Path) -> None:
    (folder / "own.py").write_text("def make(depth, q_star, gain): ...\n")
    sweep = sweep_of(
        folder,
        {"module": "own:make", "depth": [0, 0.5], "q_star": [-1, 2], "gain": "any"},
        exclude=[{"depth": {"min": 0.1}, "q_star": 2}],
        include=[{"gain": "other", "depth": -3}],
    )
    assert [(r.columns["depth"], r.columns["q_star"], r.columns["gain"]) for r in sweep.runs()] == [
        (0, -1, "any"),
        (0, 2, "any"),
        (0.5, -1, "any"),
        (-3, -1, "other"),
        (-3, 2, "other"),
    ]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no module": ({"module": "nett:make"}, "no module 'nett'"),
    "no function": ({"module": "net:mke"}, "did you mean 'make'"),
    "no form": ({"module": "net"}, "package.module:function"),
    "an argument it lacks": ({"module": "net:make", "wide": 3, "deep": 1}, "takes no argument 'deep'"),
    "an argument misspelled": ({"module": "net:make", "wied": 3}, "did you mean 'wide'"),
    "an argument missing": ({"module": "net:needy", "wide": 3}, "needs deep"),
    "positional": ({"module": "net:positional", "wide": 3}, "positional-only"),
    "a name that is taken": ({"module": "net:anything", "data_samples": 3}, "data_samples is taken by data.samples"),
    "the seed": ({"module": "net:make", "wide": 3, "seed": 3}, "seed is taken by seeds"),
    "a list of lists": ({"module": "net:make", "wide": [[3]]}, "single values"),
    "null": ({"module": "net:make", "wide": None}, "no value"),
    "not a number": ({"module": "net:make", "wide": [float("nan")]}, "finite"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_before_anything_is_submitted(folder: Path, what: str) -> None:
    network, words = WRONG[what]
    text = json.dumps(network).replace("NaN", ".nan")
    path = folder / "sweep.yaml"
    path.write_text(f'{{"name": "t", "network": {text}, "data": {{"name": "digits"}}}}')
    with pytest.raises(SpecError, match=r"sweep\.yaml:1:") as caught:
        load(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("other", "returned Linear"),
        ("wrong_size", r"outputs of shape \(1, 11\)"),
        ("wrong_inputs", "cannot take inputs"),
    ],
)
def test_what_is_no_network_of_the_right_size_is_told(folder: Path, function: str, words: str) -> None:
    network: dict[str, Any] = {"module": f"net:{function}"}
    if function == "other":
        network["wide"] = 3
    (run,) = sweep_of(folder, network).runs()
    with pytest.raises(UserNetworkError, match=words):
        isosweep.realize(run, folder=folder)


def test_any_keyword_is_passed(folder: Path) -> None:
    (run,) = sweep_of(folder, {"module": "net:anything", "wide": 4}).runs()
    assert isosweep.realize(run, folder=folder).network[0].out_features == 4


def test_planning_runs_none_of_the_users_code(folder: Path) -> None:
    (folder / "net.py").write_text("raise SystemExit('imported')\n" + NET)
    assert ids(folder, {"module": "net:make", "wide": 3})


def test_a_fixed_point_is_not_known_of_ones_own_network(folder: Path) -> None:
    with pytest.raises(SpecError, match="network of your own"):
        sweep_of(folder, {"module": "net:make", "wide": 3}, data={"name": "digits", "scale": "fixed_point"})
    data = {"name": "digits", "scale": "fixed_point_or_unit"}
    assert sweep_of(folder, {"module": "net:make", "wide": 3}, data=data).runs()[0].data.scale == "unit"


# ---- checkpoints

DENSE = {"depth": 2, "width": 5, "activation": "tanh"}


def trained(
    folder: Path, name: str = "weights.safetensors", dtype: torch.dtype = torch.float32, **changes: Any
) -> Path:
    (run,) = sweep_of(folder, {**DENSE, "init": "gaussian", "gain": 1.3, "bias_std": 0.2, **changes}).runs()
    state = {
        key: value.detach().to(dtype).contiguous() for key, value in isosweep.realize(run).network.state_dict().items()
    }
    save_file(state, folder / name)
    return folder / name


def test_a_checkpoint_gives_the_weights(folder: Path) -> None:
    path = trained(folder, dtype=torch.float64)
    (run,) = sweep_of(folder, {**DENSE, "checkpoint": "weights.safetensors"}).runs()
    (original,) = sweep_of(folder, {**DENSE, "init": "gaussian", "gain": 1.3, "bias_std": 0.2}).runs()
    for a, b in zip(
        isosweep.realize(run).network.parameters(), isosweep.realize(original).network.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    assert isosweep.execute(run).digest == isosweep.execute(original).digest
    assert run.columns["init"] is None
    # it is known by its content, wherever it lies
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "w").write_bytes(path.read_bytes())
    both = sweep_of(folder, {**DENSE, "checkpoint": ["weights.safetensors", str(folder / "elsewhere" / "w")]})
    assert (len(both.runs()), both.duplicates) == (1, 1)
    trained(folder, gain=1.4)
    assert ids(folder, {**DENSE, "checkpoint": "weights.safetensors"}) != [run.id]
    with pytest.raises(UserNetworkError, match="changed since the run was planned"):
        isosweep.realize(run)


def test_a_checkpoint_for_a_module(folder: Path) -> None:
    first = sweep_of(folder, {"module": "net:make", "wide": 3}, seeds=[4]).runs()[0]
    save_file(
        {k: v.contiguous() for k, v in isosweep.realize(first, folder=folder).network.state_dict().items()},
        folder / "w",
    )
    (run,) = sweep_of(folder, {"module": "net:make", "wide": 3, "checkpoint": "w"}).runs()
    for a, b in zip(
        isosweep.realize(run, folder=folder).network.parameters(),
        isosweep.realize(first, folder=folder).network.parameters(),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert run.id != first.id


def test_wrong_checkpoints_are_told(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"checkpoint: cannot read the checkpoint .*/none"):
        sweep_of(folder, {**DENSE, "checkpoint": "none"})
    trained(folder)
    for axis, value in (("gain", 1.0), ("init", "gaussian"), ("bias_std", 0.1)):
        with pytest.raises(SpecError, match=f"network.{axis}: without effect"):
            sweep_of(folder, {**DENSE, "checkpoint": "weights.safetensors", axis: value})
    for changes, words in (({"depth": 3}, "lacks"), ({"depth": 1}, "besides"), ({"width": 6}, "has shape")):
        (run,) = sweep_of(folder, {**DENSE, **changes, "checkpoint": "weights.safetensors"}).runs()
        with pytest.raises(UserNetworkError, match=words):
            isosweep.realize(run)
    (folder / "weights.safetensors").write_bytes(b"no tensors")
    (run,) = sweep_of(folder, {**DENSE, "checkpoint": "weights.safetensors"}).runs()
    with pytest.raises(UserNetworkError, match="no safetensors file"):
        isosweep.realize(run)


def test_realize_under_another_default_device_reads_a_checkpoint(folder: Path) -> None:
    trained(folder)
    (run,) = sweep_of(folder, {**DENSE, "checkpoint": "weights.safetensors"}).runs()
    torch.set_default_device("meta")
    try:
        network = isosweep.realize(run).network
    finally:
        torch.set_default_device(None)
    assert all(p.device.type == "cpu" for p in network.parameters())


def test_a_module_is_found_on_the_python_path_too(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("sweeps")
    sweep_of(folder, {"module": "net:make", "wide": 3})
    (elsewhere / "sweep.yaml").write_bytes((folder / "sweep.yaml").read_bytes())
    program = (
        f"import sys; sys.path.append({str(folder)!r}); import isosweep; "
        "print(isosweep.load('sweep.yaml').runs()[0].id)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=elsewhere, capture_output=True, text=True, check=True
    ).stdout
    assert shown.split() == ids(folder, {"module": "net:make", "wide": 3})
