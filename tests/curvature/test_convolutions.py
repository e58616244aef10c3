"""The dual of convolutions: both of its forms, gradients that are formed part by part, and what is chosen."""

from __future__ import annotations

import pytest
import torch
from cases import samples
from torch import Tensor, nn

from isosweep.curvature import fisher
from isosweep.curvature.layers import LaterTerm, conv2d, rule_for


def network(channels: int, side: int, groups: int = 1) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Unflatten(1, (channels, side, side)),
        nn.Conv2d(channels, channels, 3, padding=1, padding_mode="circular", groups=groups),
        nn.Tanh(),
        nn.Conv2d(channels, channels, 3, padding=1, groups=groups),
        nn.Flatten(),
        nn.Linear(channels * side * side, 3),
    ).double()
    return made, samples(11, channels * side * side)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("layers", ["none", "summary"])
def test_parts_of_the_gradients_add_up(groups: int, layers, monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = network(6, 5, groups)
    whole = fisher(made, inputs, layers=layers)
    monkeypatch.setattr(conv2d, "PART_BYTES", 4000)
    in_parts = fisher(made, inputs, layers=layers)
    torch.testing.assert_close(in_parts.eigenvalues, whole.eigenvalues, rtol=1e-11, atol=1e-13)
    for name, block in whole.blocks.items():
        assert in_parts.blocks[name].lambda_max == pytest.approx(block.lambda_max, rel=1e-12)
        assert in_parts.blocks[name].trace == pytest.approx(block.trace, rel=1e-12)


def test_no_part_is_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(6, 8, 3, padding=1).double()
    images, cotangents = torch.zeros(4, 6, 5, 5).double(), torch.zeros(2, 4, 8, 5, 5).double()
    monkeypatch.setattr(conv2d, "PART_BYTES", 8 * 54 * 8 * 3)
    rule = rule_for(layer)
    assert rule is not None
    terms = [term for term in rule.gram_terms(layer, images, cotangents, "weights") if isinstance(term, LaterTerm)]
    assert [term.form().shape[2] for term in terms] == [2 * 54, 3 * 54, 3 * 54]
    assert all(term.nbytes == term.form().nbytes <= conv2d.PART_BYTES for term in terms)
    assert rule.term_width(layer, 8, 8) == 3 * 54


def test_pairs_of_places_are_the_gradients_products(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = network(12, 2)
    rule = rule_for(made[1])
    assert rule is not None
    images, cotangents = torch.zeros(11, 12, 2, 2).double(), torch.zeros(2, 11, 12, 2, 2).double()
    assert len(rule.gram_uses(made[1], images, cotangents, "all")) == 4
    by_pairs = fisher(made, inputs, layers="summary")
    monkeypatch.setattr(conv2d, "_PLACE_COST", 1e9)
    assert len(rule.gram_uses(made[1], images, cotangents, "all")) == 1
    by_gradients = fisher(made, inputs, layers="summary")
    torch.testing.assert_close(by_pairs.eigenvalues, by_gradients.eigenvalues, rtol=1e-11, atol=1e-13)
    for name, block in by_gradients.blocks.items():
        assert by_pairs.blocks[name].lambda_max == pytest.approx(block.lambda_max, rel=1e-12)
