"""The loss and its gradient over a batch, spread over cores without a bit depending on how many there are.

The samples pass forward and back in shards of a fixed size, independent of each other, and leave the activations and
the cotangents of every dense layer in buffers of the whole batch. Then each layer's weight gradient Δᵀx is one matrix
product, and the layers are independent too. So no gradient is summed over shards: neither the copies of all parameters
that this would take, nor an order of summation. Batches beyond `PART` samples go part after part.

With autograd instead, a gradient a shard costs as many copies of the parameters as there are shards, and 13 % of the
time of a step of 100 layers of width 400 (batch 1000, one thread); this costs less than one plain autograd step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from isosweep.curvature.chain import chain_of
from isosweep.threads import Workers
from isosweep.training.activation_passes import ActivationPass, pass_of
from isosweep.training.losses import loss_and_cotangents

__all__ = ["PART", "SHARD", "BatchGradient", "BatchLoss"]

# Samples of a shard at most, and of a part: constants of the measurement, never of the number of cores. A GPU takes a
# part as one shard. Buffers hold a part, or the batch where that is smaller, but no fewer than `SMALLEST` samples, so
# that small batches do not make evaluation slow.
SHARD = 128
PART = 2048
SMALLEST = 256
# In a plain chain every shard reads all weights twice, and cores share the way to memory: at 200 layers of 400, 128 MB
# each time, shards of 125 cost two workers a tenth more than shards of 250. So here they are larger, but there are
# `FEWEST` of them where none gets smaller than half of `SHARD`.
LARGE_SHARD = 256
FEWEST = 4


class BatchLoss(NamedTuple):
    """Sums over a batch, 0-dimensional float64 tensors on the device: of the loss, and of the right answers."""

    loss: Tensor
    correct: Tensor


@dataclass
class _Step:
    """One stage of the walk with its buffers, each of `PART` rows at most.

    `inputs` is what a dense layer reads or an activation keeps; `cotangents` are those at a dense layer's outputs.
    """

    module: nn.Module
    activation: ActivationPass | None
    outputs: Tensor
    cotangents: Tensor | None = None
    weight_gradient: Tensor | None = None
    bias_gradient: Tensor | None = None


def _cut(count: int, most: int) -> list[slice]:
    """`count` rows in the fewest pieces of at most `most`, of sizes that differ by one at most."""
    return _even(count, -(-count // most))


def _shards(count: int) -> list[slice]:
    """The shards of a plain chain, by the number of samples alone."""
    return _even(count, max(-(-count // LARGE_SHARD), min(FEWEST, -(-count // (SHARD // 2)))))


def _even(count: int, pieces: int) -> list[slice]:
    ends = [count * i // pieces for i in range(pieces + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


class BatchGradient:
    """Loss and gradient of one network, with buffers that are used again for every batch."""

    def __init__(
        self, network: nn.Sequential, gradients: list[Tensor] | None, batch: int, loss: str, workers: Workers
    ) -> None:
        """
        Args:
            network: of layers that the engine has rules for; its weights are read at every call.
            gradients: where to write the gradients, in the order of `network.parameters()`; None: losses only.
            batch: the size of a batch; larger ones may come too, and go part after part.
            loss: see `loss_and_cotangents`.
            workers: who shares the shards and layers.

        Raises:
            UnsupportedLayer and others: see `isosweep.curvature.errors`.
        """
        first = next(network.parameters())
        dense = next(module for module in network.modules() if isinstance(module, nn.Linear))
        chain = chain_of(network, first.new_zeros(1, dense.in_features))
        self.loss, self.workers = loss, workers
        self.rows = min(max(batch, SMALLEST), PART)
        into = None if gradients is None else iter(gradients)
        self.steps: list[_Step] = []
        width, outputs = dense.in_features, first.new_empty(0)
        for stage in chain.stages:
            if isinstance(stage.module, nn.Linear):
                width = stage.module.out_features
                outputs = first.new_empty(self.rows, width)
                step = _Step(stage.module, None, outputs)
                if into is not None:
                    step.cotangents = first.new_empty(self.rows, width)
                    step.weight_gradient = next(into)
                    step.bias_gradient = None if stage.module.bias is None else next(into)
            else:
                activation = pass_of(stage.module)
                # only over a dense layer's outputs, which nobody reads again
                separate = activation.keeps_input or not self.steps or self.steps[-1].activation is not None
                outputs = first.new_empty(self.rows, width) if separate else outputs
                step = _Step(stage.module, activation, outputs)
            self.steps.append(step)
        self._first = next(i for i, step in enumerate(self.steps) if step.activation is None)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, labels: Tensor) -> BatchLoss:
        """Writes the gradient of the mean loss over the batch, and returns the sums.

        Args:
            inputs: (n, N_0), of the weights' dtype and device.
            labels: (n,) class numbers, or (n, C) targets.
        """
        return self._sums(inputs, labels, gradient=True)

    @torch.no_grad()
    def losses(self, inputs: Tensor, labels: Tensor) -> BatchLoss:
        """The sums alone."""
        return self._sums(inputs, labels, gradient=False)

    def _sums(self, inputs: Tensor, labels: Tensor, gradient: bool) -> BatchLoss:
        total = BatchLoss(*(torch.zeros((), dtype=torch.float64, device=inputs.device) for _ in range(2)))
        for number, part in enumerate(_cut(len(inputs), self.rows)):
            sums = self._part(inputs[part], labels[part], len(inputs), gradient, accumulate=number > 0)
            total = BatchLoss(total.loss + sums[0], total.correct + sums[1])
        return total

    def _part(self, inputs: Tensor, labels: Tensor, samples: int, gradient: bool, accumulate: bool) -> Tensor:
        shards = [slice(0, len(inputs))] if inputs.is_cuda else _shards(len(inputs))
        sums = torch.empty(len(shards), 2, dtype=torch.float64, device=inputs.device)

        def pass_shard(number: int) -> None:
            rows = shards[number]
            sums[number] = self._shard(inputs[rows], labels[rows], rows, samples, gradient)

        self.workers.run(pass_shard, range(len(shards)))
        if gradient:
            self.workers.run(lambda task: task(), list(self._weight_tasks(inputs, accumulate)))
        return sums.sum(dim=0)

    def _shard(self, inputs: Tensor, labels: Tensor, rows: slice, samples: int, gradient: bool) -> Tensor:
        x = inputs
        for step in self.steps:
            out = step.outputs[rows]
            if step.activation is None:
                module = cast(nn.Linear, step.module)
                if module.bias is None:
                    torch.mm(x, module.weight.mT, out=out)
                else:
                    torch.addmm(module.bias, x, module.weight.mT, out=out)
            else:
                step.activation.forward(step.module, x, out)
            x = out
        each, cotangents = loss_and_cotangents(self.loss, x, labels, samples)
        answers = labels if labels.ndim == 1 else labels.argmax(dim=1)
        correct = (x.argmax(dim=1) == answers).sum()
        if gradient:
            self._back(cotangents, inputs, rows)
        return torch.stack([each.sum(dtype=torch.float64), correct.to(torch.float64)])

    def _back(self, cotangents: Tensor, inputs: Tensor, rows: slice) -> None:
        """Leaves the cotangents at every dense layer's outputs in its buffer."""
        dense = [i for i, step in enumerate(self.steps) if step.activation is None]
        current = cast(Tensor, self.steps[dense[-1]].cotangents)[rows]
        current.copy_(cotangents)
        for i in range(len(self.steps) - 1, self._first - 1, -1):
            step = self.steps[i]
            if step.activation is not None:
                kept = self._read(i, inputs, rows) if step.activation.keeps_input else step.outputs[rows]
                step.activation.backward(step.module, kept, current)
            elif i > self._first:
                before = cast(Tensor, self.steps[max(j for j in dense if j < i)].cotangents)[rows]
                torch.mm(current, cast(nn.Linear, step.module).weight, out=before)
                current = before

    def _read(self, index: int, inputs: Tensor, rows: slice) -> Tensor:
        """What step `index` reads."""
        return inputs if index == 0 else self.steps[index - 1].outputs[rows]

    def _weight_tasks(self, inputs: Tensor, accumulate: bool) -> Iterator[Callable[[], object]]:
        rows = slice(0, len(inputs))
        for index, step in enumerate(self.steps):
            if step.cotangents is not None:
                yield _weight_task(step, self._read(index, inputs, rows), step.cotangents[rows], accumulate)


def _weight_task(step: _Step, x: Tensor, cotangents: Tensor, accumulate: bool) -> Callable[[], object]:
    def task() -> None:
        weight, bias = cast(Tensor, step.weight_gradient), step.bias_gradient
        if accumulate:
            weight.addmm_(cotangents.mT, x)
        else:
            torch.mm(cotangents.mT, x, out=weight)
        if bias is not None:
            if accumulate:
                bias.add_(cotangents.sum(dim=0))
            else:
                torch.sum(cotangents, dim=0, out=bias)

    return task
