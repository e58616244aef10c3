"""What is computed again on the way back has the bits of what would have been kept, and little of it is held."""

from __future__ import annotations

import pytest
import torch
from cases import CASES, Case, dense_network, samples
from torch import Tensor

from isosweep.curvature import chain as chains
from isosweep.curvature import fisher
from isosweep.curvature.chain import chain_of
from isosweep.curvature.recomputation import Recomputed, segment_starts


def spectra(case: Case) -> list[Tensor]:
    network, inputs = case.build()
    plain = fisher(network, inputs, layers="spectrum", eigenvectors=1)
    krylov = fisher(network, inputs, method="lanczos", count=3, steps=8, probes=2)
    assert plain.eigenvectors is not None
    found = [plain.eigenvalues, plain.eigenvectors, krylov.eigenvalues]
    return found + [block.eigenvalues for block in plain.blocks.values() if block.eigenvalues is not None]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in ("one output",)], ids=lambda case: case.name
)
def test_same_bits(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = spectra(case)
    monkeypatch.setattr(chains, "KEPT_BYTES", -1)
    for before, after in zip(kept, spectra(case), strict=True):
        assert torch.equal(before, after)


def test_memory_grows_with_the_root_of_the_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "KEPT_BYTES", -1)
    inputs = samples(70, 10)
    chain = chain_of(dense_network([*[10] * 400, 4]), inputs)
    trace = chain.forward(inputs)
    assert isinstance(trace.saved, Recomputed)
    assert chain.kept(70, 8) < 3 * (2 * 2 * 10 * sum(chain.widths)) ** 0.5
    monkeypatch.setattr(chains, "KEPT_BYTES", 2**30)
    whole = chain.forward(inputs).saved
    assert chain.kept(70, 8) == sum(chain.widths)
    for index in (798, 5, 400, 401, 0):
        assert torch.equal(trace.saved[index], whole[index])
    assert all(torch.equal(a, b) for a, b in zip(trace.saved, whole, strict=True))
    part = trace.select(slice(3, 9)).saved
    assert [torch.equal(a, b[3:9]) for a, b in zip(part[7:9], whole[7:9], strict=True)] == [True, True]


def test_segments_start_on_the_main_path() -> None:
    starts = segment_starts([5] * 100, [5] * 100, [0, *[1] * 60, *[0] * 39])
    assert starts[0] == 0
    assert all(start > 60 for start in starts[1:])
    assert len(starts) > 3


def test_an_overflow_names_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "KEPT_BYTES", -1)
    network = dense_network([6, 8, 8, 4], "linear")
    with torch.no_grad():
        network[2].weight.fill_(1e300)
        network[4].weight.fill_(1e300)
    with pytest.raises(chains.NonFiniteNetwork, match="readout"):
        fisher(network, samples(5, 6))
