"""What a network has beyond the plain dense one: residual blocks, convolutions, normalisation, quantisation, ties."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["ArchitectureSettings"]


@dataclass(frozen=True, slots=True)
class ArchitectureSettings:
    """Canonical: an option without effect has its default. A network that has all defaults has none of these.

    Attributes:
        kind: "dense": a chain; "residual": the first layer, then L − 1 residual blocks of one layer each;
            "convolutional": L convolutions of `width` channels, then the mean over the places and the readout.
        time_step: Δt of a residual block.
        scheme: of a residual block: "euler", "heun" or "ssp3"; see `isosweep.networks.residual`.
        block_steps: steps of a block, all with the block's parameters.
        normalization: "none", "layer", "rms" or "batch"; where layers are normalised: between the layer and φ, in a
            residual network where `position` says.
        position: "pre": the branch normalises what it reads; "post": the sum is normalised.
        tied: hidden layers 2 … L are one layer.
        biases: whether layers have biases.
        weight_bits: bits a weight of the hidden layers; None: not quantised.
        activation_bits: bits an activation on [0, `activation_clip`], in place of φ = relu; None: not quantised.
        widths: N_1 … N_L, where they are not all `width`.
        parametrization: "standard", "ntk" or "mup"; see `isosweep.networks.scaled`.
        readout_scale: a factor of the readout's σ_w.
        kernel: edge of the convolutions' kernels.
        padding: of the convolutions: "circular" or "zeros".
        image: channels, height and width of an input.
    """

    kind: Literal["dense", "residual", "convolutional"] = "dense"
    time_step: float = 1.0
    scheme: Literal["euler", "heun", "ssp3"] = "euler"
    block_steps: int = 1
    normalization: Literal["none", "layer", "rms", "batch"] = "none"
    position: Literal["pre", "post"] = "pre"
    tied: bool = False
    biases: bool = True
    weight_bits: int | None = None
    activation_bits: int | None = None
    activation_clip: float = 1.0
    widths: tuple[int, ...] | None = None
    parametrization: Literal["standard", "ntk", "mup"] = "standard"
    readout_scale: float = 1.0
    kernel: int = 3
    padding: Literal["circular", "zeros"] = "circular"
    image: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, raw: dict[str, Any]) -> ArchitectureSettings:
        """From plain values, as JSON has them."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()}
        return cls(**plain)

    @property
    def columns(self) -> dict[str, Any]:
        """Every setting under its plain name, as in `runs.parquet`; None where it has no effect."""
        residual, convolutional = self.kind == "residual", self.kind == "convolutional"
        normalized = self.normalization != "none"
        return {
            "architecture": self.kind,
            "time_step": self.time_step if residual else None,
            "scheme": self.scheme if residual else None,
            "block_steps": self.block_steps if residual else None,
            "normalization": self.normalization,
            "normalization_position": self.position if residual and normalized else None,
            "tied": self.tied,
            "biases": self.biases,
            "weight_bits": self.weight_bits,
            "activation_bits": self.activation_bits,
            "activation_clip": self.activation_clip if self.activation_bits else None,
            "widths": "-".join(map(str, self.widths)) if self.widths else None,
            "parametrization": self.parametrization,
            "readout_scale": self.readout_scale,
            "kernel": self.kernel if convolutional else None,
            "padding": self.padding if convolutional else None,
        }

    @property
    def is_plain_chain(self) -> bool:
        """Whether its layers are those of a plain chain of dense layers: W x + b, each in one place."""
        chain = self.kind == "dense" and self.normalization == "none" and not self.tied
        return chain and self.parametrization == "standard"

    @property
    def carries_manifolds(self) -> bool:
        """Whether its hidden weights may be moved on a manifold."""
        return self.is_plain_chain and self.weight_bits is None

    def identity(self) -> dict[str, Any]:
        """What differs from the defaults: an option that is added later leaves the ids of today."""
        return {
            f.name: list(value) if isinstance(value, tuple) else value
            for f in fields(self)
            if (value := getattr(self, f.name)) != f.default
        }
