"""A sequential network as the engine walks it: stages with their rules, named after the dense layers they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isosweep.curvature.errors import CurvatureError, MixedTensors, NonFiniteNetwork, ShapeMismatch, UnsupportedLayer
from isosweep.curvature.layers import Rule, rule_for, supported_layers
from isosweep.threads import Workers

__all__ = ["Chain", "Stage", "Trace", "chain_of", "check_gradients"]

# Samples that pass forward together, whatever the number of workers: a constant of the measurement.
SAMPLE_SHARD = 64


@dataclass(frozen=True)
class Stage:
    """One module of the chain.

    Attributes:
        name: "layer1" … "readout" for a dense layer; for any other module, the name of the dense layer before it
            ("input"
            if there is none) and its own type.
        module: the module.
        rule: what the engine knows of its type.
        depth: the index of the activations x^l it reads: 0 up to and including the first dense layer, 1 up to the
            second, …
    """

    name: str
    module: nn.Module
    rule: Rule
    depth: int

    @property
    def is_dense(self) -> bool:
        """Whether this is one of the dense layers that are counted."""
        return isinstance(self.module, nn.Linear)


@dataclass(frozen=True)
class Trace:
    """A forward pass: the logits (n, C) and what each stage saved for the way back."""

    outputs: Tensor
    saved: tuple[Tensor, ...]

    def select(self, samples: slice) -> Trace:
        """The pass of some of the samples."""
        return Trace(self.outputs[samples], tuple(kept[samples] for kept in self.saved))


@dataclass(frozen=True)
class Chain:
    """The stages of a checked network, input first.

    Attributes:
        stages: all modules in order.
        depth: L, the number of dense layers less the readout.
    """

    stages: tuple[Stage, ...]
    depth: int

    @property
    def outputs(self) -> int:
        """C, the width of the last dense layer."""
        modules = [stage.module for stage in self.stages]
        return next(module.out_features for module in reversed(modules) if isinstance(module, nn.Linear))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the stages that have parameters, input first."""
        return tuple(stage.name for stage in self.stages if stage.rule.parameter_count(stage.module, "all"))

    def forward(self, inputs: Tensor, workers: Workers | None = None) -> Trace:
        """Runs the inputs (n, N_0) through all stages, in shards of `SAMPLE_SHARD` samples.

        Raises:
            NonFiniteNetwork: an output is NaN or infinite; names the first stage where that happened.
        """
        count = len(inputs)
        if count <= SAMPLE_SHARD:
            outputs, kept = self._forward_shard(inputs)
            return Trace(outputs, tuple(kept))
        # Every shard writes what it saves to its place, so that nothing is held twice.
        saved = tuple(inputs.new_empty(count, width) for width in self.widths(inputs.shape[1]))
        outputs = inputs.new_empty(count, self.outputs)

        def task(start: int) -> None:
            rows = slice(start, min(start + SAMPLE_SHARD, count))
            outputs[rows], _ = self._forward_shard(inputs[rows], tuple(tensor[rows] for tensor in saved))

        (workers or Workers()).run(task, range(0, count, SAMPLE_SHARD))
        return Trace(outputs, saved)

    def widths(self, inputs: int) -> tuple[int, ...]:
        """The width of every stage's inputs, which is that of what it saves."""
        result, width = [], inputs
        for stage in self.stages:
            result.append(width)
            width = stage.module.out_features if isinstance(stage.module, nn.Linear) else width
        return tuple(result)

    def _forward_shard(self, inputs: Tensor, saved: tuple[Tensor, ...] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The outputs, and what the stages save: in a list, or copied to `saved`."""
        kept_all: list[Tensor] = []
        x = inputs
        for index, stage in enumerate(self.stages):
            x, kept = stage.rule.apply(stage.module, x)
            if saved is None:
                kept_all.append(kept)
            else:
                saved[index].copy_(kept)
        if not torch.isfinite(x).all():
            raise NonFiniteNetwork(self._first_non_finite(inputs))
        return x, kept_all

    def pre_activations(self, inputs: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The name and the outputs h (n, width) of every dense layer, in order: the bits of `forward`.

        Raises:
            NonFiniteNetwork: an output is NaN or infinite; names the first stage where that happened.
        """
        pieces = list(torch.split(inputs, SAMPLE_SHARD))
        for stage in self.stages:
            pieces = [stage.rule.apply(stage.module, piece)[0] for piece in pieces]
            if stage.is_dense:
                h = torch.cat(pieces)
                if not torch.isfinite(h).all():
                    raise NonFiniteNetwork(self._first_non_finite(inputs))
                yield stage.name, h

    def _first_non_finite(self, inputs: Tensor) -> str:
        x = inputs
        for stage in self.stages:
            x, _ = stage.rule.apply(stage.module, x)
            if not torch.isfinite(x).all():
                break
        return (
            f"the output of {stage.name} is not finite for at least one input: the activations overflow; "
            "lower the gain or the depth"
        )


def _flatten(network: nn.Module) -> Iterator[nn.Module]:
    if type(network) is nn.Sequential:
        for child in network:
            yield from _flatten(child)
    else:
        yield network


def chain_of(network: nn.Module, inputs: Tensor) -> Chain:
    """Checks a network and its inputs, before any long work, and names its layers.

    Args:
        network: `torch.nn.Sequential` (nested ones are read through) of supported layers, with at least one
            `nn.Linear`.
        inputs: (n, N_0), n ≥ 1, of the weights' dtype and device.

    Raises:
        UnsupportedLayer: a module without a rule; lists those there are.
        ShapeMismatch: the inputs are not a matrix of the first layer's width, or two layers do not fit.
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
    dense = [module for module in modules if isinstance(module, nn.Linear)]
    if not dense:
        raise CurvatureError("the network has no nn.Linear: there is no layer to measure")
    _check_tensors(modules, inputs)
    _check_shapes(dense, inputs)
    return Chain(tuple(_stages(modules, len(dense))), len(dense) - 1)


def _stages(modules: list[nn.Module], dense: int) -> Iterator[Stage]:
    seen = 0
    for module in modules:
        rule = rule_for(module)
        assert rule is not None
        if isinstance(module, nn.Linear):
            seen += 1
            name = "readout" if seen == dense else f"layer{seen}"
            yield Stage(name, module, rule, seen - 1)
        else:
            before = "input" if seen == 0 else "readout" if seen == dense else f"layer{seen}"
            yield Stage(f"{before}.{type(module).__name__.lower()}", module, rule, seen)


def _check_tensors(modules: list[nn.Module], inputs: Tensor) -> None:
    if inputs.ndim != 2 or inputs.shape[0] == 0:
        raise ShapeMismatch(f"inputs must be (samples, width) with at least one sample, got {tuple(inputs.shape)}")
    if not inputs.is_floating_point():
        raise MixedTensors(f"inputs must be of a floating-point dtype, got {inputs.dtype}")
    owners: dict[int, str] = {}
    for position, module in enumerate(modules):
        for name, parameter in module.named_parameters():
            where = f"{name} of layer {position} ({type(module).__name__})"
            other = owners.setdefault(id(parameter), where)
            if other != where:
                raise UnsupportedLayer(f"{where} is shared with {other}: every layer must have its own parameters")
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


def _check_shapes(dense: list[nn.Linear], inputs: Tensor) -> None:
    width = inputs.shape[1]
    for position, module in enumerate(dense, start=1):
        if module.in_features != width:
            source = "the inputs have" if position == 1 else f"dense layer {position - 1} gives"
            raise ShapeMismatch(
                f"dense layer {position} expects width {module.in_features}, but {source} width {width}"
            )
        width = module.out_features
