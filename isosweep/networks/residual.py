"""Residual blocks as discretised differential equations: x ← x + Δt·f(x), by explicit schemes that preserve strong
stability.

Each scheme is a convex combination of Euler steps (Shu and Osher 1988), so that a block is read as a list: modules in
their order, `Fork` where a branch leaves, `Join` where it returns. `Residual.forward` walks that very list, as the
curvature engine does. The branch is one object: several steps of a block share its parameters, as an ODE block whose
parameters are constant in time does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

__all__ = ["SCHEMES", "Fork", "Join", "Residual", "Scheme", "walk"]

Scheme = Literal["euler", "heun", "ssp3"]

# Evaluations of f a step, which is also the order of accuracy.
SCHEMES: dict[Scheme, int] = {"euler": 1, "heun": 2, "ssp3": 3}


class Fork(nn.Module):
    """Where a branch leaves the main path: x is kept for the matching `Join`."""


class Join(nn.Module):
    """Where a branch returns: x ← skip·(x kept by the matching `Fork`) + branch·x."""

    def __init__(self, skip: float, branch: float) -> None:
        super().__init__()
        self.skip, self.branch = skip, branch

    def extra_repr(self) -> str:
        return f"skip={self.skip!r}, branch={self.branch!r}"


def walk(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The outputs of a list of modules in which forks and joins match."""
    kept: list[Tensor] = []
    for module in modules:
        if isinstance(module, Fork):
            kept.append(x)
        elif isinstance(module, Join):
            x = module.skip * kept.pop() + module.branch * x
        else:
            x = module(x)
    return x


class Residual(nn.Module):
    """`steps` explicit steps of dx/dt = f(x), each of length Δt = `step`; Euler with one step is x + Δt·f(x).

    Args:
        branch: f, whose outputs have its inputs' shape.
        step: Δt.
        scheme: "euler"; "heun": ½x + ½(E∘E)(x) with E the Euler step, of order 2; "ssp3": ⅓x + ⅔E(¾x + ¼(E∘E)(x)), of
            order 3.
        steps: how many, all with the same parameters.

    Raises:
        ValueError: a step that is not positive, an unknown scheme, fewer than one step.
    """

    def __init__(self, branch: nn.Sequential, step: float = 1.0, scheme: Scheme = "euler", steps: int = 1) -> None:
        super().__init__()
        if not step > 0:
            raise ValueError(f"the step Δt must be positive, got {step!r}")
        if scheme not in SCHEMES:
            raise ValueError(f"unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}")
        if steps < 1:
            raise ValueError(f"a block takes at least one step, got {steps}")
        self.branch, self.step, self.scheme, self.steps = branch, step, scheme, steps

    def unrolled(self) -> list[nn.Module]:
        """The block as a list of modules, forks and joins; the branch stands in it once for each evaluation."""
        euler = [Fork(), self.branch, Join(1.0, self.step)]
        one: list[nn.Module] = {
            "euler": euler,
            "heun": [Fork(), *euler, *euler, Join(0.5, 0.5)],
            "ssp3": [Fork(), Fork(), *euler, *euler, Join(0.75, 0.25), *euler, Join(1 / 3, 2 / 3)],
        }[self.scheme]
        return one * self.steps

    def forward(self, input: Tensor) -> Tensor:
        return walk(self.unrolled(), input)

    def extra_repr(self) -> str:
        return f"step={self.step!r}, scheme={self.scheme!r}, steps={self.steps}"
