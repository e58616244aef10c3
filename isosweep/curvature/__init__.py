"""Exact curvature of deep networks: spectra of the Fisher information matrix and of the input-output Jacobian."""

from isosweep.curvature.fisher import fisher, fisher_spectrum

__all__ = ["fisher", "fisher_spectrum"]
