"""How many floating-point operations a run takes, from its settings alone.

Counts of what the engine does, term by term, less what is small beside it: to pack runs by, right in their order rather
than to the last factor of two. More depth, width or samples never make a run cheaper, except where the norms of a
bound's blocks are no longer taken exactly.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from isosweep.sweep.architecture_settings import ArchitectureSettings
from isosweep.sweep.settings import FisherSettings, NetworkSettings, Run
from isosweep.sweep.train_settings import TrainSettings

__all__ = ["dual_rows", "run_operations"]

# Of a symmetric matrix of R rows: R³ times this for all eigenvalues, with their vectors, and for the norm of the
# product of two blocks' roots, which have fewer columns than rows.
_EIGENVALUES, _EIGENVECTORS, _NORM = 4 / 3, 4.0, 2.0
# Block norms are exact up to so many blocks²·R³, else they take about so many passes (curvature/block_norms.py).
_EXACT_NORMS, _PASSES = 2e10, 12
# A singular value decomposition without vectors, and the chain of triangular factors that keeps relative accuracy.
_SINGULAR_VALUES, _CHAIN = 30.0, 8.0
# A gradient is three forward passes; a Hessian's product with a vector about four gradients.
_GRADIENT, _HESSIAN = 3.0, 4.0
# The Krylov space for k eigenvalues of the Hessian (training/measured/hessian.py), in which rarely all is needed.
_HESSIAN_STEPS, _HESSIAN_STEPS_PER_VALUE = 80, 20
# A retraction onto a manifold, or muon's Newton-Schulz steps, of an N × N matrix: N³ times this.
_RETRACTION = 30.0
# Parameters are sorted for the quantiles of the smoothness: operations each.
_SORT = 40.0


class _Layer(NamedTuple):
    """A dense layer or a convolution: numbers of its weight, units or channels out, places it is applied at (1: dense),
    and times a pass applies it.
    """

    weights: float
    out: float
    places: float = 1.0
    times: float = 1.0

    @property
    def forward(self) -> float:
        """Operations of one sample's way through it."""
        return 2 * self.weights * self.places * self.times


def _layers(network: NetworkSettings, inputs: int, classes: int) -> list[_Layer]:
    """Its layers in order, the readout last."""
    shape = network.architecture or ArchitectureSettings()
    widths = shape.widths or (network.width,) * network.depth
    if shape.kind == "convolutional" and shape.image is not None:
        channels, height, width = shape.image
        pairs = pairwise((channels, *widths))
        hidden = [_Layer(float(i * o * shape.kernel**2), o, height * width) for i, o in pairs]
    else:
        each = {"euler": 1, "heun": 2, "ssp3": 3}[shape.scheme] * shape.block_steps if shape.kind == "residual" else 1
        hidden = [
            _Layer(float(i * o), o, times=each if place else 1)
            for place, (i, o) in enumerate(pairwise((inputs, *widths)))
        ]
    return [*hidden, _Layer(float(widths[-1] * classes), classes)]


def dual_rows(run: Run) -> int:
    """Rows R of the dual matrix as it is built: n for the empirical Fisher, n(C−1) for the categorical likelihood, nC
    for the Gaussian, and where it is centred.
    """
    fisher = run.measure.fisher
    if fisher is None:
        return 0
    classes = run.data.classes
    each = classes - (fisher.likelihood == "categorical")
    if fisher.kind == "empirical":
        each = 1
    return fisher.samples * (classes if fisher.centred else each)


def _dual(layers: list[_Layer], rows: float) -> float:
    """Cotangents of every row pulled back through every layer, and all their inner products."""
    total = 0.0
    for layer in layers:
        # a convolution's gradients do not factor: they are formed, one a row, and multiplied
        inner = layer.out if layer.places == 1 else layer.weights
        formed = 0.0 if layer.places == 1 else layer.forward * rows
        total += rows * layer.forward + formed + rows**2 * inner * layer.times
    return total


def _blocks(layers: list[_Layer], rows: float, kept: str) -> float:
    """Every layer's own block of the Fisher."""
    if kept == "none":
        return 0.0
    each = rows**3 / 3 + 60 * rows**2 if kept == "summary" else _EIGENVALUES * rows**3
    return len(layers) * each


def _bounds(layers: list[_Layer], rows: float) -> float:
    """Norms of all pairs of blocks, weights and biases apart."""
    blocks = 2.0 * len(layers)
    duals = 2 * rows**2 * sum(layer.out for layer in layers)
    if blocks**2 * rows**3 <= _EXACT_NORMS:
        return duals + blocks * _EIGENVECTORS * rows**3 + blocks**2 / 2 * _NORM * rows**3
    return _PASSES * (duals + blocks**2 * rows**2)


def _fisher(layers: list[_Layer], fisher: FisherSettings, rows: int) -> float:
    if fisher.method == "lanczos":
        products = (fisher.steps or 0) * (1 + (fisher.probes or 0))
        total = _GRADIENT * fisher.samples * sum(layer.forward for layer in layers) * products
    else:
        total = _dual(layers, rows) + _EIGENVALUES * rows**3 + _blocks(layers, rows, fisher.layers)
    return total + (_bounds(layers, rows) if fisher.bounds else 0.0)


def _jacobian(layers: list[_Layer], inputs: int, samples: int) -> float:
    hidden = layers[:-1]
    columns = float(inputs)  # of ∂x^l/∂x^0; its rank is that of the narrowest layer
    chain = 0.0
    for layer in hidden:
        chain += (_CHAIN if layer.places == 1 else 1.0) * layer.forward / 2 * columns
        columns = min(columns, layer.out * layer.places)
    last = hidden[-1].out * hidden[-1].places
    return samples * (chain + _SINGULAR_VALUES * last * columns * min(last, columns))


def _along(layers: list[_Layer], train: TrainSettings, run: Run) -> float:
    """What a training measures at each of its points beside the spectra: the gradient, the Hessian, the kernel, and
    how the network does on the splits.
    """
    forward = sum(layer.forward for layer in layers)
    parameters = sum(layer.weights for layer in layers)
    samples = run.measure.fisher.samples if run.measure.fisher is not None else 1
    gradient = _GRADIENT * forward * samples
    splits = run.data.samples + (run.data.validation or 0) + (run.data.test or 0)
    total = gradient + forward * splits
    if train.points.hessian is not None:
        steps = min(_HESSIAN_STEPS + _HESSIAN_STEPS_PER_VALUE * train.points.hessian, parameters)
        total += steps * _HESSIAN * gradient + 2 * parameters * steps**2
    if train.points.kernel is not None:
        total += _dual(layers, train.points.kernel * run.data.classes)
    return total


def _steps(layers: list[_Layer], train: TrainSettings, run: Run) -> float:
    """The optimizer's steps, and the local smoothness between them."""
    forward = sum(layer.forward for layer in layers)
    steps = train.epochs * train.steps_per_epoch(run.data.samples)
    total = _GRADIENT * forward * train.batch * steps
    if train.manifold != "euclidean" or train.optimizer == "muon":
        total += _RETRACTION * sum(layer.out**3 for layer in layers[:-1]) * steps
    if train.points.smoothness is not None:
        samples = run.measure.fisher.samples if run.measure.fisher is not None else 1
        each = 2 * _GRADIENT * forward * samples + _SORT * sum(layer.weights for layer in layers)
        total += each * (steps // train.points.smoothness)
    return total


def run_operations(run: Run) -> float | None:
    """Floating-point operations of a run: its spectra (dual matrix, eigenvalues, the layers' blocks, bounds, or the
    products of the matrix-free method; the Jacobian's chain and singular values), at every point of a training, which
    adds its steps and what is measured along them. None for a user's own network, whose shapes nobody knows before it
    is built.
    """
    if not isinstance(run.network, NetworkSettings):
        return None
    layers = _layers(run.network, run.data.inputs, run.data.classes)
    total = 0.0
    if run.measure.fisher is not None:
        total += _fisher(layers, run.measure.fisher, dual_rows(run))
    if run.measure.jacobian is not None:
        total += _jacobian(layers, run.data.inputs, run.measure.jacobian.samples)
    if run.measure.reversal:
        total += 2 * _GRADIENT * run.data.samples * sum(layer.forward for layer in layers)
    if run.train is not None:
        total += _along(layers, run.train, run)
        total *= len(run.train.measured_steps(run.data.samples))
        total += _steps(layers, run.train, run)
    # a network is realized, whatever is measured
    return total + sum(layer.weights for layer in layers)
