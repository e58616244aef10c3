"""The supported layers: one rule a file, found by `rule_for`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from torch import nn

from isosweep.curvature.layers.rule import Elementwise, GramTerm, LaterTerm, Parameters, Rule, Term

__all__ = ["Elementwise", "GramTerm", "LaterTerm", "Parameters", "Rule", "Term", "rule_for", "supported_layers"]


@cache
def _rules() -> dict[type[nn.Module], Rule]:
    rules: dict[type[nn.Module], Rule] = {}
    for file in pkgutil.iter_modules(__path__):
        rule = getattr(importlib.import_module(f"{__name__}.{file.name}"), "RULE", None)
        if isinstance(rule, Rule):
            rules.update(dict.fromkeys(rule.types, rule))
    return rules


def rule_for(module: nn.Module) -> Rule | None:
    """The rule of this module's exact type, or None. A subclass may compute anything, so it has no rule of its own."""
    return _rules().get(type(module))


def supported_layers() -> list[str]:
    """The names of all supported module types, sorted."""
    return sorted(kind.__name__ for kind in _rules())
