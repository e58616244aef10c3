"""Exact curvature of deep networks: spectra of the Fisher information matrix and of the input-output Jacobian."""

from isosweep.curvature.bounds import FisherBounds, fisher_bounds
from isosweep.curvature.errors import (
    BudgetTooSmall,
    CurvatureError,
    MixedTensors,
    NonFiniteNetwork,
    ShapeMismatch,
    UnsupportedLayer,
)
from isosweep.curvature.fisher import fisher, fisher_per_input, fisher_spectrum
from isosweep.curvature.jacobian import JacobianSpectrum, jacobian_spectrum
from isosweep.curvature.partial_jacobians import PartialNorms, partial_jacobian_norms
from isosweep.curvature.spectra import BlockSpectrum, FisherSpectrum
from isosweep.curvature.spectral_density import SpectralDensity
from isosweep.curvature.statistics import ForwardStatistics, forward_statistics
from isosweep.threads import single_threaded

__all__ = [
    "BlockSpectrum",
    "BudgetTooSmall",
    "CurvatureError",
    "FisherBounds",
    "FisherSpectrum",
    "ForwardStatistics",
    "JacobianSpectrum",
    "MixedTensors",
    "NonFiniteNetwork",
    "PartialNorms",
    "ShapeMismatch",
    "SpectralDensity",
    "UnsupportedLayer",
    "fisher",
    "fisher_bounds",
    "fisher_per_input",
    "fisher_spectrum",
    "forward_statistics",
    "jacobian_spectrum",
    "partial_jacobian_norms",
    "single_threaded",
]
