"""The loss and its gradient over a batch by automatic differentiation, for networks that are no plain chain.

Samples pass in shards of a fixed size, each with a graph and gradients of its own, which are added in the order of the
shards: no bit depends on how many cores there are. It takes a copy of all parameters a shard in hand.

Residual blocks keep only what enters them and are computed once more on the way back (discretise, then optimise;
Gholami, Keutzer and Biros 2019, "ANODE"): of L blocks of N_t evaluations each the memory is O(L) + O(N_t) activations,
in place of O(L·N_t). The second pass is the first one's bits, and so is the gradient.

Batch normalisation in training takes the statistics of the minibatch, and its gradient goes through them: the whole
minibatch is one shard then. Losses alone are those of the statistics that the network holds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from isosweep.curvature.chain import chain_of
from isosweep.networks.normalization import has_batch_statistics
from isosweep.networks.residual import Residual
from isosweep.threads import Workers
from isosweep.training.gradient import SHARD, BatchLoss
from isosweep.training.leaves import with_leaves
from isosweep.training.losses import loss_and_cotangents

__all__ = ["AutogradGradient"]

# Shards whose gradients are held at once: a constant, so that their order of summation is one.
_WAVE = 4


class AutogradGradient:
    """Loss and gradient of one network; the same face as `isosweep.training.gradient.BatchGradient`."""

    def __init__(
        self,
        network: nn.Sequential,
        gradients: list[Tensor] | None,
        loss: str,
        workers: Workers,
        *,
        recompute: bool = True,
        batch_statistics: bool = False,
    ) -> None:
        """
        Args:
            network: of layers that the engine has rules for; its weights are read at every call.
            gradients: where to write the gradients, in the order of `network.parameters()`; None: losses only.
            loss: see `loss_and_cotangents`.
            workers: who shares the shards.
            recompute: whether residual blocks are computed again on the way back; the bits do not depend on it.
            batch_statistics: whether BatchNorm layers, for the gradient, take the batch's own statistics in place of
                those that the network holds.

        Raises:
            UnsupportedLayer and others: see `isosweep.curvature.errors`.
        """
        self.network, self.gradients, self.loss, self.workers = network, gradients, loss, workers
        self.recompute = recompute
        self._batch_statistics = batch_statistics and has_batch_statistics(network)

    def __call__(self, inputs: Tensor, labels: Tensor) -> BatchLoss:
        """Writes the gradient of the mean loss over the batch, and returns the sums.

        Args:
            inputs: (n, N_0), of the weights' dtype and device.
            labels: (n,) class numbers, or (n, C) targets.
        """
        assert self.gradients is not None
        chain_of(self.network, inputs[:1])
        for gradient in self.gradients:
            gradient.zero_()
        shard = max(1, len(inputs)) if self._batch_statistics else SHARD
        pieces = list(zip(torch.split(inputs, shard), torch.split(labels, shard), strict=True))
        total = _nothing(inputs)
        for first in range(0, len(pieces), _WAVE):
            wave = pieces[first : first + _WAVE]
            for sums, found in self.workers.run(lambda piece: self._shard(*piece, len(inputs)), wave):
                total += sums
                for gradient, part in zip(self.gradients, found, strict=True):
                    gradient += part
        return BatchLoss(total[0], total[1])

    @torch.no_grad()
    def losses(self, inputs: Tensor, labels: Tensor) -> BatchLoss:
        """The sums alone."""
        pieces = list(zip(torch.split(inputs, SHARD), torch.split(labels, SHARD), strict=True))

        def of_piece(piece: tuple[Tensor, Tensor]) -> Tensor:
            x, y = piece
            return self._sums(self.network(x), y, len(inputs))[0]

        total = _nothing(inputs)
        for sums in self.workers.run(of_piece, pieces):
            total += sums
        return BatchLoss(total[0], total[1])

    def _shard(self, inputs: Tensor, labels: Tensor, samples: int) -> tuple[Tensor, list[Tensor]]:
        with torch.enable_grad():
            network, own = with_leaves(self.network)
            if self._batch_statistics:
                network.train()  # the copy, with running averages that nobody reads
            outputs = _recomputed(network, inputs) if self.recompute else network(inputs)
            sums, cotangents = self._sums(outputs.detach(), labels, samples)
            found = torch.autograd.grad(outputs, own, cotangents, allow_unused=True)
        return sums, [torch.zeros_like(p) if g is None else g for p, g in zip(own, found, strict=True)]

    def _sums(self, outputs: Tensor, labels: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        each, cotangents = loss_and_cotangents(self.loss, outputs, labels, samples)
        answers = labels if labels.ndim == 1 else labels.argmax(dim=1)
        correct = (outputs.argmax(dim=1) == answers).sum()
        return torch.stack([each.sum(dtype=torch.float64), correct.to(torch.float64)]), cotangents


def _recomputed(network: nn.Sequential, x: Tensor) -> Tensor:
    """The outputs of a network whose residual blocks keep only their inputs."""
    for module in network:
        if isinstance(module, Residual):
            x = checkpoint(module, x, use_reentrant=False, preserve_rng_state=False)
        else:
            x = module(x)
    return x


def _nothing(like: Tensor) -> Tensor:
    return torch.zeros(2, dtype=torch.float64, device=like.device)
