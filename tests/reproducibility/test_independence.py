"""What a digest does not depend on, over random sweeps: order, company, threads, cores, the caller, restarts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from faults import run_and_kill
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import isosweep
from isosweep.measurement.determinism import NondeterministicOperation, deterministic, flags
from isosweep.sweep.settings import Run, to_json

from .conftest import OWN, records

# A user's network that draws from every global generator, and an activation of every kind of kernel.
NETWORKS = st.one_of(
    st.fixed_dictionaries(
        {
            "depth": st.integers(1, 4),
            "width": st.sampled_from([1, 3, 16, 33, 65]),
            "activation": st.sampled_from(["tanh", "relu", "gelu", "softplus", "elu", "sin", "hard_tanh"]),
            "init": st.sampled_from(["orthogonal", "gaussian"]),
            "gain": st.sampled_from([0.5, 1.0, 2.5]),
            "bias_std": st.sampled_from([0.0, 0.3]),
        }
    ),
    st.fixed_dictionaries({"module": st.just("own:build"), "gain": st.sampled_from([0.7, 1.3])}),
)
DATA = st.sampled_from(
    [{"name": "digits", "samples": 40}, {"name": "gaussian", "samples": 30, "inputs": 9, "classes": 4}]
)
MEASURES = st.fixed_dictionaries(
    {
        "fisher": st.fixed_dictionaries(
            {
                "samples": st.integers(3, 17),
                "likelihood": st.sampled_from(["categorical", "gaussian"]),
                "layers": st.sampled_from(["summary", "spectrum", "none"]),
            }
        ),
        "jacobian": st.fixed_dictionaries({"samples": st.integers(1, 3)}),
        "dtype": st.sampled_from(["float64", "float32"]),
    }
)
SWEEPS = st.fixed_dictionaries(
    {
        "name": st.just("random"),
        "grids": st.lists(st.fixed_dictionaries({"network": NETWORKS}), min_size=1, max_size=3),
        "data": DATA,
        "measure": MEASURES,
        "seeds": st.integers(1, 2),
    }
)


def runs_of(folder: Path, spec: dict[str, Any]) -> list[Run]:
    """The runs of all its grids, each a sweep file of its own."""
    (folder / "own.py").write_text(OWN)
    (folder / "sizes.py").write_text("WIDTH = 6\n")
    found: dict[str, Run] = {}
    for number, grid in enumerate(spec["grids"]):
        path = folder / f"{number}.yaml"
        path.write_text(json.dumps({**{k: v for k, v in spec.items() if k != "grids"}, **grid}))
        found |= {run.id: run for run in isosweep.load(path).runs()}
    return list(found.values())


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    assert torch.get_num_threads() == count
    torch.set_num_threads(before)


@contextmanager
def _dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    assert torch.get_default_dtype() == dtype
    torch.set_default_dtype(before)


@contextmanager
def _device() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    assert torch.get_default_device().type == "meta"
    torch.set_default_device(None)


@contextmanager
def _denormals() -> Iterator[None]:
    torch.set_flush_denormal(True)
    yield
    assert sys.float_info.min * float("0.5") == 0
    torch.set_flush_denormal(False)


@contextmanager
def _mkldnn() -> Iterator[None]:
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    yield
    assert not torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = True  # type: ignore[assignment]


@contextmanager
def _drawn(seed: int) -> Iterator[None]:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    expected = torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()  # noqa: NPY002
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    yield
    # the caller's generators are where it had them
    assert (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()) == expected  # noqa: NPY002


STATES: dict[str, Callable[[], Any]] = {
    "1 thread": lambda: _threads(1),
    "2 threads": lambda: _threads(2),
    "7 threads": lambda: _threads(7),
    "float16 by default": lambda: _dtype(torch.float16),
    "float64 by default": lambda: _dtype(torch.float64),
    "another device": _device,
    "denormals flushed": _denormals,
    "no mkldnn": _mkldnn,
    "drawn 3": lambda: _drawn(3),
    "drawn 4": lambda: _drawn(4),
}
# A failing example is shown as it is: making it smaller would take as long again as finding it.
LAW = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)


@LAW
@given(spec=SWEEPS, state=st.sampled_from(sorted(STATES)), order=st.randoms(use_true_random=False))
def test_not_on_order_nor_on_the_callers_state(spec: dict[str, Any], state: str, order: random.Random) -> None:
    with tempfile.TemporaryDirectory() as place:
        runs = runs_of(Path(place), spec)
        expected = {run.id: isosweep.execute(run, folder=place).digest for run in runs}
        shuffled = [*runs, runs[0]]
        order.shuffle(shuffled)
        with STATES[state]():
            found = [(run.id, isosweep.execute(run, folder=place).digest) for run in shuffled]
        assert found == [(run.id, expected[run.id]) for run in shuffled]
        assert len(set(expected.values())) == len(runs)  # another seed, another network: another digest


@LAW
@given(spec=SWEEPS, company=st.integers(2, 5))
def test_not_on_other_runs_at_the_same_time(spec: dict[str, Any], company: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        runs = runs_of(Path(place), spec)
        expected = [isosweep.execute(run, folder=place).digest for run in runs]
        with ThreadPoolExecutor(company) as pool:
            found = list(pool.map(lambda run: isosweep.execute(run, folder=place).digest, runs * 2))
        assert found == expected * 2


@settings(LAW, max_examples=2)
@given(spec=SWEEPS, threads=st.sampled_from([2, 7]))
def test_not_on_cores_nor_on_another_processs_threads(spec: dict[str, Any], threads: int) -> None:
    """In a process bound to one core and told to use so many threads."""
    with tempfile.TemporaryDirectory() as place:
        runs = runs_of(Path(place), spec)
        program = (
            "import os, sys, json; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import isosweep\n"
            "from isosweep.sweep.settings import from_json\n"
            "print(json.dumps([isosweep.execute(from_json(line)).digest for line in sys.stdin]))"
        )
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        shown = subprocess.run(
            [sys.executable, "-c", program],
            input="\n".join(map(to_json, runs)),
            cwd=place,
            env={**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        expected = [isosweep.execute(run, folder=place).digest for run in runs]
        # the user's network asks the order of a set, which a process decides for itself; a launch's decide alike
        own = ["module" in run.columns for run in runs]
        found = json.loads(shown.stdout)
        assert [d for d, o in zip(found, own, strict=True) if not o] == [
            d for d, o in zip(expected, own, strict=True) if not o
        ]


@pytest.mark.slow
def test_not_on_restarts(command: Command) -> None:
    """Workers killed in the middle of runs, launched again until all is there: the digests of an undisturbed launch."""
    command.write("own.py", OWN)
    command.write("sizes.py", "WIDTH = 6\n")
    spec = 'name: own\nnetwork: {module: "own:build", gain: [0.5, 1.0, 1.5, 2.0]}\nseeds: 6\n'
    spec += "data: {name: digits, samples: 64}\nmeasure: {fisher: {samples: 30}, jacobian: {samples: 4}}\n"
    command.write("own.yaml", spec)
    command.run("launch", "own.yaml", "--local", "--store", "calm", "--workers", 1)
    killed = 0
    for count in (3, 9):
        arguments = command.arguments("launch", "own.yaml", "--local", "--runs-per-task", 3, "--workers", 2)
        done, _ = run_and_kill(
            arguments,
            lambda count=count: len(records(command.folder)) >= count,
            number=signal.SIGKILL,
            cwd=command.folder,
            timeout=240,
        )
        killed += done
    assert killed
    assert len(records(command.folder)) < 24
    command.run("launch", "own.yaml", "--local", "--runs-per-task", 5)

    def digests(store: str) -> dict[str, str]:
        import pyarrow.parquet as pq

        command.run("collect", "own.yaml", "--store", store, "--out", f"{store}-tables", "-q")
        rows = pq.read_table(command.folder / f"{store}-tables" / "runs.parquet").to_pylist()
        return {row["run_id"]: row["digest"] for row in rows}

    calm, stormy = digests("calm"), digests("isosweep-store")
    assert None not in calm.values()
    assert stormy == calm


# ---- operations and seeds


def test_an_operation_without_a_deterministic_version_names_itself() -> None:
    values = torch.zeros(3)
    values.put_(torch.tensor([1]), torch.tensor([1.0]))
    named = "put_ does not have a deterministic implementation"
    with pytest.raises(NondeterministicOperation, match=named) as found, deterministic():
        values.put_(torch.tensor([1]), torch.tensor([1.0]))
    assert found.traceback[-1].path.name == "test_independence.py"
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="another") as plain, deterministic():
        raise RuntimeError("another")
    assert type(plain.value) is RuntimeError


PUTS = """\
import torch
from torch import nn

def build(inputs, classes, puts=False):
    layer = nn.Linear(inputs, classes)
    if puts:
        with torch.no_grad():
            layer.bias.put_(torch.tensor([0]), layer.bias.new_ones(1))
    return nn.Sequential(layer)
"""


def test_it_fails_the_run_that_uses_it_and_no_other(command: Command) -> None:
    command.write("puts.py", PUTS)
    command.write(
        "puts.yaml",
        'name: puts\nnetwork: {module: "puts:build", puts: [true, false]}\n'
        "data: {name: digits, samples: 8}\nmeasure: {fisher: {samples: 4}}\n",
    )
    command.run("launch", "puts.yaml", "--local", check=3)
    (group,) = command.json("status", "puts.yaml", check=3)["failures"]
    assert group["runs"] == 1
    assert "put_ does not have a deterministic implementation" in group["cause"]
    assert "puts.py, line 8" in group["cause"]
    assert len(records(command.folder)) == 1


def test_every_generator_of_the_process_begins_with_the_runs_seed() -> None:
    def drawn(seed: int) -> list[Any]:
        with deterministic(seed):
            return [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]  # noqa: NPY002

    one = drawn(5)
    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    assert drawn(5) == one
    assert all(a != b for a, b in zip(one, drawn(6), strict=True))


def test_the_switches_are_told_as_they_stand() -> None:
    with deterministic():
        inside = flags("cuda")
    assert "deterministic_algorithms=true" in inside
    assert "matmul.fp32=ieee" in inside
    assert "cudnn.benchmark=false" in inside
    assert "cublas_workspace=:4096:8" in inside
    assert "deterministic_algorithms=false" in flags()


# Prints what torch's compiler says of its own switch when it comes before, within or after, and what a run imports.
COMPILER = """
import sys, torch
from isosweep.measurement.determinism import deterministic

when = sys.argv[1]
def told():
    import torch._inductor.config as compiler
    return compiler.deterministic

if when == "before":
    told()
with deterministic():
    assert torch.are_deterministic_algorithms_enabled()
    loaded = sorted({"torch._inductor", "sklearn"} & set(sys.modules))
    inside = told() if when != "after" else None
assert not torch.are_deterministic_algorithms_enabled()
print(loaded, inside, told())
"""


@pytest.mark.parametrize(
    ("when", "said"),
    [("before", "['torch._inductor'] True False"), ("within", "[] True False"), ("after", "[] None False")],
)
def test_the_compiler_is_told_and_not_imported_for_it(when: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", COMPILER, when], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said
