"""The sweep file: from YAML to typed runs with ids."""

from .errors import Problem, SpecError
from .settings import Run
from .sweep import Sweep, load

__all__ = ["Problem", "Run", "SpecError", "Sweep", "load"]
