"""Networks beyond the plain dense one: from the sweep file through ids, networks and measurements."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import isosweep
from isosweep.data.splits import load_splits
from isosweep.networks.quantized import QuantizedLinear, QuantizedReLU, quantize_weights
from isosweep.networks.residual import Residual
from isosweep.networks.scaled import ScaledLinear
from isosweep.sweep.errors import Impossible, SpecError
from isosweep.sweep.resolve_architecture import resolve_architecture
from isosweep.sweep.settings import from_json, to_json

BASE = """\
name: beyond
network: {{depth: 3, width: 8, activation: {activation}, init: gaussian, gain: 1.2{more}}}
data: {{name: digits, samples: 24}}
measure: {{fisher: {{samples: 6}}, jacobian: {{samples: 2}}}}
"""


def load(folder: Path, more: str, activation: str = "tanh", text: str = BASE) -> isosweep.Sweep:
    (folder / "sweep.yaml").write_text(text.format(more=more, activation=activation))
    return isosweep.load(folder / "sweep.yaml")


def only(folder: Path, more: str, activation: str = "tanh"):
    (run,) = load(folder, more, activation).runs()
    return run


PLAIN = {
    "architecture": "dense",
    "normalization": "none",
    "tied": "false",
    "biases": "true",
    "parametrization": "standard",
    "readout_scale": "1",
    "time_step": "0.5",
    "scheme": "heun",
    "block_steps": "3",
    "normalization_position": "post",
    "activation_clip": "2",
    "kernel": "5",
    "padding": "zeros",
}


@pytest.mark.parametrize("key", list(PLAIN))
def test_what_has_no_effect_leaves_the_id(tmp_path: Path, key: str) -> None:
    assert only(tmp_path, f", {key}: {PLAIN[key]}").id == only(tmp_path, "").id


VARIANTS = [
    ("architecture: residual", "tanh"),
    ("architecture: residual, time_step: 0.25", "tanh"),
    ("architecture: residual, time_step: 0.25, scheme: ssp3, block_steps: 2", "tanh"),
    ("architecture: residual, normalization: layer", "tanh"),
    ("architecture: residual, normalization: rms, normalization_position: post", "tanh"),
    ("architecture: residual, tied: true", "tanh"),
    ("architecture: convolutional", "tanh"),
    ("architecture: convolutional, padding: zeros, kernel: 5", "relu"),
    ("architecture: convolutional, normalization: batch", "relu"),
    ("normalization: layer", "tanh"),
    ("normalization: batch", "tanh"),
    ("tied: true", "tanh"),
    ("biases: false", "tanh"),
    ("weight_bits: 1", "tanh"),
    ("weight_bits: 4, activation_bits: 2", "relu"),
    ("weight_bits: 4, activation_bits: 2, activation_clip: 3", "relu"),
    ("parametrization: ntk", "tanh"),
    ("parametrization: mup", "tanh"),
    ("readout_scale: 0.1", "tanh"),
]


def test_every_variant_is_a_run_of_its_own(tmp_path: Path) -> None:
    ids = {only(tmp_path, f", {more}", activation).id for more, activation in VARIANTS}
    assert len(ids) == len(VARIANTS)


@pytest.mark.parametrize(("more", "activation"), VARIANTS, ids=[more for more, _ in VARIANTS])
def test_a_variant_is_measured_and_survives_json(tmp_path: Path, more: str, activation: str) -> None:
    run = only(tmp_path, f", {more}", activation)
    assert from_json(to_json(run)) == run
    assert run.columns["architecture"] in ("dense", "residual", "convolutional")
    measured = isosweep.execute(run)
    assert measured.digest == isosweep.execute(from_json(to_json(run))).digest
    assert measured.scalars["fisher_parameters"] == sum(p.numel() for p in isosweep.realize(run).network.parameters())
    assert measured.scalars["jacobian_s_max"] > 0


def modules(folder: Path, more: str, kind: type, activation: str = "tanh") -> list:
    network = isosweep.realize(only(folder, f", {more}", activation)).network
    return [module for module in network.modules() if isinstance(module, kind)]


def test_networks_are_what_the_file_says(tmp_path: Path) -> None:
    blocks = modules(tmp_path, "architecture: residual, time_step: 1/4, block_steps: 2", Residual)
    assert [(block.step, block.steps) for block in blocks] == [(0.25, 2)] * 2
    assert len(modules(tmp_path, "tied: true", nn.Linear)) == 3
    assert all(layer.bias is None for layer in modules(tmp_path, "biases: false", nn.Linear))
    quantized = modules(tmp_path, "weight_bits: 2, activation_bits: 4", QuantizedLinear, "relu")
    assert [layer.bits for layer in quantized] == [2, 2, 2]
    assert len(modules(tmp_path, "weight_bits: 2, activation_bits: 4", QuantizedReLU, "relu")) == 3
    assert [m.kernel_size for m in modules(tmp_path, "architecture: convolutional", nn.Conv2d)] == [(3, 3)] * 3


def test_widths_one_by_one(tmp_path: Path) -> None:
    text = BASE.replace("depth: 3, width: 8", "widths: @").replace("@", "{more}", 1).replace("1.2{more}", "1.2")
    runs = load(tmp_path, "[12, 7, 9]", text=text).runs()
    assert [run.columns["widths"] for run in runs] == ["12-7-9"]
    network = isosweep.realize(next(iter(runs))).network
    assert [m.out_features for m in network if isinstance(m, nn.Linear)] == [12, 7, 9, 10]
    runs = load(tmp_path, "[[12, 7], [5]]", text=text).runs()
    assert [(run.network.depth, run.network.width, run.columns["widths"]) for run in runs] == [
        (2, 12, "12-7"),
        (1, 5, "5"),
    ]


@pytest.mark.parametrize("parametrization", ["ntk", "mup"])
def test_a_parametrization_changes_the_gradient_and_not_the_function(tmp_path: Path, parametrization: str) -> None:
    """The same draws: equal pre-activations of the hidden layers, and of the readout up to mup's 1/√N."""
    text = BASE.replace("gain: 1.2", "gain: 1.2, bias_std: 0.3")

    def hidden(more: str) -> tuple[torch.Tensor, torch.Tensor]:
        (run,) = load(tmp_path, more, text=text).runs()
        network, inputs, _ = isosweep.realize(run)
        return network[:-1](inputs).detach(), (network(inputs) - network(0 * inputs)).detach()

    standard, scaled = hidden(""), hidden(f", parametrization: {parametrization}")
    torch.testing.assert_close(scaled[0], standard[0], rtol=1e-12, atol=1e-12)
    factor = 1.0 if parametrization == "ntk" else 8**-0.5
    torch.testing.assert_close(scaled[1], standard[1] * factor, rtol=1e-12, atol=1e-12)
    assert len(modules(tmp_path, f"parametrization: {parametrization}", ScaledLinear)) == 4


@pytest.mark.parametrize(
    ("more", "activation", "message"),
    [
        ("architecture: convolutional, kernel: 2", "tanh", "even edge"),
        ("architecture: convolutional, kernel: 17", "tanh", "wraps around"),
        ("architecture: convolutional, parametrization: ntk", "tanh", "standard parametrization alone"),
        ("architecture: convolutional, weight_bits: 2", "tanh", "not of convolutions"),
        ("architecture: convolutional, normalization: layer", "tanh", "normalises vectors"),
        ("architecture: convolutional, normalization: rms", "tanh", "normalises vectors"),
        ("weight_bits: 0", "tanh", "at least 1"),
        ("weight_bits: 17", "tanh", "at most 16"),
        ("weight_bits: 2, parametrization: ntk", "tanh", "not of parametrization: ntk"),
        ("activation_bits: 2", "tanh", "clipped relu"),
        ("biases: false, bias_std: 0.1", "tanh", "without biases"),
        ("time_step: 0", "tanh", "greater than 0"),
        ("architecture: resnet", "tanh", "one of dense, residual, convolutional"),
        ("widths: [3, 4]", "tanh", "leave `depth` out"),
        ("scheme: rk4, architecture: residual", "tanh", "euler, heun, ssp3"),
    ],
)
def test_combinations_without_a_meaning(tmp_path: Path, more: str, activation: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(tmp_path, f", {more}", activation).runs()


def test_delta_orthogonal_kernels_need_as_many_output_channels() -> None:
    point = {"architecture": "convolutional", "data": "cifar10", "init": "orthogonal", "width": 2, "depth": 3}
    with pytest.raises(Impossible, match="at least as many output channels as input channels: 2 and 3 here"):
        resolve_architecture(point, set())
    assert resolve_architecture(point | {"width": 3}, set()) is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: digits", "name: gaussian, inputs: 9, classes: 3", "need images"),
        ("samples: 24", "samples: 24, scale: fixed_point", "grows with depth"),
        ("samples: 6}", "samples: 6, bounds: true}", "plain chains"),
        ("samples: 6}", "samples: 6, method: auto}", "auto needs"),
    ],
)
def test_what_is_known_of_plain_networks_alone(tmp_path: Path, old: str, new: str, message: str) -> None:
    kind = "convolutional" if "gaussian" in new else "residual"
    assert old in BASE
    with pytest.raises(SpecError, match=message):
        load(tmp_path, f", architecture: {kind}", text=BASE.replace(old, new)).runs()


def test_delta_orthogonal_kernels_are_zero_but_at_their_centre(tmp_path: Path) -> None:
    text = BASE.replace("init: gaussian", "init: orthogonal")
    (run,) = load(tmp_path, ", architecture: convolutional", text=text).runs()
    first = isosweep.realize(run).network[1]
    assert float(first.weight.detach().abs().sum(dim=(0, 1))[1, 1]) == float(first.weight.detach().abs().sum())


TRAINED = [
    ("architecture: residual, time_step: 0.5, block_steps: 2, scheme: heun", "tanh"),
    ("architecture: convolutional", "relu"),
    ("normalization: layer", "tanh"),
    ("normalization: batch", "relu"),
    ("architecture: convolutional, normalization: batch", "relu"),
    ("architecture: residual, normalization: batch", "tanh"),
    ("tied: true", "tanh"),
    ("weight_bits: 2, activation_bits: 4", "relu"),
    ("parametrization: mup", "tanh"),
]
TRAIN = "train: {epochs: 3, batch: 8, optimizer: sgd, learning_rate: 0.02}\n"


@pytest.mark.parametrize(("more", "activation"), TRAINED, ids=[more for more, _ in TRAINED])
def test_a_variant_trains(tmp_path: Path, more: str, activation: str) -> None:
    text = BASE + TRAIN.replace("{", "{{").replace("}", "}}")
    (run,) = load(tmp_path, f", {more}", activation, text).runs()
    measured = isosweep.execute(run)
    assert measured.outcome == "done"
    losses = [point.values["train_loss"] for point in measured.training if "train_loss" in point.values]
    assert losses[-1] < losses[0]
    assert measured.digest == isosweep.execute(run, workers=2).digest


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_blended_coarse_gradients(tmp_path: Path, share: float) -> None:
    """One step by hand: w ← (1 − ρ)w + ρQ(w) − ηg with g taken at Q(w); ρ = 0 is the plain coarse gradient."""
    train = f"epochs: 1, batch: 8, optimizer: sgd, learning_rate: 0.5, dtype: float64, blend: {share}"
    text = BASE.replace("samples: 24", "samples: 8") + "train: {{" + train + "}}\n"
    (run,) = load(tmp_path, ", weight_bits: 2", text=text).runs()
    assert run.train is not None
    assert run.train.blend == (share or None)
    measured = isosweep.execute(run)
    network = isosweep.networks.realize.initial_network(run, torch.float64)
    split = load_splits(run.data, run.seed).train
    inputs, labels = torch.from_numpy(split.inputs), torch.from_numpy(split.labels)
    nn.functional.cross_entropy(network(inputs), labels).backward()
    with torch.no_grad():
        for layer in (module for module in network.modules() if isinstance(module, nn.Linear)):
            if isinstance(layer, QuantizedLinear):
                layer.weight.copy_((1 - share) * layer.weight + share * quantize_weights(layer.weight, 2))
            layer.weight -= 0.5 * layer.weight.grad
            layer.bias -= 0.5 * layer.bias.grad
        loss = float(nn.functional.cross_entropy(network(inputs), labels))
    assert measured.training[-1].values["train_loss"] == pytest.approx(loss, rel=1e-10)


def test_batch_normalisation_by_hand(tmp_path: Path) -> None:
    """Two steps by torch's own training mode; losses with the statistics of the training split, a split's order and
    what was trained on before having no say in them.
    """
    train = "epochs: 2, batch: 8, optimizer: sgd, learning_rate: 0.3, dtype: float64"
    text = BASE.replace("samples: 24", "samples: 8") + "train: {{" + train + "}}\n"
    (run,) = load(tmp_path, ", normalization: batch", text=text).runs()
    measured = isosweep.execute(run)
    network = isosweep.networks.realize.initial_network(run, torch.float64)
    split = load_splits(run.data, run.seed).train
    inputs, labels = torch.from_numpy(split.inputs), torch.from_numpy(split.labels)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    losses = []
    network.train()
    for step in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(inputs), labels)
        losses.append(float(loss.detach()))
        if step < 2:
            loss.backward()
            optimizer.step()
    found = [point.values["train_loss"] for point in measured.training if "train_loss" in point.values]
    assert [found[0], found[-1]] == pytest.approx([losses[0], losses[2]], rel=1e-10)


def test_every_width_must_suit_the_manifold(tmp_path: Path) -> None:
    train = "epochs: 1, batch: 8, optimizer: riemannian_sgd, manifold: stiefel, learning_rate: 0.1"
    text = (
        BASE.replace("depth: 3, width: 8", "widths: {more}")
        .replace("1.2{more}", "1.2")
        .replace("gaussian", "orthogonal")
    )
    text += "train: {{" + train + "}}\n"
    assert len(load(tmp_path, "[9, 7, 7]", text=text).runs()) == 1
    with pytest.raises(SpecError, match="layer 3 has 8 rows of 7 columns"):
        load(tmp_path, "[9, 7, 8]", text=text).runs()


@pytest.mark.parametrize(
    ("more", "train", "message"),
    [
        ("tied: true", "optimizer: sgd, blend: 0.1", "weight_bits"),
        ("normalization: batch", "optimizer: adam", "no variance to normalise by"),
        ("weight_bits: 2", "optimizer: riemannian_sgd, manifold: oblique", "plain dense layers of full precision"),
    ],
)
def test_what_cannot_be_trained(tmp_path: Path, more: str, train: str, message: str) -> None:
    own = TRAIN.replace("optimizer: sgd", train).replace("batch: 8", "batch: 1" if "batch" in more else "batch: 8")
    with pytest.raises(SpecError, match=message):
        load(tmp_path, f", {more}", text=BASE + own.replace("{", "{{").replace("}", "}}")).runs()
