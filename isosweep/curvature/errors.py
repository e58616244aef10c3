"""The errors of the curvature engine: each is raised before any long work, and says what to do."""

# each name says what is wrong, as a reader of a traceback wants it

from __future__ import annotations

__all__ = ["BudgetTooSmall", "CurvatureError", "MixedTensors", "NonFiniteNetwork", "ShapeMismatch", "UnsupportedLayer"]


class CurvatureError(ValueError):
    """Any refusal of the curvature engine."""


class UnsupportedLayer(CurvatureError):
    """A module of the network has no rule in `isosweep.curvature.layers`."""


class NonFiniteNetwork(CurvatureError):
    """A weight, an input or an activation is NaN or infinite; the message names the layer."""


class ShapeMismatch(CurvatureError):
    """The inputs' width is not the first layer's, or two neighbouring layers do not fit."""


class MixedTensors(CurvatureError):
    """Weights and inputs differ in dtype or device."""


class BudgetTooSmall(CurvatureError):
    """Not even the matrix-free method fits the memory budget."""
