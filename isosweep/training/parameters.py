"""The parameters of a run in training, their moments, and one optimizer step over all of them.

Three groups, as in Sokol and Park 2020: biases and readout, plain; a non-negative scale for each hidden layer; the
hidden weights on their manifold. The network's own weights are always scale · X, so that what evaluates and measures
it knows of no groups: gradients are taken at the plain weights W, and ∂/∂X = s ∂/∂W, ∂/∂s = ⟨∂/∂W, X⟩.

A step is cut into tasks of a fixed size, independent of each other: pieces of plain vectors that stay in a core's
cache, a few matrices of a stack. Which worker does which changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isosweep.sweep.train_settings import TrainSettings
from isosweep.threads import Workers
from isosweep.training.batch_gradient import is_plain_chain
from isosweep.training.layout import Layout, Stack, layout_of
from isosweep.training.manifolds import Manifold, manifold
from isosweep.training.manifolds.manifold import ManifoldError
from isosweep.training.optimizers import Optimizer, optimizer

__all__ = ["Parameters"]

# Entries of a plain piece, and of the matrices of a stack (one at least), in one task on a CPU: a constant of the
# measurement. On a GPU a vector, or a stack, is one task.
PIECE = 1 << 16
# Plain pieces, one after the other, of one task: handing a task to a worker takes as long as a few pieces.
_PIECES = 8
# Steps after which matrices are put back onto a manifold that rounding takes them from. A step moves a matrix by less
# than 1e-7 from it in float32 and 1e-15 in float64.
RESTORED = 16


@dataclass
class _StackState:
    """A stack of hidden weights that moves as matrices: X, and the scales where it has them."""

    stack: Stack
    on: Manifold
    matrices: int
    weights: Tensor
    gradients: Tensor
    x: Tensor
    scales: Tensor | None
    moments: dict[str, Tensor]
    scale_moments: dict[str, Tensor]


class Parameters:
    """All parameters of a network, moved by its settings' optimizer.

    Attributes:
        flat: (P,) the network's own weights and biases; the network's parameters are views of it.
        gradient: (P,) in the same order; `gradients` are its views in the order of `network.parameters()`.
        count: optimizer steps so far.
    """

    def __init__(self, network: nn.Sequential, settings: TrainSettings, workers: Workers) -> None:
        """Takes over the network's parameters, of the training's dtype and on its device.

        Raises:
            ManifoldError: a hidden layer's weights are not on the manifold, or the network is no plain chain of dense
                layers and activations, whose hidden weights could be moved as matrices.
        """
        self.settings, self.workers = settings, workers
        self.manifold: Manifold = manifold(settings.manifold)
        self.plain: Manifold = manifold("euclidean")
        self.optimizer: Optimizer = optimizer(settings)
        self.of_matrices = self.optimizer.matrices()
        self.scaled = settings.learning_rate_scale is not None
        stacked = self.scaled or settings.manifold != "euclidean" or self.optimizer.moves_matrices
        if stacked and not is_plain_chain(network):
            raise ManifoldError(
                "only in a plain chain of dense layers and activations are hidden weights moved on a manifold, with "
                "scales, or by muon: train this network with manifold: euclidean and another optimizer"
            )
        self.layout: Layout = layout_of(network, stacked)
        example = next(network.parameters())
        self.flat = torch.empty(self.layout.size, dtype=example.dtype, device=example.device)
        self.layout.adopt(network, self.flat)
        self.gradient = torch.zeros_like(self.flat)
        self.gradients = self.layout.views(self.gradient)
        self.count = 0
        self.piece = (self.flat.numel() or 1) if self.flat.is_cuda else PIECE
        rest = self.flat[self.layout.rest :]
        self.moments = _moments(self.optimizer, self.plain, rest)
        self.stacks = [self._begin(stack) for stack in self.layout.stacks]

    def _begin(self, stack: Stack) -> _StackState:
        weights = stack.view(self.flat)
        x, scales = weights, None
        if self.scaled:
            scales, x = self.manifold.start(weights)
            torch.mul(x, scales[:, None, None], out=weights)
        on = self.manifold.of_shape(stack.rows, stack.columns)
        return _StackState(
            stack,
            on,
            max(1, self.piece // (stack.rows * stack.columns)),
            weights,
            stack.view(self.gradient),
            x,
            scales,
            _moments(self.of_matrices, on, x),
            {} if scales is None else _moments(self.optimizer, self.plain, scales),
        )

    def step(self, factor: float, shrink: float = 1.0) -> None:
        """One step of the optimizer from `gradient`, which it overwrites.

        Args:
            factor: of the schedule, on every learning rate.
            shrink: what the gradient is multiplied by first (clipping).
        """
        self.count += 1
        self.workers.run(lambda task: task(), list(self._tasks(factor, shrink)))

    def _tasks(self, factor: float, shrink: float) -> Iterator[Callable[[], None]]:
        for state in self.stacks:
            for first in range(0, len(state.x), state.matrices):
                yield self._matrix_task(state, slice(first, first + state.matrices), factor, shrink)
        rate, decay = self.settings.learning_rate * factor, self.settings.weight_decay or 0.0
        point, gradient = self.flat[self.layout.rest :], self.gradient[self.layout.rest :]
        pieces = [slice(first, first + self.piece) for first in range(0, len(point), self.piece)]
        for first in range(0, len(pieces), _PIECES):
            yield self._plain_task(point, gradient, pieces[first : first + _PIECES], rate, decay, shrink)

    def _plain_task(
        self,
        point: Tensor,
        gradient: Tensor,
        pieces: list[slice],
        rate: float,
        decay: float,
        shrink: float,
    ) -> Callable[[], None]:
        def task() -> None:
            for part in pieces:
                own = gradient[part] if shrink == 1.0 else gradient[part] * shrink
                here = {name: moment[part] for name, moment in self.moments.items()}
                self.optimizer.step(point[part], own, here, self.plain, rate, self.count, decay)

        return task

    def _matrix_task(self, state: _StackState, part: slice, factor: float, shrink: float) -> Callable[[], None]:
        settings = self.settings
        rate = (settings.learning_rate_manifold or settings.learning_rate) * factor
        decay = (settings.weight_decay or 0.0) if settings.manifold == "euclidean" else 0.0

        def task() -> None:
            x, gradient = state.x[part], state.gradients[part]
            if shrink != 1.0:
                gradient.mul_(shrink)
            of_scales: Tensor | None = None
            if state.scales is not None:
                of_scales = torch.bmm(gradient.flatten(1).unsqueeze(1), x.flatten(1).unsqueeze(2)).flatten()
                gradient.mul_(state.scales[part][:, None, None])
            if settings.orthogonality_penalty:
                gram = x @ x.mT
                gram.diagonal(dim1=1, dim2=2).sub_(1)
                gradient.baddbmm_(gram, x, alpha=2 * settings.orthogonality_penalty)
            here = {name: moment[part] for name, moment in state.moments.items()}
            self.of_matrices.step(x, gradient, here, state.on, rate, self.count, decay)
            if self.count % RESTORED == 0:
                state.on.restore(x)
            if state.scales is not None and of_scales is not None:
                scales = state.scales[part]
                here = {name: moment[part] for name, moment in state.scale_moments.items()}
                rate_scale = (settings.learning_rate_scale or 0.0) * factor
                self.optimizer.step(scales, of_scales, here, self.plain, rate_scale, self.count, 0.0)
                scales.clamp_(min=0)
                torch.mul(x, scales[:, None, None], out=state.weights[part])

        return task

    def penalty(self) -> float:
        """(ω/2) Σ_l ‖X_l X_lᵀ − I‖_F², 0 without ω."""
        omega = self.settings.orthogonality_penalty
        if not omega:
            return 0.0
        total = 0.0
        for state in self.stacks:
            for x in torch.split(state.x, state.matrices):
                gram = (x @ x.mT).double()
                gram.diagonal(dim1=1, dim2=2).sub_(1)
                total += float(gram.square().sum())
        return 0.5 * omega * total

    def gradient_norm(self) -> float:
        """|∂loss/∂W| over all parameters of the plain network, from pieces in a fixed order."""
        return norm(self.gradient, self.workers)

    def layer_states(self) -> dict[int, tuple[float, float | None]]:
        """Dense layer → (scale, deviation from the manifold, None on the plain space); empty without scales."""
        found = {}
        for state in self.stacks:
            if state.scales is None:
                continue
            off = [
                float(value)
                for piece in torch.split(state.x, state.matrices)
                for value in state.on.deviation(piece).double().cpu()
            ]
            on_manifold = self.manifold is not self.plain
            for layer, scale, value in zip(state.stack.layers, state.scales.double().cpu().tolist(), off, strict=True):
                found[layer] = (scale, value if on_manifold else None)
        return dict(sorted(found.items()))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint must hold, by name; the tensors themselves, to be read or filled."""
        found = {"flat": self.flat}
        found |= {f"moment/{name}": moment for name, moment in self.moments.items()}
        for number, state in enumerate(self.stacks):
            found |= {f"stack{number}/moment/{name}": moment for name, moment in state.moments.items()}
            if state.scales is not None:
                found |= {f"stack{number}/x": state.x, f"stack{number}/scales": state.scales}
                found |= {f"stack{number}/scale_moment/{name}": m for name, m in state.scale_moments.items()}
        return found


def norm(vector: Tensor, workers: Workers) -> float:
    """|vector|, summed in float64 from pieces in a fixed order."""
    pieces = [vector] if vector.is_cuda else list(torch.split(vector, PIECE))

    def squares(first: int) -> list[float]:
        some = pieces[first : first + _PIECES]
        return [float(torch.linalg.vector_norm(piece, dtype=torch.float64)) ** 2 for piece in some]

    found = workers.run(squares, range(0, len(pieces), _PIECES))
    return math.sqrt(math.fsum(square for some in found for square in some))


def _moments(rule: Optimizer, on: Manifold, point: Tensor) -> dict[str, Tensor]:
    component = on.square(point[:1], point[:1]).shape[1:] if len(point) else point.shape[1:]
    return {
        name: torch.zeros_like(point) if whole else point.new_zeros(point.shape[0], *component)
        for name, whole in rule.moments.items()
    }
