"""What a run costs: operations of its measurement, seconds by one constant, and bytes of its record."""

from __future__ import annotations

from isosweep.sweep.settings import NetworkSettings, Run

__all__ = ["record_bytes", "run_operations", "run_seconds"]

# Seconds an operation on one core of a current server (float64), and what a run costs whatever its size. A constant
# of the plan, not of any result.
_SECONDS_PER_OPERATION = 1.2e-10
_SECONDS_PER_RUN = 0.02
# A user's own network of unknown shape counts as one of this many seconds.
_SECONDS_UNKNOWN = 10.0
_RECORD_OVERHEAD = 6000


def _rows(run: Run) -> int:
    """Rows R of the dual matrix: n(C−1) for the categorical likelihood, nC for the Gaussian."""
    fisher = run.measure.fisher
    if fisher is None:
        return 0
    return fisher.samples * (run.data.classes - (fisher.likelihood == "categorical"))


def run_operations(run: Run) -> float:
    """Floating-point operations of a dense run: dual matrix, its eigenvalues, the layers' blocks, the Jacobian's
    chain and singular values.
    """
    network = run.network
    if not isinstance(network, NetworkSettings):
        return _SECONDS_UNKNOWN / _SECONDS_PER_OPERATION
    depth, width, rows = network.depth, network.width, _rows(run)
    operations = rows**2 * (run.data.inputs + depth * width) + 2 * rows * width**2 * depth + 4 / 3 * rows**3
    if run.measure.fisher is not None and run.measure.fisher.layers != "none":
        block = rows**3 / 3 + 60 * rows**2 if run.measure.fisher.layers == "summary" else 4 / 3 * rows**3
        operations += (depth + 1) * block
    if run.measure.jacobian is not None:
        operations += run.measure.jacobian.samples * (8.0 * depth * width**3 + 30.0 * width**3)
    return float(operations)


def run_seconds(run: Run) -> float:
    """Seconds on one core, as planned."""
    return _SECONDS_PER_RUN + _SECONDS_PER_OPERATION * run_operations(run)


def record_bytes(run: Run) -> int:
    """Bytes of the run's record: 8 an array entry, and what surrounds them."""
    network, values = run.network, _rows(run)
    if isinstance(network, NetworkSettings):
        fisher = run.measure.fisher
        if fisher is not None and fisher.layers == "spectrum":
            values += _rows(run) * (network.depth + 1)
        values += 12 * (network.depth + 1)
        if run.measure.jacobian is not None:
            values += 2 * run.measure.jacobian.samples * min(network.width, run.data.inputs)
    return _RECORD_OVERHEAD + 8 * values
