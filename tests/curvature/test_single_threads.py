from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import dense_network, samples
from threadpoolctl import threadpool_info

from isosweep.curvature import dual_gram, fisher, jacobian_spectrum, single_threaded
from isosweep.curvature.tiles import CUTS, Cut, cut_of
from isosweep.threads import Workers

# Odd sizes, where a threaded BLAS adds in another order; larger than one tile, one shard and one sample shard.
DIGEST = """
import hashlib, sys, torch
sys.path.insert(0, {folder!r})
from cases import dense_network, samples
from isosweep.curvature import fisher, fisher_bounds, forward_statistics, jacobian_spectrum
torch.set_num_threads({threads})
network = dense_network([37] + [141] * 6 + [5])
inputs = samples(171, 37)
digest = hashlib.sha256()
found = fisher(network, inputs, layers="summary", workers={workers})
digest.update(found.eigenvalues.numpy().tobytes())
digest.update(repr([(b.lambda_max, b.trace, b.rank) for b in found.blocks.values()]).encode())
digest.update(fisher(network, inputs, workers={workers}).eigenvalues.numpy().tobytes())
for method in ("plain", "graded"):
    values = jacobian_spectrum(network, inputs[:6], method=method, workers={workers})
    digest.update(values.log_singular_values.numpy().tobytes())
free = fisher(network, inputs, method="lanczos", count=3, steps=12, probes=1, centred=True, workers={workers})
digest.update(free.eigenvalues.numpy().tobytes() + repr(free.trace).encode())
bounds = fisher_bounds(network, inputs[:60], workers={workers})
digest.update(repr(bounds).encode())
digest.update(forward_statistics(network, inputs).c.numpy().tobytes())
assert torch.get_num_threads() == {threads}
print(digest.hexdigest())
"""


def digest(threads: int, workers: int) -> str:
    script = DIGEST.format(folder=str(Path(__file__).parent), threads=threads, workers=workers)
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_bits_do_not_depend_on_threads_or_workers() -> None:
    settings = [(1, 1), (2, 2), (4, 4), (4, 1)]
    digests = {setting: digest(*setting) for setting in settings}
    assert len(set(digests.values())) == 1, digests


def test_threads_are_pinned_inside_and_restored_after() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with single_threaded():
            assert torch.get_num_threads() == 1
            with single_threaded():
                pass
            assert torch.get_num_threads() == 1
            assert all(pool["num_threads"] == 1 for pool in threadpool_info() if pool["user_api"] == "blas")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_are_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stop"), single_threaded():
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before


def test_workers_keep_the_order_and_raise_the_first_failure() -> None:
    def square(x: int) -> int:
        if x >= 7:
            raise ValueError(f"item {x}")
        return x * x

    with Workers(3) as crew:
        assert crew.run(square, range(7)) == [x * x for x in range(7)]
        with pytest.raises(ValueError, match="item 7"):
            crew.run(square, range(12))


def test_workers_of_a_measurement_do_not_change_bits_in_process() -> None:
    network, inputs = dense_network([20] * 4 + [6]), samples(150, 20)
    one, two = (fisher(network, inputs, workers=count).eigenvalues for count in (1, 2))
    assert torch.equal(one, two)
    first, second = (jacobian_spectrum(network, inputs[:9], workers=count).log_singular_values for count in (1, 3))
    assert hashlib.sha256(first.numpy()).digest() == hashlib.sha256(second.numpy()).digest()


@pytest.mark.parametrize("most", [2, 3, 16])
def test_layers_that_are_held_together_do_not_change_bits(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = dense_network([20] * 12 + [6]), samples(90, 20)
    before = fisher(network, inputs, layers="summary")
    monkeypatch.setattr(dual_gram, "MOST_LAYERS", most)
    monkeypatch.setattr(dual_gram, "GROUP_BYTES", 1 if most == 3 else 2**40)
    assert torch.equal(fisher(network, inputs, workers=2).eigenvalues, fisher(network, inputs).eigenvalues)
    found = fisher(network, inputs, layers="summary", workers=2)
    assert torch.equal(found.eigenvalues, before.eigenvalues)
    assert found.blocks == before.blocks


@pytest.mark.parametrize("count", [1, 3])
def test_deferred_tasks_are_done_with_the_next_run(count: int) -> None:
    done: list[int] = []
    with Workers(count) as crew:
        crew.defer(done.append, range(5))
        assert done == []
        assert crew.run(lambda x: x + 1, [1, 2]) == [2, 3]
        assert sorted(done) == list(range(5))
        crew.defer(done.append, [5])
        crew.finish()
        assert len(done) == 6
        crew.defer(lambda x: 1 // x, [0])
        with pytest.raises(ZeroDivisionError):
            crew.finish()


def test_large_tiles_have_the_bits_of_any_workers_and_the_values_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = dense_network([13, 40, 40, 10]), samples(280, 13)
    assert cut_of(torch.empty(9, 280, 0)) == CUTS[1][1]
    one, three = (fisher(network, inputs, workers=count).eigenvalues for count in (1, 3))
    assert torch.equal(one, three)
    monkeypatch.setattr(dual_gram, "cut_of", lambda _: Cut(rows=100, whole=100, across=200, diagonal=50))
    small = fisher(network, inputs, workers=2).eigenvalues
    assert float((small - one).abs().max()) <= 1e-14 * float(one[0])
