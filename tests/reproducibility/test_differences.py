"""Where two measurements differ: nothing exactly where the digests agree, and the first place in the order of a run."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosweep.measurement.environment import DECISIVE, environment_class
from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, Measurement, TrainingPoint
from isosweep.reproducibility.condition import agreement
from isosweep.reproducibility.difference import differences, place_of
from isosweep.reproducibility.surroundings import changes_between


def measurement(layers: int = 4) -> Measurement:
    values = np.array([3.0, 1e-3, 1e-9, 0.0])
    return Measurement(
        tuple(FisherBlock(0, name, values.copy(), 3.0, 4.0, 3, 1e-15) for name in ("all", "layer1", "readout")),
        tuple(JacobianSample(0, i, np.array([2.0, 0.5, 0.0]), np.array([0.7, -0.7, -math.inf])) for i in range(2)),
        tuple(LayerActivity(0, i, f"layer{i}", 1.0 / i, 0.1 * i) for i in range(1, layers + 1)),
        {"input_mean_square": 1.0, "fisher_parameters": 20.0, "jacobian_rank": math.nan},
        (TrainingPoint(0, 0.0, {"loss": 2.0}), TrainingPoint(8, 0.5, {"quantiles": np.array([0.5, 0.7]), "loss": 1.0})),
    )


def changed(found: Measurement, name: str, at: int) -> Measurement:
    """One bit of one array flipped."""
    place = place_of(name)

    def flip(array: np.ndarray) -> np.ndarray:
        bits = np.array(array, dtype=np.float64)
        bits.view(np.uint64)[at % bits.size] ^= 1
        return bits

    if place.quantity == "layer":
        assert place.layer is not None
        field = ("q", "correlation")[at % 2]
        rows = list(found.layers)
        row = rows[place.layer - 1]
        rows[place.layer - 1] = dataclasses.replace(row, **{field: math.nextafter(getattr(row, field), 9)})
        return dataclasses.replace(found, layers=tuple(rows))
    if place.quantity == "fisher eigenvalues":
        return dataclasses.replace(
            found,
            fisher=tuple(
                dataclasses.replace(b, eigenvalues=flip(b.eigenvalues)) if b.block == place.block else b  # type: ignore[arg-type]
                for b in found.fisher
            ),
        )
    if place.quantity.startswith("jacobian ") and place.sample is not None:
        field = place.quantity.removeprefix("jacobian ")
        return dataclasses.replace(
            found,
            jacobian=tuple(
                dataclasses.replace(s, **{field: flip(getattr(s, field))}) if s.sample == place.sample else s
                for s in found.jacobian
            ),
        )
    if place.quantity.startswith("training "):
        what = place.quantity.removeprefix("training ")
        points = [
            (
                dataclasses.replace(p, epoch=p.epoch + 1)
                if what == "epoch"
                else dataclasses.replace(p, values={**p.values, what: flip(np.atleast_1d(p.values[what]))})
            )
            if p.step == place.step
            else p
            for p in found.training
        ]
        return dataclasses.replace(found, training=tuple(points))
    if name.startswith("scalar/"):
        key = name.removeprefix("scalar/")
        return dataclasses.replace(found, scalars={**found.scalars, key: 7.0})
    return dataclasses.replace(found, fisher=(dataclasses.replace(found.fisher[0], trace=5.0), *found.fisher[1:]))


NAMES = [name for name, _ in measurement().arrays()]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3)), max_size=3))
def test_they_are_empty_exactly_where_the_digests_agree(changes: list[tuple[str, int]]) -> None:
    one, other = measurement(), measurement()
    for name, at in changes:
        other = changed(other, name, at)
    found = differences(one, other)
    assert (not found) == (one.digest == other.digest)
    assert all(d.differing >= 1 and d.where for d in found)


@given(st.integers(1, 4), st.sampled_from([n for n in NAMES if not n.startswith(("layers", "scalar/input"))]))
def test_a_layer_comes_before_what_follows_from_it(layer: int, later: str) -> None:
    name = f"layers/0/{layer}/layer{layer}"
    other = changed(changed(measurement(), later, 0), name, 0)
    if layer < 4:
        other = changed(other, f"layers/0/{layer + 1}/layer{layer + 1}", 0)
    first = differences(measurement(), other)[0]
    assert (first.layer, first.element) == (layer, "q")
    assert first.where == f"layer {layer} (layer{layer}): q"


def test_the_data_come_before_the_layers_and_every_place_has_words() -> None:
    other = measurement()
    for name in NAMES:
        other = changed(other, name, 1)
    found = differences(measurement(), other)
    assert found[0].where == "input_mean_square"
    words = {d.where for d in found}
    assert {"layer 1 (layer1): correlation", "Fisher information of readout: eigenvalue 2 of 4"} <= words
    assert {"Jacobian at input 1: singular value 2 of 3", "training step 8: loss"} <= words
    assert "training step 8: quantiles 2 of 2" in words
    assert [d.step for d in found if d.quantity.startswith("training ")] == [0, 0, 8, 8, 8]


def test_what_only_one_of_the_two_has_is_told() -> None:
    one = measurement()
    other = dataclasses.replace(one, jacobian=one.jacobian[:1], training=one.training[:1])
    found = {d.where: d.missing for d in differences(one, other)}
    assert set(found.values()) == {"only the record has it"}
    assert len(found) == 5
    shorter = dataclasses.replace(one.fisher[0], eigenvalues=np.array([3.0]))
    found_lengths = differences(one, dataclasses.replace(one, fisher=(shorter, *one.fisher[1:])))
    assert found_lengths[0].missing == "4 numbers recorded, 1 now"
    assert math.isinf(found_lengths[0].largest_relative)


def test_one_nan_is_like_another_and_zero_has_a_sign() -> None:
    one = measurement()
    payload = np.array([0x7FF8000000000123], dtype=np.uint64).view(np.float64)[0]
    assert not differences(one, dataclasses.replace(one, scalars={**one.scalars, "jacobian_rank": float(payload)}))
    signed = dataclasses.replace(one.jacobian[0], singular_values=np.array([2.0, 0.5, -0.0]))
    (found,) = differences(one, dataclasses.replace(one, jacobian=(signed, *one.jacobian[1:])))
    assert (found.element, found.largest_relative) == ("3", 0.0)


@pytest.mark.parametrize("name", [*DECISIVE, "code_id", "hostname", "lock"])
def test_a_changed_field_is_shown_and_known_to_decide_or_not(name: str) -> None:
    known: dict[str, Any] = dict.fromkeys(DECISIVE, "as it was") | {"hostname": "a", "code_id": "b", "lock": "c"}
    other = {**known, name: "another"}
    (change,) = changes_between(known, other)
    assert (change.name, change.recorded, change.now) == (name, known[name], "another")
    assert change.decisive == (environment_class(known) != environment_class(other) or name == "code_id")
    assert not changes_between(known, {**known, "seconds": 3.0, "task": "x"})


@given(st.floats(0, 3), st.sampled_from(["fisher eigenvalues", "jacobian singular_values", "layer q"]))
def test_an_error_counts_against_ten_moves(share: float, quantity: str) -> None:
    """The reference's spectra are moved by 1e-8 of themselves; an error of `share` × 10 × that uses `share` of the
    tolerance.
    """

    def scaled(by: float) -> Measurement:
        one = measurement()
        return dataclasses.replace(
            one,
            fisher=tuple(dataclasses.replace(b, eigenvalues=b.eigenvalues * by, abs_error=0.0) for b in one.fisher),  # type: ignore[operator]
            jacobian=tuple(dataclasses.replace(s, singular_values=s.singular_values * by) for s in one.jacobian),
            layers=tuple(dataclasses.replace(a, q=a.q * by) for a in one.layers),
        )

    moved = [scaled(1 + 1e-8), scaled(1 - 0.5e-8)]
    found = {a.quantity: a for a in agreement(scaled(1), scaled(1 + share * 1e-7), moved, [2.0**-53])}
    assert found[quantity].used == pytest.approx(share, rel=1e-5, abs=1e-6)
    assert found[quantity].judged
    assert found["fisher_parameters"].used == 0
    assert not found["fisher summary rank"].judged
