"""The other libraries, called as their documentation says; each returns the eigenvalues it can give, largest first.

All run in float64 on the threads torch has, which is how their users run them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["PEERS", "version"]


def version(package: str) -> str:
    return importlib.metadata.version(package)


def vivit(network: nn.Sequential, inputs: Tensor) -> Tensor:
    """The full spectrum (ViViT 1.0.0, with the removed Tensor.symeig put back so that it runs on today's torch)."""

    def symeig(self: Tensor, eigenvectors: bool = False, upper: bool = True) -> tuple[Tensor, Tensor]:
        if eigenvectors:
            values, vectors = torch.linalg.eigh(self)
            return values, vectors
        return torch.linalg.eigvalsh(self), self.new_empty(0)

    torch.Tensor.symeig = symeig
    from backpack import backpack, extend
    from vivit import EigvalshComputation

    model = extend(nn.Sequential(*network))
    loss_function = extend(nn.CrossEntropyLoss())
    computation = EigvalshComputation()
    groups = [{"params": list(model.parameters())}]
    loss = loss_function(model(inputs), torch.zeros(len(inputs), dtype=torch.int64))
    with backpack(computation.get_extension(), extension_hook=computation.get_extension_hook(groups)):
        loss.backward()
    return computation.get_result(groups[0]).flip(0)


def nngeometry(network: nn.Sequential, inputs: Tensor) -> Tensor:
    """The full spectrum, dense in function space (FMatDense)."""
    from nngeometry.metrics import FIM
    from nngeometry.object import FMatDense
    from torch.utils.data import DataLoader, TensorDataset

    labels = torch.zeros(len(inputs), dtype=torch.int64)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=len(inputs))
    gram = FIM(network, loader, FMatDense, variant="classif_logits", device="cpu").data
    edge = gram.shape[0] * gram.shape[1]
    return torch.linalg.eigvalsh(gram.reshape(edge, edge)).flip(0) / len(inputs)


def curvlinops_top(network: nn.Sequential, inputs: Tensor) -> Tensor:
    """The largest eigenvalue alone: curvlinops' GGN operator in scipy's eigsh."""
    from curvlinops import GGNLinearOperator
    from scipy.sparse.linalg import eigsh

    data = [(inputs, torch.zeros(len(inputs), dtype=torch.int64))]
    parameters = [p for p in network.parameters() if p.requires_grad]
    operator = GGNLinearOperator(network, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False)
    values = eigsh(operator.to_scipy(), k=1, return_eigenvectors=False)
    return torch.tensor(values.copy())


def explicit_jacobian(network: nn.Sequential, inputs: Tensor) -> Tensor:
    """torch.func: the whole Jacobian, and the singular values of H^{1/2} J / √n. For small networks."""
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def logits(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(network, values, (x,))

    parts = torch.func.vmap(torch.func.jacrev(logits), (None, 0))(parameters, inputs)
    jacobian = torch.cat([part.flatten(2) for part in parts.values()], dim=2)
    s = torch.log_softmax(network(inputs).detach(), 1).div(2).exp()
    identity = torch.eye(s.shape[1], dtype=s.dtype)
    root = s[:, :, None] * (identity - s[:, :, None] * s[:, None, :])
    rows = (root.mT @ jacobian).flatten(0, 1) / len(inputs) ** 0.5
    return torch.linalg.svdvals(rows).square()


PEERS: dict[str, tuple[str, Callable[[nn.Sequential, Tensor], Tensor]]] = {
    "vivit": ("vivit-for-pytorch", vivit),
    "nngeometry": ("nngeometry", nngeometry),
    "curvlinops": ("curvlinops-for-pytorch", curvlinops_top),
    "torch.func": ("torch", explicit_jacobian),
}
