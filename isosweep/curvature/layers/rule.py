"""What a layer must know for the engine to pass through it.

A new layer is one new file in this folder, with an instance of a subclass of `Rule` (or `Elementwise`) in a
module-level name `RULE`; `layers.rule_for` finds it.

Shapes: n samples, k cotangents a sample, `inputs` (n, in), `cotangents` (k, n, out), where `in` and `out` are one
dimension (dense layers) or several (images: channels, height, width). The rows of every Gram matrix are
ordered (cotangent, sample), so that what depends on the samples alone multiplies contiguous n × n blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Elementwise", "GramTerm", "LaterTerm", "Parameters", "Rule", "Term"]

Parameters = Literal["all", "weights"]


@dataclass(frozen=True)
class GramTerm:
    """One term of a layer's dual matrix: ⟨∂h_ia/∂θ, ∂h_jb/∂θ⟩ = S_ij · (c_ia · c_jb).

    Attributes:
        samples: the rows s_i, (n, d), with S_ij = s_i·s_j + offset; None if S is `offset` everywhere.
        offset: the constant part of S, 1 where there is a bias.
        cotangents: (k, n, w).
    """

    samples: Tensor | None
    offset: float
    cotangents: Tensor

    @property
    def nbytes(self) -> int:
        """Of the cotangents."""
        return self.cotangents.nbytes

    def formed(self) -> GramTerm:
        """Itself."""
        return self


@dataclass(frozen=True)
class LaterTerm:
    """A term of gradients themselves (S is 1) that are formed when they are needed, and again where they are needed
    again: they take more memory than what they are formed from.

    Attributes:
        form: gives the gradients, (k, n, parameters).
        nbytes: how many bytes they take.
    """

    form: Callable[[], Tensor]
    nbytes: int

    @property
    def samples(self) -> None:
        """None: S is 1 everywhere."""
        return

    @property
    def offset(self) -> float:
        """1."""
        return 1.0

    @property
    def cotangents(self) -> Tensor:
        """The gradients, formed anew."""
        return self.form()

    def formed(self) -> GramTerm:
        """With its gradients."""
        return GramTerm(None, 1.0, self.form())


Term = GramTerm | LaterTerm


class Rule(ABC):
    """A layer as the engine sees it. `saved` is whatever `apply` chose to keep for the way back.

    Attributes:
        types: the module types this rule is for, exactly.
        in_place: whether `pull_back` may write its result over the cotangents it reads.
        counts: whether its modules are the layers that depth counts (l = 1, 2, …), as dense layers are.
        is_identity: whether the outputs are the inputs' numbers, in the same order.
    """

    types: tuple[type[nn.Module], ...]
    in_place: bool = False
    counts: bool = False
    is_identity: bool = False

    @abstractmethod
    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(n, in) → the outputs (n, out), and `saved`, whose first dimension is n."""

    @abstractmethod
    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        """Cotangents at the outputs (k, n, out) → at the inputs (k, n, in), written into `out`.

        `out` is contiguous and may be `cotangents` itself where `in_place` says so.
        """

    def jacobian(self, module: nn.Module, saved: Tensor, shape: torch.Size) -> Tensor:
        """∂outputs/∂inputs as a matrix, several dimensions read as one: (out, in) if all samples share it, else
        (n, out, in). `shape` is one sample's inputs'. As it stands here, for linear layers alone.
        """
        unit = torch.eye(shape.numel(), dtype=saved.dtype, device=saved.device).view(-1, *shape)
        return self.push_forward(module, saved, unit).flatten(1).T

    def gram_terms(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> Sequence[Term]:
        """The terms of this layer's own diagonal block of the dual matrix; none if it has no parameters."""
        return []

    def gram_uses(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> Sequence[Sequence[Term]]:
        """The same of a module that stands in one place alone, as terms of several uses of its parameters, whose
        gradients add up term by term: one use, unless the rule knows better.
        """
        return [self.gram_terms(module, saved, cotangents, parameters)]

    def gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        """Σ_i (∂h_i/∂θ)ᵀ c_i for each of k cotangents: (k, P), in the order of the module's own parameters."""
        raise NotImplementedError(f"{type(self).__name__} has parameters but no gradients")

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        """Tangents at the inputs (n, in) → at the outputs (n, out), the parameters held fixed."""
        raise NotImplementedError(f"{type(self).__name__} has no tangents")

    def push_parameters(self, module: nn.Module, saved: Tensor, direction: Tensor, parameters: Parameters) -> Tensor:
        """The change (n, out) of the outputs along a direction (P,) of the parameters, the inputs held fixed."""
        raise NotImplementedError(f"{type(self).__name__} has parameters but no tangents of them")

    def parameter_count(self, module: nn.Module, parameters: Parameters) -> int:
        """The number of parameters that `gram_terms` accounts for."""
        return 0

    def term_width(self, module: nn.Module, rows: int, itemsize: int) -> int:
        """The most numbers a row, of `rows`, that a term's gradients have where they are formed; 0 where none are."""
        return 0

    def check(self, module: nn.Module) -> str | None:
        """Why this very module is not supported, or None."""
        return None

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        """What this module expects of one sample's inputs where they are not of `shape`; None where they fit."""
        return None


class Elementwise(Rule):
    """An activation φ applied to every entry: it saves φ'(h), and pulls back by multiplying with it."""

    in_place = True

    @abstractmethod
    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """φ'(h), entry by entry, to full relative accuracy."""

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = module(inputs)
        return outputs, self.derivative(module, inputs)

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        torch.mul(cotangents, saved, out=out)

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        return tangents * saved
