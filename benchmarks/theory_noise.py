"""How far from the theory a pool of networks lies by chance alone, before any network is simulated.

`python -m benchmarks.theory_noise`. Kolmogorov-Smirnov distances: each network of a pool draws its layers' counts of
active units, binomial ones of width 1000, and has the law given its counts; the pool's mean law is set beside the law
at the expected counts. Fisher: the standard deviation over networks of the mean of the C largest eigenvalues, and what
it leaves of a mean. `sweeps/theory-check-pooled.yaml` has as many networks as these numbers ask for.
"""

from __future__ import annotations

import math

import numpy as np

from isosweep.theory.activations import activation
from isosweep.theory.critical_line import critical_at_variance
from isosweep.theory.fisher_spread import fisher_spread
from isosweep.theory.jacobian_law import Init, JacobianLaw, jacobian_law
from isosweep.theory.network import Network
from isosweep.theory.slope_law import slope_law

WIDTH, Q, POOLS, NETWORKS, DRAWS = 1000, 0.5, (5, 40), 240, 2000
INITS: tuple[Init, Init] = ("gaussian", "orthogonal")


def _continuous(law: JacobianLaw, at: np.ndarray) -> np.ndarray:
    """The distribution of the continuous part, times its mass."""
    result: np.ndarray = law.cdf(at) - law.zero_mass - sum(np.where(at >= v, share, 0.0) for v, share in law.atoms)
    return result


def _distances(name: str, init: Init, depth: int, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """For each size of a pool, the distances of `DRAWS` pools."""
    phi = activation(name)
    sigma_w, p = critical_at_variance(phi, Q).sigma_w, slope_law(phi, Q).sup_mass
    expected = jacobian_law(phi, Q, sigma_w, depth, init, width=WIDTH)
    at = np.exp(np.linspace(-12, math.log(expected.lambda_max) - 1e-9, 300))
    assert expected.curve is not None
    law = _continuous(expected, at) / expected.curve.mass
    parts, masses = [], []
    for counts in rng.binomial(WIDTH, p, (NETWORKS, depth)):
        own = jacobian_law(phi, Q, sigma_w, depth, init, active=tuple((counts / WIDTH).tolist()))
        assert own.curve is not None
        parts.append(_continuous(own, at))
        masses.append(own.curve.mass)
    below, mass = np.array(parts), np.array(masses)
    found = {}
    for size in POOLS:
        picks = rng.integers(0, NETWORKS, (DRAWS, size))
        found[size] = np.array([np.abs(below[i].sum(0) / mass[i].sum() - law).max() for i in picks])
    return found


def main() -> None:
    """Print both tables."""
    rng = np.random.default_rng(0)
    print("| φ | init | L |" + "".join(f" KS of {size}: median | 99 % below |" for size in POOLS))
    print("|---" * (3 + 2 * len(POOLS)) + "|")
    for name in ("hard_tanh", "relu"):
        for init in INITS:
            for depth in (3, 8, 20):
                found = _distances(name, init, depth, rng)
                cells = "".join(f" {np.median(d):.4f} | {np.quantile(d, 0.99):.4f} |" for d in found.values())
                print(f"| {name} | {init} | {depth} |{cells}", flush=True)
    print("\n| φ | init | L | spread of the top C |" + "".join(f" of a mean of {size} |" for size in POOLS))
    print("|---" * (4 + len(POOLS)) + "|")
    for name in ("hard_tanh", "relu", "tanh"):
        point = critical_at_variance(activation(name), Q)
        square = (Q - point.sigma_b**2) / point.sigma_w**2
        for init in INITS:
            for depth in (3, 8, 20):
                spread = fisher_spread(
                    Network(
                        activation(name), point.sigma_w, point.sigma_b, depth, WIDTH, init, Q, 60, mean_square=square
                    )
                )
                cells = "".join(f" {spread / math.sqrt(size):.4f} |" for size in POOLS)
                print(f"| {name} | {init} | {depth} | {spread:.4f} |{cells}")


if __name__ == "__main__":
    main()
