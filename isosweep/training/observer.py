"""What a run measures along its training: a copy of the network in the measurement's dtype, and what is taken of it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from isosweep.curvature.errors import NonFiniteNetwork
from isosweep.measurement.spectra import MeasuredInputs, measure_spectra
from isosweep.networks.normalization import freeze_batch_statistics
from isosweep.sweep.settings import MeasureSettings
from isosweep.sweep.train_settings import TrainSettings
from isosweep.threads import Workers
from isosweep.training.batch_gradient import LossAndGradient, batch_gradient
from isosweep.training.loop import Columns, Diverged
from isosweep.training.measured.hessian import basis_dimension, hessian_top
from isosweep.training.measured.kernel import alignment, drift, tangent_kernel
from isosweep.training.measured.smoothness import SmoothnessPath
from isosweep.training.parameters import Parameters, norm
from isosweep.training.schedule import rate_factor
from isosweep.training.trajectory import Trajectory

__all__ = ["CurvatureObserver"]


class CurvatureObserver:
    """Measures a run's curvature at its points, on inputs that stay the same, in the measurement's dtype."""

    def __init__(
        self,
        network: nn.Sequential,
        inputs: MeasuredInputs,
        measure: MeasureSettings,
        settings: TrainSettings,
        seed: int,
        steps_per_epoch: int,
        workers: Workers,
    ) -> None:
        """
        Args:
            network: the one that is trained, in its own dtype; it is copied, and read again at each point.
            inputs: what is measured on.
            measure: the spectra.
            settings: the training, and what is measured besides.
            seed: the run's.
            steps_per_epoch: whole minibatches.
            workers: who shares the work.

        Raises:
            HessianTooLarge: the Hessian's eigenvalues are asked for and do not fit; before any work is done.
        """
        self.trained = network
        self.network = copy.deepcopy(network).to(inputs.fisher.dtype)
        self.inputs, self.measure, self.settings = inputs, measure, settings
        self.seed, self.each, self.workers = seed, steps_per_epoch, workers
        flat = [parameter.numel() for parameter in network.parameters()]
        self._size = sum(flat)
        if settings.points.hessian is not None:
            basis_dimension(self._size, inputs.fisher.element_size(), settings.points.hessian)
        self._gradient: tuple[Tensor, LossAndGradient] | None = None
        self._kernel: Tensor | None = None
        self._before: tuple[Tensor, Tensor] | None = None
        self._path: SmoothnessPath | None = None
        if settings.points.smoothness is not None:
            self._path = SmoothnessPath.of(seed, self._size, inputs.fisher.device)

    def _read(self) -> None:
        for own, trained in zip(self.network.parameters(), self.trained.parameters(), strict=True):
            own.copy_(trained)
        freeze_batch_statistics(self.network, self.inputs.fisher)

    def _full_gradient(self) -> tuple[Tensor, float]:
        """(flat gradient, mean loss) on the measured inputs; the vector is written again by the next call."""
        if self._gradient is None:
            flat = self.inputs.fisher.new_empty(self._size)
            sizes = [parameter.numel() for parameter in self.network.parameters()]
            views = [
                part.view_as(p) for part, p in zip(torch.split(flat, sizes), self.network.parameters(), strict=True)
            ]
            self._gradient = (
                flat,
                batch_gradient(self.network, views, len(self.inputs.fisher), self.settings.loss, self.workers),
            )
        flat, gradient = self._gradient
        sums = gradient(self.inputs.fisher, self.inputs.labels)
        return flat, float(sums.loss) / len(self.inputs.fisher)

    def observe(self, step: int, epoch: float, parameters: Parameters, trajectory: Trajectory) -> Columns:
        self._read()
        try:
            spectra = measure_spectra(self.network, self.inputs, self.measure, step)
        except NonFiniteNetwork as error:
            if step == 0:
                raise  # as at initialisation without training: a failure, and what to do about it
            raise Diverged from error
        states = parameters.layer_states()
        trajectory.fisher += spectra.fisher
        trajectory.jacobian += spectra.jacobian
        trajectory.layers += [
            replace(row, scale=states[row.layer][0], orthogonality_error=states[row.layer][1])
            if row.layer in states
            else row
            for row in spectra.layers
        ]
        if step == 0:
            trajectory.scalars |= spectra.scalars
        values: Columns = {}
        whole = next((block for block in spectra.fisher if block.block == "all"), None)
        if whole is not None:
            values["fisher_lambda_max"] = whole.lambda_max
        for name in ("fisher_condition_number", "jacobian_s_max"):
            if name in spectra.scalars:
                values[name] = spectra.scalars[name]
        last = self.each * self.settings.epochs - 1
        values["stability_threshold"] = 2 / (
            self.settings.learning_rate * rate_factor(self.settings, min(step, last), self.each)
        )
        gradient, values["measured_loss"] = self._full_gradient()
        values["gradient_norm"] = norm(gradient, self.workers)
        off = [error for _, error in states.values() if error is not None]
        if off:
            values["orthogonality_error"] = max(off)
        if self.settings.orthogonality_penalty:
            values["orthogonality_penalty_value"] = parameters.penalty()
        return values | self._hessian() | self._tangent_kernel() | self._fitted()

    def _hessian(self) -> Columns:
        count = self.settings.points.hessian
        if count is None:
            return {}
        top = hessian_top(
            self.network, self.inputs.fisher, self.inputs.labels, self.settings.loss, count, self.seed, self.workers
        )
        return {
            "hessian_lambda_max": float(top.eigenvalues[0]),
            "hessian_eigenvalues": top.eigenvalues,
            "hessian_errors": top.errors,
        }

    def _tangent_kernel(self) -> Columns:
        samples = self.settings.points.kernel
        if samples is None:
            return {}
        inputs, labels = self.inputs.fisher[:samples], self.inputs.labels[:samples]
        kernel = tangent_kernel(self.network, inputs, self.workers)
        if self._kernel is None:
            self._kernel = kernel
        classes = len(kernel) // len(inputs)
        return {
            "kernel_drift": drift(kernel, self._kernel),
            "kernel_alignment": alignment(kernel, labels, classes),
        }

    def before_step(self, step: int, parameters: Parameters) -> None:
        self._read()
        gradient, _ = self._full_gradient()
        self._before = self._point(), gradient.clone()

    def after_step(self, step: int, parameters: Parameters) -> Columns:
        assert self._before is not None
        assert self._path is not None
        point, gradient = self._before
        self._before = None
        self._read()
        after, _ = self._full_gradient()
        values: Columns = dict(self._path.add(gradient, after, self._point() - point, self.workers))
        return values | {"smoothness_quantiles": self._path.quantiles()}

    def _point(self) -> Tensor:
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.network.parameters()])

    def _fitted(self) -> Columns:
        if self._path is None or len(self._path.sizes) < 2:
            return {}
        whole, quantiles = self._path.fitted()
        return {**whole, **quantiles}

    def arrays(self) -> dict[str, np.ndarray]:
        found = {}
        if self._kernel is not None:
            found["kernel"] = self._kernel.cpu().numpy()
        if self._path is not None:
            found["sizes"], found["ratios"] = np.array(self._path.sizes), np.array(self._path.ratios)
            found["coordinate_sizes"] = np.array(self._path.coordinate_sizes)
            found["coordinate_ratios"] = np.array(self._path.coordinate_ratios)
        return found

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        if "kernel" in arrays:
            self._kernel = torch.from_numpy(arrays["kernel"].copy()).to(self.inputs.fisher.device)
        if self._path is not None:
            self._path.sizes, self._path.ratios = arrays["sizes"].tolist(), arrays["ratios"].tolist()
            self._path.coordinate_sizes = list(arrays["coordinate_sizes"])
            self._path.coordinate_ratios = list(arrays["coordinate_ratios"])
