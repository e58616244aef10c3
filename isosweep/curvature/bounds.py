"""Upper bounds of the largest Fisher eigenvalue, and an approximation that is none.

F is split into the blocks of all weights W^1, W^2, … and biases b^1, b^2, …; K_α is block α's own dual matrix, and
the norm of the off-diagonal block (α, β) is √λ_max(K_α K_β).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isosweep.curvature.block_norms import block_norms
from isosweep.curvature.chain import Chain, chain_of
from isosweep.curvature.dual_gram import pull_back_all
from isosweep.curvature.errors import CurvatureError
from isosweep.curvature.fisher import fisher
from isosweep.curvature.layers import GramTerm
from isosweep.curvature.likelihoods import Likelihood
from isosweep.curvature.output_weights import check_kind, output_weights
from isosweep.networks.quantized import QuantizedLinear
from isosweep.threads import Workers, single_threaded

__all__ = ["FisherBounds", "fisher_bounds"]


@dataclass(frozen=True)
class FisherBounds:
    """Upper bounds of λ_max(F), all parameters, beside the measured value.

    The two bounds of blocks always hold for the blocks' exact norms. Those of large networks are found by power
    iteration (`isosweep.curvature.block_norms`), to about 0.1 % of the largest row sum: there the two are estimates of
    bounds. `layer_sum` always holds.

    Attributes:
        lambda_max: measured.
        block_rows: max over block rows α of λ_max(K_α) + Σ_{β≠α} √λ_max(K_α K_β): block Gershgorin over all rows.
            True of exact norms; None where the blocks were not asked for.
        block_norms: λ_max of the matrix of all block norms: as true, and at most `block_rows`; None as above.
        layer_sum: (1/n) Σ_i λ_max(H_i) Σ_l (|x_i^{l−1}|² + 1) σ_max²(∂h_i^g/∂h_i^l): always true.
        sokol_park: the approximation of Sokol and Park 2020: one block row, products of means in place of means of
            products. It can be exceeded.
    """

    lambda_max: float
    block_rows: float | None
    block_norms: float | None
    layer_sum: float
    sokol_park: float


@dataclass(frozen=True)
class _Layer:
    """What the bounds need of one dense layer.

    Attributes:
        inputs: x^{l−1}, (n, N_{l−1}).
        sensitivity: σ_max(∂h_i^g/∂h_i^l), (n,).
    """

    inputs: Tensor
    sensitivity: Tensor


def fisher_bounds(
    network: nn.Module,
    inputs: Tensor,
    likelihood: Likelihood = "categorical",
    *,
    blocks: bool = True,
    lambda_max: float | None = None,
    workers: int = 1,
) -> FisherBounds:
    """Bounds of λ_max of the Fisher matrix over all parameters.

    Args:
        network, inputs, likelihood: see `fisher`; the only layers with parameters are dense, each with a bias.
        blocks: whether to compute `block_rows` and `block_norms`, from the norms of all (2L + 2)² blocks; see
            `block_norms` for their cost and how exact they are.
        lambda_max: the measured value, where it is known already.
        workers: see `fisher`.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
    """
    check_kind("true", None, likelihood, len(inputs))
    if lambda_max is None:
        lambda_max = fisher(network, inputs, likelihood, workers=workers).lambda_max
    with single_threaded(), torch.no_grad(), Workers(workers) as crew:
        chain = chain_of(network, inputs)
        _check_dense(chain)
        trace = chain.forward(inputs, crew)
        unit = torch.eye(chain.outputs, dtype=inputs.dtype, device=inputs.device)[:, None, :].expand(
            -1, len(inputs), -1
        )
        layers = []
        for index, cotangents in pull_back_all(chain, trace, unit, "all", crew):
            jacobian = cotangents.permute(1, 0, 2)
            squares = torch.linalg.eigvalsh(jacobian @ jacobian.mT)[:, -1].clamp(min=0)
            layers.append(_Layer(trace.saved[index], squares.sqrt()))
        layers.reverse()
        vectors = output_weights(trace.outputs, likelihood, "true", None, False).vectors
        roots = vectors.permute(1, 2, 0) * len(inputs) ** 0.5
        hessian = roots.new_zeros(len(inputs))
        if roots.shape[2]:
            hessian = torch.linalg.matrix_norm(roots, ord=2).square()
        norms = None
        if blocks and vectors.shape[0]:

            def terms() -> Iterator[GramTerm]:
                for index, cotangents in pull_back_all(chain, trace, vectors, "all", crew):
                    stage = chain.stages[index]
                    for term in stage.rule.gram_terms(stage.module, trace.saved[index], cotangents, "all"):
                        yield term.formed()

            norms = block_norms(terms, len(layers), vectors.shape[0] * vectors.shape[1], crew)
        return FisherBounds(
            lambda_max=lambda_max,
            block_rows=None if norms is None else float(norms.sum(dim=1).max()),
            block_norms=None if norms is None else float(torch.linalg.eigvalsh(norms)[-1]),
            layer_sum=_layer_sum(layers, hessian),
            sokol_park=_sokol_park(layers, hessian),
        )


# Those whose gradient by the weights and the bias is that of W x + b.
_DENSE = (nn.Linear, QuantizedLinear)


def _check_dense(chain: Chain) -> None:
    """The bounds are for plain chains of dense layers."""
    for index, stage in enumerate(chain.stages):
        parameters = stage.rule.parameter_count(stage.module, "all")
        if stage.branches or stage.owner != index or (parameters and type(stage.module) not in _DENSE):
            raise CurvatureError(
                f"the bounds are derived for plain chains of dense layers, each in one place; this network has "
                f"{stage.name} ({type(stage.module).__name__})"
            )


def _layer_sum(layers: list[_Layer], hessian: Tensor) -> float:
    """(1/n) Σ_i λ_max(H_i) Σ_l (|x_i|² + 1) σ_i²."""
    total = torch.zeros_like(hessian)
    for layer in layers:
        total += (layer.inputs.square().sum(dim=1) + 1) * layer.sensitivity.square()
    return float((hessian * total).mean())


def _sokol_park(layers: list[_Layer], hessian: Tensor) -> float:
    """One block row of the block Gershgorin theorem, in means: THEORY.md section 3, after Sokol and Park 2020.

    With s_β = E σ_max(∂h^g/∂h^β), h_g = E σ_max(H) and m_β = |E φ(h^{β−1})|, the blocks with the first layer are
    (b¹, b^β): s_1 h_g s_β; (W¹, b^β): m_β s_1 h_g s_β; (W¹, W^β): √N_{β−1} m_β ‖E x⁰‖ s_1 h_g s_β. The centre is b¹
    where ‖E x⁰‖ ≤ 1, else W¹.
    """
    s = [float(layer.sensitivity.mean()) for layer in layers]
    scale = float(hessian.mean()) * s[0]
    mean_input = float(layers[0].inputs.mean(dim=0).norm())
    bound = scale * s[0] * (mean_input if mean_input <= 1 else mean_input**2 + mean_input)
    bound += scale * s[0] if mean_input <= 1 else 0.0
    for layer, sensitivity in zip(layers[1:], s[1:], strict=True):
        mean_activation = abs(float(layer.inputs.mean()))
        to_weights = layer.inputs.shape[1] ** 0.5 * mean_activation
        if mean_input <= 1:
            bound += scale * sensitivity * (1 + to_weights)
        else:
            bound += scale * sensitivity * (to_weights * mean_input + mean_activation)
    return bound
