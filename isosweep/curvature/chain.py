"""A sequential network as the engine walks it: stages with their rules, named after the layers they belong to.

Residual blocks are unrolled: their forks and joins are stages too, and a stack carries what passes by a branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from isosweep.curvature.errors import CurvatureError, MixedTensors, NonFiniteNetwork, ShapeMismatch, UnsupportedLayer
from isosweep.curvature.layers import Rule, rule_for, supported_layers
from isosweep.curvature.recomputation import Recomputed, Selected, segment_starts
from isosweep.curvature.tiles import pieces
from isosweep.fisher_memory import KEPT_BYTES
from isosweep.networks.residual import Fork, Join, Residual
from isosweep.threads import Workers

__all__ = ["Chain", "Stage", "Trace", "chain_of", "check_gradients"]

# The most samples that pass forward together, whatever the number of workers: a constant of the measurement.
SAMPLE_SHARD = 80


@dataclass(frozen=True)
class Stage:
    """One module of the chain, at one of the places where it stands.

    Attributes:
        name: "layer1" … "readout" for a layer that counts (dense, convolution); for any other module, the name of the
            layer before it ("input" if there is none) and its own type, numbered from the second of a kind on. A module
            that stands in several places has one name.
        module: the module.
        rule: what the engine knows of its type.
        depth: the index of the activations x^l it reads: 0 up to and including the first layer, 1 up to the second, …
        shape: one sample's inputs'.
        owner: the index of the first stage of this module, which is where its parameters are counted.
        branches: how many forks are open here; 0 on the main path.
    """

    name: str
    module: nn.Module
    rule: Rule
    depth: int
    shape: torch.Size
    owner: int
    branches: int

    @property
    def counts(self) -> bool:
        """Whether this is one of the layers that are counted."""
        return self.rule.counts


@dataclass(frozen=True)
class Trace:
    """A forward pass: the logits (n, C) and what each stage saved for the way back."""

    outputs: Tensor
    saved: Sequence[Tensor]

    def select(self, samples: slice) -> Trace:
        """The pass of some of the samples."""
        return Trace(self.outputs[samples], Selected(self.saved, samples))


@dataclass(frozen=True)
class Chain:
    """The stages of a checked network, input first.

    Attributes:
        stages: all modules in order.
        depth: L, the number of counted layers less the readout.
        outputs: C.
        saved: what every stage saves of one sample, as (shape, dtype).
    """

    stages: tuple[Stage, ...]
    depth: int
    outputs: int
    saved: tuple[tuple[torch.Size, torch.dtype], ...]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the modules that have parameters, input first."""
        return tuple(
            stage.name
            for index, stage in enumerate(self.stages)
            if stage.owner == index and stage.rule.parameter_count(stage.module, "all")
        )

    def forward(self, inputs: Tensor, workers: Workers | None = None) -> Trace:
        """Runs the inputs (n, …) through all stages, in equal shards of at most `SAMPLE_SHARD` samples.

        What the stages save is kept where it takes at most `KEPT_BYTES`; beyond, it is computed again, segment by
        segment, as it is asked for (`recomputation`). The bits are the same.

        Raises:
            NonFiniteNetwork: an output is NaN or infinite; names the first stage where that happened.
        """
        count = len(inputs)
        if self.recomputes(count, inputs.element_size()):
            return self._forward_in_segments(inputs, workers or Workers())
        if count <= SAMPLE_SHARD:
            outputs, kept = self._forward_shard(inputs)
            return Trace(outputs, tuple(kept))
        # Every shard writes what it saves to its place, so that nothing is held twice.
        saved = tuple(inputs.new_empty((count, *shape), dtype=dtype) for shape, dtype in self.saved)
        outputs = inputs.new_empty(count, self.outputs)

        def task(shard: tuple[int, int]) -> None:
            rows = slice(*shard)
            outputs[rows], _ = self._forward_shard(inputs[rows], tuple(tensor[rows] for tensor in saved))

        (workers or Workers()).run(task, pieces(count, SAMPLE_SHARD))
        return Trace(outputs, saved)

    def recomputes(self, samples: int, itemsize: int) -> bool:
        """Whether what the stages save of so many samples is computed again rather than kept: by shapes alone."""
        return samples * sum(self.widths) * itemsize > KEPT_BYTES

    def kept(self, samples: int, itemsize: int) -> int:
        """The numbers a sample that a forward pass keeps, or holds at once."""
        if not self.recomputes(samples, itemsize):
            return sum(self.widths)
        edges = [*self._segments, len(self.stages)]
        largest = max(sum(self.widths[start:stop]) for start, stop in pairwise(edges))
        return 2 * largest + sum(self.stages[start].shape.numel() for start in self._segments)

    @property
    def _segments(self) -> tuple[int, ...]:
        states = [stage.shape.numel() for stage in self.stages]
        return segment_starts(self.widths, states, [stage.branches for stage in self.stages])

    def _forward_in_segments(self, inputs: Tensor, workers: Workers) -> Trace:
        count, starts = len(inputs), self._segments
        shards = [slice(*piece) for piece in pieces(count, SAMPLE_SHARD)]
        outputs = inputs.new_empty((count, self.outputs))
        edges = [*starts, len(self.stages)]

        def through(rows: slice) -> list[Tensor]:
            states, x = [], inputs[rows]
            for start, stop in pairwise(edges):
                states.append(x)
                for _, _, after in _walk(self.stages[start:stop], states[-1]):
                    x = after
            if not torch.isfinite(x).all():
                raise NonFiniteNetwork(self._first_non_finite(inputs[rows]))
            outputs[rows] = x
            return states

        states = workers.run(through, shards)

        def again(segment: int, first: int, stop: int) -> list[Tensor]:
            stages, sizes = self.stages[first:stop], self.saved[first:stop]
            if len(shards) == 1:
                return [kept for _, kept, _ in _walk(stages, states[0][segment])]
            saved = [inputs.new_empty((count, *shape), dtype=dtype) for shape, dtype in sizes]
            for rows, shard in zip(shards, states, strict=True):
                for tensor, (_, kept, _) in zip(saved, _walk(stages, shard[segment]), strict=True):
                    tensor[rows] = kept
            return saved

        return Trace(outputs, Recomputed(starts, len(self.stages), again))

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers that every stage saves of one sample."""
        return tuple(shape.numel() for shape, _ in self.saved)

    @property
    def cotangent_width(self) -> int:
        """The most numbers a sample has at the inputs of any stage."""
        return max(stage.shape.numel() for stage in self.stages)

    def _forward_shard(self, inputs: Tensor, saved: tuple[Tensor, ...] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The outputs, and what the stages save: in a list, or copied to `saved`."""
        kept_all: list[Tensor] = []
        outputs = inputs
        for index, (_, kept, outputs) in enumerate(_walk(self.stages, inputs)):  # noqa: B007  # the last ones
            if saved is None:
                kept_all.append(kept)
            else:
                saved[index].copy_(kept)
        if not torch.isfinite(outputs).all():
            raise NonFiniteNetwork(self._first_non_finite(inputs))
        return outputs, kept_all

    def pre_activations(self, inputs: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The name and the outputs h (n, …) of every counted layer, in order: the bits of `forward`. Of a layer that
        stands in several places, the later ones are named "layer3.use2" and so on.

        Raises:
            NonFiniteNetwork: an output is NaN or infinite; names the first stage where that happened.
        """
        walks = [_walk(self.stages, inputs[start:stop]) for start, stop in pieces(len(inputs), SAMPLE_SHARD)]
        uses: dict[str, int] = {}
        for steps in zip(*walks, strict=True):
            stage = steps[0][0]
            if stage.counts:
                h = torch.cat([step[2] for step in steps])
                if not torch.isfinite(h).all():
                    raise NonFiniteNetwork(self._first_non_finite(inputs))
                uses[stage.name] = uses.get(stage.name, 0) + 1
                yield stage.name if uses[stage.name] == 1 else f"{stage.name}.use{uses[stage.name]}", h

    def _first_non_finite(self, inputs: Tensor) -> str:
        name = "input"
        for stage, _, x in _walk(self.stages, inputs):
            name = stage.name
            if not torch.isfinite(x).all():
                break
        return (
            f"the output of {name} is not finite for at least one input: the activations overflow; "
            "lower the gain or the depth"
        )


def _walk(stages: tuple[Stage, ...], x: Tensor) -> Iterator[tuple[Stage, Tensor, Tensor]]:
    """Every stage with what it saves and its outputs."""
    aside: list[Tensor] = []
    nothing = x.new_empty(len(x), 0)
    for stage in stages:
        kept = nothing
        if isinstance(stage.module, Fork):
            aside.append(x)
        elif isinstance(stage.module, Join):
            x = join(stage.module, aside.pop(), x)
        else:
            x, kept = stage.rule.apply(stage.module, x)
        yield stage, kept, x


def join(module: Join, skip: Tensor, branch: Tensor) -> Tensor:
    """What leaves a join, as `isosweep.networks.residual.walk` computes it."""
    return module.skip * skip + module.branch * branch


def _flatten(network: nn.Module) -> Iterator[nn.Module]:
    """The modules in the order they are applied; one that is applied twice stands there twice."""
    if type(network) is nn.Sequential:
        for child in network:
            yield from _flatten(child)
    elif type(network) is Residual:
        for child in network.unrolled():
            yield from _flatten(child)
    else:
        yield network


def chain_of(network: nn.Module, inputs: Tensor) -> Chain:
    """Checks a network and its inputs, before any long work, and names its layers.

    Args:
        network: `torch.nn.Sequential` (nested ones and residual blocks are read through) of supported layers, with at
            least one that counts (`nn.Linear`, `nn.Conv2d`). A module may stand in several places.
        inputs: (n, …), n ≥ 1, of the weights' dtype and device.

    Raises:
        UnsupportedLayer: a module without a rule; lists those there are.
        ShapeMismatch: the inputs do not fit the first layer, or two layers do not fit.
        MixedTensors: more than one dtype or device, or not a floating-point one.
        NonFiniteNetwork: a parameter or an input is NaN or infinite.
    """
    modules = list(_flatten(network))
    for position, module in enumerate(modules):
        rule = rule_for(module)
        problem = f"{type(module).__name__}" if rule is None else rule.check(module)
        if problem is not None:
            raise UnsupportedLayer(
                f"layer {position} of the network is not supported: {problem}. "
                f"Supported: {', '.join(supported_layers())}"
            )
    rules = [rule_for(module) for module in modules]
    layers = sum(rule is not None and rule.counts for rule in rules)
    if not layers:
        raise CurvatureError("the network has no nn.Linear or nn.Conv2d: there is no layer to measure")
    _check_tensors(modules, inputs)
    return _chain(modules, layers, inputs[:1])


def _chain(modules: list[nn.Module], layers: int, sample: Tensor) -> Chain:
    """The chain, its shapes found with one sample."""
    stages: list[Stage] = []
    saved: list[tuple[torch.Size, torch.dtype]] = []
    owners: dict[int, int] = {}
    taken: dict[str, int] = {}
    aside: list[Tensor] = []
    x, seen = sample, 0
    for index, module in enumerate(modules):
        rule = rule_for(module)
        assert rule is not None
        owner = owners.setdefault(id(module), index)
        if rule.counts:
            seen += 1
            name, depth = ("readout" if seen == layers else f"layer{seen}"), seen - 1
        else:
            before = "input" if seen == 0 else "readout" if seen == layers else f"layer{seen}"
            name, depth = f"{before}.{type(module).__name__.lower()}", seen
        if rule.parameter_count(module, "all"):
            if owner != index:
                name = stages[owner].name
            else:
                taken[name] = taken.get(name, 0) + 1
                name = name if taken[name] == 1 else f"{name}{taken[name]}"
        stages.append(Stage(name, module, rule, depth, x.shape[1:], owner, len(aside)))
        wanted = rule.expects(module, x.shape[1:])
        if wanted is not None:
            source = "the inputs have" if seen == int(rule.counts) and not stages[:-1] else "what comes before gives"
            raise ShapeMismatch(f"{name} expects {wanted}, but {source} {_described(x.shape[1:])}")
        kept = x.new_empty(1, 0)
        if isinstance(module, Fork):
            aside.append(x)
        elif isinstance(module, Join):
            skip = aside.pop()
            if skip.shape != x.shape:
                raise ShapeMismatch(
                    f"the branch that ends after {name} turns {_described(skip.shape[1:])} into "
                    f"{_described(x.shape[1:])}: a residual branch keeps the shape"
                )
            x = join(module, skip, x)
        else:
            x, kept = rule.apply(module, x)
        saved.append((kept.shape[1:], kept.dtype))
    if x.ndim != 2:
        raise ShapeMismatch(f"the network's outputs are {_described(x.shape[1:])}: expected one number a class")
    return Chain(tuple(stages), layers - 1, x.shape[1], tuple(saved))


def _described(shape: torch.Size) -> str:
    return f"width {shape[0]}" if len(shape) == 1 else f"shape {tuple(shape)}"


def _check_tensors(modules: list[nn.Module], inputs: Tensor) -> None:
    if inputs.ndim < 2 or inputs.shape[0] == 0:
        raise ShapeMismatch(f"inputs must be (samples, width) with at least one sample, got {tuple(inputs.shape)}")
    if not inputs.is_floating_point():
        raise MixedTensors(f"inputs must be of a floating-point dtype, got {inputs.dtype}")
    owners: dict[int, tuple[int, str]] = {}
    for position, module in enumerate(modules):
        for name, parameter in [*module.named_parameters(), *module.named_buffers()]:
            if not parameter.is_floating_point():
                continue
            where = f"{name} of layer {position} ({type(module).__name__})"
            other, there = owners.setdefault(id(parameter), (id(module), where))
            if other != id(module):
                raise UnsupportedLayer(
                    f"{where} is shared with {there}: to tie two layers, put the same module in both places"
                )
            if parameter.dtype != inputs.dtype or parameter.device != inputs.device:
                raise MixedTensors(
                    f"{where} is {parameter.dtype} on {parameter.device}, but the inputs are {inputs.dtype} on "
                    f"{inputs.device}: use network.to(dtype=…, device=…) or inputs.to(…)"
                )
            if not _finite(parameter):
                raise NonFiniteNetwork(f"{where} has a NaN or infinite entry")
    if not _finite(inputs):
        raise NonFiniteNetwork("the inputs have a NaN or infinite entry")


def check_gradients(squares: Tensor) -> None:
    """Raises NonFiniteNetwork where squared norms of gradients overflow although the outputs do not."""
    if not torch.isfinite(squares).all():
        raise NonFiniteNetwork("the gradients of the outputs overflow: lower the gain or the depth")


def _finite(tensor: Tensor) -> bool:
    """Whether all entries are finite: a finite sum says so in one pass, another one asks for a second look."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())
