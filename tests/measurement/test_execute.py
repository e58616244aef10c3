"""`execute`, from the sweep file to the digest: against explicit Jacobians, and the same bits whatever surrounds it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import isosweep
from isosweep.measurement import environment
from isosweep.measurement.environment import environment_class, fingerprint
from isosweep.measurement.measurement import Measurement
from isosweep.sweep import load
from isosweep.sweep.settings import Run


def runs_of(folder: Path, **changes: Any) -> tuple[Run, ...]:
    network = {"depth": 3, "width": 7, "activation": "tanh", "init": "gaussian", "gain": 1.3, "bias_std": 0.2}
    spec: dict[str, Any] = {
        "name": "t",
        "network": {**network, **changes.pop("network", {})},
        "data": {"name": "gaussian", "inputs": 6, "classes": 3, "samples": 30},
        "measure": {"fisher": {"samples": 5, "layers": "spectrum"}, "jacobian": {"samples": 3}},
        **changes,
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(spec))
    return load(path).runs()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs_of(tmp_path)[0]


def explicit_fisher(run: Run) -> tuple[Tensor, list[str]]:
    """(1/n) Σ Jᵢᵀ Hᵢ Jᵢ as a whole P × P matrix, and which layer each parameter is of."""
    network, inputs, _ = isosweep.realize(run)
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    owners = [name.split(".")[0] for name, p in parameters.items() for _ in range(p.numel())]
    total = torch.zeros(len(owners), len(owners), dtype=torch.float64)
    for x in inputs:
        jacobian = torch.func.jacrev(lambda values, x=x: torch.func.functional_call(network, values, (x,)))(parameters)
        j = torch.cat([part.detach().flatten(1) for part in jacobian.values()], dim=1)
        assert run.measure.fisher is not None
        if run.measure.fisher.likelihood == "gaussian":
            total += j.T @ j
        else:
            p = torch.softmax(network(x).detach(), dim=0)
            total += j.T @ (torch.diag(p) - torch.outer(p, p)) @ j
    return total / len(inputs), owners


def eigenvalues(matrix: Tensor, count: int) -> np.ndarray:
    values = torch.linalg.eigvalsh(matrix).flip(0).clamp_min(0)
    found = np.zeros(count)
    found[: min(count, len(values))] = values[:count].numpy()
    return found


VARIED = [
    {},
    {"network": {"activation": "relu"}},
    {"network": {"activation": "gelu", "init": "orthogonal", "bias_std": 0.0}},
    {"network": {"depth": 1, "width": 12}},
    {"network": {"width": 2, "activation": "sin"}},
    {"network": {"activation": "leaky_relu", "negative_slope": 0.3, "gain": "critical", "bias_std": 0}},
]


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
@pytest.mark.parametrize("changes", VARIED, ids=str)
def test_fisher_eigenvalues_are_those_of_the_whole_matrix(
    tmp_path: Path, likelihood: str, changes: dict[str, Any]
) -> None:
    measure = {"fisher": {"samples": 5, "layers": "spectrum", "likelihood": likelihood}}
    (run,) = runs_of(tmp_path, measure=measure, **changes)
    matrix, owners = explicit_fisher(run)
    measured = isosweep.execute(run)
    blocks = {block.block: block for block in measured.fisher}
    assert list(blocks) == ["all", *dict.fromkeys(owners)]
    for name, block in blocks.items():
        chosen = [i for i, owner in enumerate(owners) if name in ("all", owner)]
        part = matrix[np.ix_(chosen, chosen)]
        assert block.eigenvalues is not None
        assert len(block.eigenvalues) == min(5 * (2 if likelihood == "categorical" else 3), len(chosen))
        expected = eigenvalues(part, len(block.eigenvalues))
        np.testing.assert_allclose(block.eigenvalues, expected, rtol=1e-9, atol=1e-13 * expected[0])
        assert (np.diff(block.eigenvalues) <= 0).all()
        assert block.lambda_max == pytest.approx(expected[0], rel=1e-12)
        assert block.trace == pytest.approx(float(torch.trace(part)), rel=1e-12)
    assert not measured.jacobian
    assert measured.scalars["fisher_parameters"] == len(owners)
    assert measured.scalars["fisher_frobenius"] == pytest.approx(float(torch.linalg.matrix_norm(matrix)), rel=1e-12)


@pytest.mark.parametrize("layers", ["summary", "none"])
def test_the_layers_spectra_are_only_what_was_asked_for(tmp_path: Path, layers: str) -> None:
    whole = isosweep.execute(runs_of(tmp_path)[0])
    found = isosweep.execute(runs_of(tmp_path, measure={"fisher": {"samples": 5, "layers": layers}})[0])
    expected = whole.fisher[:1] if layers == "none" else whole.fisher
    assert [b.block for b in found.fisher] == [b.block for b in expected]
    for a, b in zip(found.fisher, expected, strict=True):
        assert (a.eigenvalues is None) == (layers == "summary" and a.block != "all")
        assert a.lambda_max == pytest.approx(b.lambda_max, rel=1e-12)
        assert a.trace == pytest.approx(b.trace, rel=1e-12)
        assert a.rank == b.rank


@pytest.mark.parametrize("changes", VARIED, ids=str)
def test_jacobian_singular_values_are_those_of_the_explicit_jacobian(tmp_path: Path, changes: dict[str, Any]) -> None:
    (run,) = runs_of(tmp_path, **changes)
    network, inputs, _ = isosweep.realize(run)
    measured = isosweep.execute(run)
    assert [sample.sample for sample in measured.jacobian] == [0, 1, 2]
    hidden = network[:-1]
    largest = []
    for sample, x in zip(measured.jacobian, inputs, strict=False):
        expected = torch.linalg.svdvals(torch.func.jacrev(hidden)(x).detach()).numpy()
        np.testing.assert_allclose(sample.singular_values, expected, rtol=1e-10, atol=1e-15 * expected[0])
        shown = expected > 1e-10 * expected[0]
        np.testing.assert_allclose(sample.log_singular_values[shown], np.log(expected[shown]), rtol=0, atol=1e-9)
        largest.append(expected[0])
    assert measured.scalars["jacobian_s_max"] == pytest.approx(max(largest), rel=1e-12)
    assert measured.scalars["jacobian_log_s_max"] == pytest.approx(math.log(max(largest)), abs=1e-12)
    finite = [v for s in measured.jacobian for v in s.log_singular_values if v != -math.inf]
    assert measured.scalars["jacobian_log_s_min"] == min(finite)
    assert measured.scalars["jacobian_rank"] == min(
        int((s.log_singular_values > -math.inf).sum()) for s in measured.jacobian
    )


@pytest.mark.parametrize("changes", VARIED, ids=str)
def test_lengths_and_correlations_by_layer(tmp_path: Path, changes: dict[str, Any]) -> None:
    (run,) = runs_of(tmp_path, **changes)
    network, h, _ = isosweep.realize(run)
    measured = iter(isosweep.execute(run).layers)
    number = 0
    for name, module in network.named_children():
        h = module(h).detach()
        if isinstance(module, torch.nn.Linear):
            number += 1
            layer = next(measured)
            assert (layer.layer, layer.block, layer.step) == (number, name, 0)
            assert layer.q == pytest.approx(float((h**2).sum(dim=1).mean() / h.shape[1]), rel=1e-12)
            cosines = [
                float(torch.nn.functional.cosine_similarity(h[i], h[j], dim=0)) for i in range(5) for j in range(i)
            ]
            assert layer.correlation == pytest.approx(np.mean(cosines), rel=1e-10, abs=1e-12)
    assert next(measured, None) is None


def test_only_the_jacobian(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, measure={"jacobian": {"samples": 3}})
    measured = isosweep.execute(run)
    assert not measured.fisher
    assert len(measured.jacobian) == 3
    assert len(measured.layers) == 4


# ---- bits


def same(expected: Measurement, found: Measurement) -> None:
    for (name, a), (other, b) in zip(expected.arrays(), found.arrays(), strict=True):
        assert name == other
        assert a.tobytes() == b.tobytes(), name
    assert expected.digest == found.digest


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@contextmanager
def matmul_precision(word: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(word)
    yield
    assert torch.get_float32_matmul_precision() == word
    torch.set_float32_matmul_precision(before)


@contextmanager
def generators_used() -> Iterator[None]:
    torch.manual_seed(7)
    torch.rand(3)
    np.random.seed(7)  # noqa: NPY002
    yield


@contextmanager
def algorithms() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)


AROUND: dict[str, Callable[[], Any]] = {
    "global generators used": generators_used,
    "1 thread": lambda: threads(1),
    "2 threads": lambda: threads(2),
    "4 threads": lambda: threads(4),
    "float16 by default": lambda: default_dtype(torch.float16),
    "float64 by default": lambda: default_dtype(torch.float64),
    "another device by default": default_device,
    "medium precision": lambda: matmul_precision("medium"),
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "warn only": algorithms,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("around", AROUND)
def test_the_same_bits_whatever_stands_around(tmp_path: Path, around: str, dtype: str) -> None:
    (run,) = runs_of(
        tmp_path,
        network={"width": 40, "depth": 5},
        data={"name": "digits", "samples": 100},
        measure={"fisher": {"samples": 12, "layers": "spectrum"}, "jacobian": {"samples": 4}, "dtype": dtype},
    )
    expected = isosweep.execute(run)
    with AROUND[around]():
        found = isosweep.execute(run)
    same(expected, found)


def test_the_same_bits_in_any_order_and_in_company(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, network={"width": [5, 30], "activation": ["tanh", "relu"]}, seeds=2)
    alone = [isosweep.execute(run) for run in runs]
    for run, expected in reversed(list(zip(runs, alone, strict=True))):
        same(expected, isosweep.execute(run))
    # and at the same time, in threads of one process: the switches stay set until the last is done
    with ThreadPoolExecutor(4) as pool:
        for expected, found in zip(alone, pool.map(isosweep.execute, runs), strict=True):
            same(expected, found)
    assert not torch.are_deterministic_algorithms_enabled()
    assert len({m.digest for m in alone}) == len(runs)


def test_the_same_bits_in_another_process_with_other_threads(tmp_path: Path, run: Run) -> None:
    expected = isosweep.execute(run).digest
    program = "import isosweep; print(isosweep.execute(isosweep.load('sweep.yaml').runs()[0]).digest)"
    threads_of_all = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
    shown = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, **threads_of_all},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == expected


def test_the_callers_switches_are_as_before(run: Run) -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    try:
        isosweep.execute(run)
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()
        with pytest.raises(Exception, match="nowhere"):
            isosweep.execute(
                dataclasses.replace(run, data=dataclasses.replace(run.data, name="mnist", root="/nowhere"))
            )
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = False


def test_one_flipped_bit_anywhere_is_another_digest(run: Run) -> None:
    measured = isosweep.execute(run)
    digest = measured.digest

    def flipped(array: np.ndarray, at: int) -> np.ndarray:
        bits = array.copy().view(np.uint64)
        bits[at] ^= 1
        return bits.view(np.float64)

    changed: list[Measurement] = []
    for i, block in enumerate(measured.fisher):
        assert block.eigenvalues is not None
        for other in (
            dataclasses.replace(block, eigenvalues=flipped(block.eigenvalues, 1)),
            dataclasses.replace(block, lambda_max=math.nextafter(block.lambda_max, 0)),
            dataclasses.replace(block, trace=math.nextafter(block.trace, 0)),
            dataclasses.replace(block, rank=block.rank - 1),
            dataclasses.replace(block, abs_error=1.0),
            dataclasses.replace(block, block="x"),
        ):
            changed.append(
                dataclasses.replace(measured, fisher=(*measured.fisher[:i], other, *measured.fisher[i + 1 :]))
            )
    last: Any = measured.jacobian[-1]
    first: Any = measured.layers[0]
    for name in ("singular_values", "log_singular_values"):
        sample = dataclasses.replace(last, **{name: flipped(getattr(last, name), 0)})
        changed.append(dataclasses.replace(measured, jacobian=(*measured.jacobian[:-1], sample)))
    for name in ("q", "correlation"):
        layer = dataclasses.replace(first, **{name: math.nextafter(getattr(first, name), 0)})
        changed.append(dataclasses.replace(measured, layers=(layer, *measured.layers[1:])))
    for name, value in measured.scalars.items():
        changed.append(dataclasses.replace(measured, scalars={**measured.scalars, name: math.nextafter(value, -1e300)}))
    changed.append(dataclasses.replace(measured, scalars={**measured.scalars, "more": 1.0}))
    digests = [m.digest for m in changed]
    assert digest not in digests
    assert len(set(digests)) == len(digests)
    assert dataclasses.replace(measured).digest == digest


def test_every_nan_is_the_same_in_a_digest(run: Run) -> None:
    measured = isosweep.execute(run)
    payload = np.array([0x7FF8000000000123], dtype=np.uint64).view(np.float64)[0]
    one, other = (dataclasses.replace(measured, scalars={"x": v}) for v in (math.nan, float(payload)))
    assert one.digest == other.digest
    assert (
        dataclasses.replace(measured, scalars={"x": 0.0}).digest
        != dataclasses.replace(measured, scalars={"x": -0.0}).digest
    )


def test_a_number_is_measured_again_from_its_id_alone(tmp_path: Path, run: Run) -> None:
    from isosweep.sweep.settings import from_json, to_json

    same(isosweep.execute(run), isosweep.execute(from_json(to_json(run))))


# ---- the environment


def test_what_decides_the_bits_makes_the_environment_class() -> None:
    known = fingerprint()
    assert environment_class(known) == environment_class(dict(known))
    assert len(environment_class(known)) == 12
    for name in environment.DECISIVE:
        assert environment_class({**known, name: "another"}) != environment_class(known), name
    for name in ("hostname", "cpu_count", "python_version"):
        assert environment_class({**known, name: "another"}) == environment_class(known)
    assert known["torch_version"] == torch.__version__
    assert all(value is None or isinstance(value, (str, int, float)) for value in known.values())
    json.dumps(known)


def test_words_to_the_blas_make_another_environment_class(monkeypatch: pytest.MonkeyPatch) -> None:
    afresh = fingerprint.__wrapped__
    before = environment_class(afresh("cpu"))
    assert before == environment_class(afresh("cpu")) == environment_class(fingerprint())
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert environment_class(afresh("cpu")) != before
