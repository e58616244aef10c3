"""A run's Fisher information: its spectrum by the method of its settings, and the numbers that go with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from isosweep.curvature import FisherSpectrum, fisher, fisher_bounds
from isosweep.sweep.settings import FisherSettings

from .measurement import FisherBlock

__all__ = ["MeasuredFisher", "measure_fisher"]


@dataclass(frozen=True)
class MeasuredFisher:
    """The blocks, the whole matrix first, and the scalars by column name."""

    blocks: tuple[FisherBlock, ...]
    scalars: dict[str, float]


def measure_fisher(
    network: nn.Module, inputs: Tensor, labels: Tensor, wanted: FisherSettings, step: int = 0
) -> MeasuredFisher:
    """The Fisher information of a network as a run's settings want it.

    Args:
        network: `torch.nn.Sequential` of supported layers.
        inputs: (at least `wanted.samples`, N_0); the first are taken.
        labels: class numbers of the inputs, for the empirical Fisher.
        wanted: the settings.
        step: the training step that the blocks are marked with.

    Raises:
        Errors of `isosweep.curvature.errors`.
    """
    inputs, labels = inputs[: wanted.samples], labels[: wanted.samples]
    targets = None
    if wanted.kind == "empirical":
        targets = labels if wanted.likelihood == "categorical" else _one_hot(labels, network(inputs[:1]))
    spectrum = fisher(
        network,
        inputs,
        wanted.likelihood,
        layers=wanted.layers,
        parameters=wanted.parameters,
        kind=wanted.kind,
        labels=targets,
        centred=wanted.centred,
        method=wanted.method,
        count=wanted.leading or 0,
        steps=wanted.steps or 0,
        probes=wanted.probes or 0,
    )
    blocks = [_whole(spectrum, step)]
    for name, block in spectrum.blocks.items():
        blocks.append(FisherBlock(step, name, _numpy(block.eigenvalues), block.lambda_max, block.trace, block.rank))
    scalars = {"fisher_parameters": float(spectrum.parameters)} | _norms(spectrum)
    if wanted.damping is not None:
        scalars |= _damped(spectrum, wanted.damping)
    if wanted.bounds:
        scalars |= _bounds(network, inputs, wanted, spectrum)
    return MeasuredFisher(tuple(blocks), scalars)


def _one_hot(labels: Tensor, outputs: Tensor) -> Tensor:
    return nn.functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)


def _numpy(values: Tensor | None) -> np.ndarray | None:
    return None if values is None else values.cpu().numpy()


def _whole(spectrum: FisherSpectrum, step: int) -> FisherBlock:
    nodes, counts, errors = (None, None, None) if spectrum.density is None else spectrum.density.counts()
    return FisherBlock(
        step,
        "all",
        _numpy(spectrum.eigenvalues),
        spectrum.lambda_max,
        spectrum.trace,
        spectrum.rank if spectrum.rank >= 0 else None,
        spectrum.abs_error,
        _numpy(spectrum.errors),
        _numpy(nodes),
        _numpy(counts),
        _numpy(errors),
    )


def _norms(spectrum: FisherSpectrum) -> dict[str, float]:
    """The Frobenius norm and the condition number; of the matrix-free method only what the density estimates."""
    if spectrum.method != "lanczos":
        return {"fisher_frobenius": spectrum.frobenius, "fisher_condition_number": spectrum.condition_number}
    if spectrum.density is None:
        return {}
    squares, error = spectrum.density.expectation(torch.square)
    # d√x = dx/(2√x)
    relative = error / (2 * spectrum.frobenius) if squares > 0 else error
    return {"fisher_frobenius": spectrum.frobenius, "fisher_frobenius_error": relative}


def _damped(spectrum: FisherSpectrum, damping: float) -> dict[str, float]:
    if spectrum.density is None:
        return {
            "fisher_effective_dimension": spectrum.effective_dimension(damping),
            "fisher_log_determinant": spectrum.log_determinant(damping),
        }
    dimension = spectrum.density.expectation(lambda values: values / (values + damping))
    determinant = spectrum.density.expectation(lambda values: torch.log1p(values / damping))
    return {
        "fisher_effective_dimension": dimension[0],
        "fisher_effective_dimension_error": dimension[1],
        "fisher_log_determinant": determinant[0],
        "fisher_log_determinant_error": determinant[1],
    }


def _bounds(network: nn.Module, inputs: Tensor, wanted: FisherSettings, spectrum: FisherSpectrum) -> dict[str, float]:
    found = fisher_bounds(
        network,
        inputs,
        wanted.likelihood,
        blocks=wanted.method == "dual",
        lambda_max=spectrum.lambda_max,
    )
    named = {
        "fisher_bound_block_rows": found.block_rows,
        "fisher_bound_block_norms": found.block_norms,
        "fisher_bound_layer_sum": found.layer_sum,
        "fisher_sokol_park": found.sokol_park,
    }
    return {name: value for name, value in named.items() if value is not None}
