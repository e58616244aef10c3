"""The spectrum of the Fisher information matrix of a network: the way in, whatever the method."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from isosweep.curvature.centring import unit_cotangents
from isosweep.curvature.chain import Chain, chain_of
from isosweep.curvature.dual_gram import layer_terms
from isosweep.curvature.dual_spectrum import dual_spectrum
from isosweep.curvature.errors import CurvatureError
from isosweep.curvature.explicit import explicit_spectrum
from isosweep.curvature.layers import Parameters
from isosweep.curvature.likelihoods import Likelihood
from isosweep.curvature.matrix_free import matrix_free_spectrum
from isosweep.curvature.memory import Problem, choose_method
from isosweep.curvature.output_weights import FisherKind, check_kind, output_weights, rows_per_sample
from isosweep.curvature.spectra import FisherSpectrum
from isosweep.curvature.weighted_jacobian import WeightedJacobian
from isosweep.threads import Workers, single_threaded

__all__ = ["fisher", "fisher_per_input", "fisher_spectrum"]


def fisher_spectrum(network: nn.Module, inputs: Tensor, likelihood: Likelihood = "categorical") -> Tensor:
    """All eigenvalues of the Fisher information matrix that are not zero by construction.

    F = (1/n) Σ_i J_iᵀ H_i J_i over all weights and biases, J_i = ∂logits/∂θ at sample i, H_i the Hessian of −log p in
    the
    logits: diag(p) − ppᵀ for a softmax, I for a unit-variance Gaussian.

    Args:
        network: `torch.nn.Sequential` of supported layers; nothing of it is changed.
        inputs: (n, N_0), of the weights' dtype and device.
        likelihood: "categorical" or "gaussian".

    Returns:
        min(n(C − 1), P) values (categorical) or min(nC, P) (gaussian): a 1-d float64 tensor on the inputs' device,
        largest first, clipped at 0, never cut by a threshold. The absolute error of each is at most 1e-14 of the
        largest.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
    """
    return fisher(network, inputs, likelihood).eigenvalues


def fisher(
    network: nn.Module,
    inputs: Tensor,
    likelihood: Likelihood = "categorical",
    *,
    layers: Literal["none", "summary", "spectrum"] = "none",
    parameters: Parameters = "all",
    kind: FisherKind = "true",
    labels: Tensor | None = None,
    centred: bool = False,
    accurate: bool = False,
    eigenvectors: int = 0,
    method: Literal["auto", "dual", "lanczos"] = "dual",
    memory: int | None = None,
    count: int = 10,
    steps: int = 200,
    probes: int = 0,
    workers: int = 1,
) -> FisherSpectrum:
    """The spectrum of the Fisher information matrix and, from the same pass, of every layer's diagonal block.

    Args:
        network: `torch.nn.Sequential` of supported layers; nothing of it is changed.
        inputs: (n, N_0), of the weights' dtype and device.
        likelihood: "categorical" or "gaussian"; see `fisher_spectrum`.
        layers: "none"; "summary": λ_max, trace and rank of each layer's block; "spectrum": its eigenvalues too.
        parameters: "all", or "weights": biases do not count.
        kind: "true", or "empirical": the mean of g_i g_iᵀ over the gradients of the loss at the labels; R is n then.
        labels: for "empirical": class numbers (n,) (categorical) or targets (n, C) (gaussian).
        centred: subtract the batch's mean Jacobian from every sample's, J_i − J̄ (Karakida, Akaho, Amari 2019).
        accurate: from the singular values of the explicit R × P Jacobian: 1e-9 relative above 1e-12 of λ_max. For small
            networks: it takes that memory, and R·P·min(R, P) operations.
        eigenvectors: how many leading eigenvectors in parameter space to return, at most the rank.
        method: "dual": the whole spectrum; "lanczos": its leading part, matrix-free; "auto": the dual where its
            estimated memory is within `memory`. The result says which.
        memory: bytes above the network; None is 8 GiB for "auto" and no limit else.
        count: for "lanczos", how many leading eigenvalues.
        steps: for "lanczos", the largest Krylov dimension, also of the density's.
        probes: for "lanczos", random probes for the density of all eigenvalues; 0 for none.
        workers: single-threaded workers that share the tiles; the result's bits do not depend on it.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
        BudgetTooSmall: the estimated memory exceeds `memory`; for "auto", that of the matrix-free method.
        CurvatureError: options that do not go together.
    """
    check_kind(kind, labels, likelihood, len(inputs))
    if accurate and (method == "lanczos" or eigenvectors):
        raise CurvatureError("accurate=True takes the explicit Jacobian: neither method='lanczos' nor eigenvectors")
    with single_threaded(), torch.no_grad(), Workers(workers) as crew:
        chain = chain_of(network, inputs)
        per_sample = chain.outputs if centred else rows_per_sample(chain.outputs, likelihood, kind)
        problem = _problem(chain, inputs, per_sample, parameters, layers != "none")
        chosen = choose_method(problem, steps, memory, method)
        trace = chain.forward(inputs, crew)
        weights = output_weights(trace.outputs, likelihood, kind, labels, centred)
        jacobian = WeightedJacobian(chain, trace, weights, parameters, crew)
        if chosen == "lanczos" and weights.rows:
            return matrix_free_spectrum(jacobian, count, steps, probes)
        if accurate:
            cotangents = unit_cotangents(weights) if centred else weights.vectors
            return explicit_spectrum(list(layer_terms(chain, trace, cotangents, parameters, crew)), weights, layers)
        return dual_spectrum(jacobian, layers, eigenvectors)


def fisher_per_input(
    network: nn.Module,
    inputs: Tensor,
    likelihood: Likelihood = "categorical",
    *,
    parameters: Parameters = "all",
    workers: int = 1,
) -> Tensor:
    """The spectrum of the Fisher matrix conditional on each input alone, J_iᵀ H_i J_i (Hayase and Karakida 2021).

    Args:
        network, inputs, likelihood, parameters, workers: see `fisher`.

    Returns:
        (n, min(k, P)) float64, k = C − 1 (categorical) or C (gaussian), each row largest first, clipped at 0. The
        trace of row i is n times sample i's share of the trace of F.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
    """
    check_kind("true", None, likelihood, len(inputs))
    with single_threaded(), torch.no_grad(), Workers(workers) as crew:
        chain = chain_of(network, inputs)
        trace = chain.forward(inputs, crew)
        vectors = output_weights(trace.outputs, likelihood, "true", None, False).vectors * len(inputs) ** 0.5
        k, n, _ = vectors.shape
        total = vectors.new_zeros(n, k, k)
        count = 0
        for layer in layer_terms(chain, trace, vectors, parameters, crew):
            count += layer.parameters
            for product in (one.formed() for one in layer.products):
                own = product.row.cotangents.permute(1, 0, 2) @ product.column.cotangents.permute(1, 2, 0)
                alike = torch.as_tensor(product.samples_alike, dtype=own.dtype, device=own.device)
                total += own * alike.expand(n)[:, None, None]
        values: Tensor = torch.linalg.eigvalsh(total).to(torch.float64).flip(1)
        return values[:, : min(k, count)].clamp_(min=0)


def _problem(chain: Chain, inputs: Tensor, per_sample: int, parameters: Parameters, layers: bool) -> Problem:
    owners = [stage for index, stage in enumerate(chain.stages) if stage.owner == index]
    count = sum(stage.rule.parameter_count(stage.module, parameters) for stage in owners)
    rows = per_sample * len(inputs)
    terms = [stage.rule.term_width(stage.module, rows, inputs.element_size()) for stage in owners]
    widest = max(chain.cotangent_width, *terms)
    kept = chain.kept(len(inputs), inputs.element_size())
    return Problem(len(inputs), rows, count, kept, widest, inputs.element_size(), layers)
