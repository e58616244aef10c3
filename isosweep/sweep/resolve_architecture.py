"""What a network has beyond the plain dense one, from a point of a grid: checked, and without what has no effect."""

from __future__ import annotations

from typing import Any

from isosweep.data.catalogue import CATALOGUE

from .architecture_settings import ArchitectureSettings
from .errors import Impossible

__all__ = ["no_fixed_point", "resolve_architecture"]

# Axis → the field of `ArchitectureSettings`.
_FIELDS = {
    "architecture": "kind",
    "time_step": "time_step",
    "scheme": "scheme",
    "block_steps": "block_steps",
    "normalization": "normalization",
    "normalization_position": "position",
    "tied": "tied",
    "biases": "biases",
    "weight_bits": "weight_bits",
    "activation_bits": "activation_bits",
    "activation_clip": "activation_clip",
    "widths": "widths",
    "parametrization": "parametrization",
    "readout_scale": "readout_scale",
    "kernel": "kernel",
    "padding": "padding",
}


def resolve_architecture(point: dict[str, Any], used: set[str]) -> ArchitectureSettings | None:
    """The architecture of `point`; None for the plain dense network. What had an effect is added to `used`.

    Raises:
        Impossible: a combination that has no meaning.
    """
    given = {field: point[axis] for axis, field in _FIELDS.items() if point.get(axis) is not None}
    if not given:
        return None
    if "widths" in given:
        given["widths"] = tuple(map(int, given["widths"].split("-")))
    asked = ArchitectureSettings(**given)
    _check(point, asked)
    effective = _effective(point, asked)
    used.update(axis for axis, field in _FIELDS.items() if field in effective)
    if effective.get("kind") == "convolutional":
        effective["image"] = CATALOGUE[point["data"]].shape
    found = ArchitectureSettings(**effective)
    return None if found == ArchitectureSettings() else found


def no_fixed_point(found: ArchitectureSettings | None) -> str | None:
    """Why the variance of this network has no fixed point by mean field's map; None where that of a chain holds."""
    if found is None:
        return None
    if found.kind == "residual":
        return "the variance of a residual network grows with depth"
    if found.normalization != "none":
        return "normalisation sets the variance"
    if found.weight_bits is not None or found.activation_bits is not None:
        return "mean field's map is that of the network before quantisation"
    return None


def _effective(point: dict[str, Any], asked: ArchitectureSettings) -> dict[str, Any]:
    """The fields that have an effect on this network, among those that were given."""
    without: set[str] = set()
    if asked.kind != "residual":
        without |= {"time_step", "scheme", "block_steps"}
    if asked.kind != "residual" or asked.normalization == "none":
        without.add("position")
    if asked.kind != "convolutional":
        without |= {"kernel", "padding"}
    if asked.activation_bits is None:
        without.add("activation_clip")
    if asked.widths is None and point["depth"] < 3:
        without.add("tied")
    names = {field for axis, field in _FIELDS.items() if point.get(axis) is not None} - without
    return {name: getattr(asked, name) for name in sorted(names)}


def _check(point: dict[str, Any], asked: ArchitectureSettings) -> None:
    convolutional = asked.kind == "convolutional"
    if convolutional:
        _check_convolutional(point, asked)
    if asked.widths is not None:
        if asked.kind != "dense":
            raise Impossible("widths", f"only for architecture: dense; a {asked.kind} network has one width")
        if asked.tied and len(set(asked.widths[1:])) > 1:
            raise Impossible("widths", "tied layers have one width: expected equal widths from the first layer on")
        if asked.tied and len(asked.widths) > 2 and asked.widths[0] != asked.widths[1]:
            raise Impossible("widths", "tied layers have as many inputs as outputs: expected equal widths")
        if asked.parametrization == "mup":
            raise Impossible("widths", "the factors of mup are powers of one width: expected depth and width")
    if asked.activation_bits is not None and point["activation"] != "relu":
        raise Impossible(
            "activation_bits",
            f"quantised activations are a clipped relu on a grid: expected activation: relu, not {point['activation']}",
        )
    if asked.weight_bits is not None and (convolutional or asked.parametrization != "standard"):
        other = "convolutions" if convolutional else f"parametrization: {asked.parametrization}"
        raise Impossible("weight_bits", f"quantised weights are those of dense standard layers, not of {other}")
    if not asked.biases and point.get("bias_std"):
        raise Impossible("biases", f"without biases there is no σ_b = {point['bias_std']:g}: leave bias_std out")


def _check_convolutional(point: dict[str, Any], asked: ArchitectureSettings) -> None:
    shape = CATALOGUE[point["data"]].shape
    if shape is None:
        raise Impossible("architecture", f"convolutions need images; the inputs of {point['data']} have no shape")
    if asked.parametrization != "standard":
        raise Impossible("parametrization", "convolutional networks have the standard parametrization alone")
    if asked.normalization in ("layer", "rms"):
        raise Impossible(
            "normalization",
            f"{asked.normalization} normalises vectors, not the channels of images: expected none or batch",
        )
    if asked.kernel % 2 == 0:
        raise Impossible("kernel", f"an even edge, {asked.kernel}, cannot keep the image's size: expected an odd one")
    if asked.padding == "circular" and asked.kernel // 2 >= min(shape[1:]):
        raise Impossible("kernel", f"an edge of {asked.kernel} wraps around the {shape[1]} × {shape[2]} image twice")
    if point.get("init") == "orthogonal" and point["width"] < shape[0]:
        raise Impossible(
            "init",
            f"a delta-orthogonal kernel needs at least as many output channels as input channels: {point['width']} and "
            f"{shape[0]} here",
        )
