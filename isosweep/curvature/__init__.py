"""Exact curvature of deep networks: spectra of the Fisher information matrix and of the input-output Jacobian."""

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
from isosweep.curvature.spectra import BlockSpectrum, FisherSpectrum
from isosweep.curvature.spectral_density import SpectralDensity
from isosweep.curvature.statistics import ForwardStatistics, forward_statistics
from isosweep.curvature.threads import single_threaded

__all__ = [
    "BlockSpectrum",
    "BudgetTooSmall",
    "CurvatureError",
    "FisherSpectrum",
    "ForwardStatistics",
    "JacobianSpectrum",
    "MixedTensors",
    "NonFiniteNetwork",
    "ShapeMismatch",
    "SpectralDensity",
    "UnsupportedLayer",
    "fisher",
    "fisher_per_input",
    "fisher_spectrum",
    "forward_statistics",
    "jacobian_spectrum",
    "single_threaded",
]
