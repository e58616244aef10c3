"""The training of a run: step after step, measuring at its points, with checkpoints, until the end or divergence.

Everything that a later step depends on is in `Parameters` and `Trajectory`, or follows from the run's seed and the
step: minibatches are slices of a permutation that seed and epoch determine. So a checkpoint is exact wherever it falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from isosweep.draws import generator
from isosweep.measurement.measurement import TrainingPoint
from isosweep.measurement.paused import Paused
from isosweep.networks.normalization import freeze_batch_statistics
from isosweep.networks.quantized import blend_weights
from isosweep.sweep.train_settings import TrainSettings
from isosweep.threads import Workers
from isosweep.training.batch_gradient import batch_gradient
from isosweep.training.checkpoint_file import Content
from isosweep.training.checkpoints import Checkpoints
from isosweep.training.parameters import Parameters
from isosweep.training.schedule import rate_factor
from isosweep.training.trajectory import EpochSums, Trajectory

__all__ = ["Augment", "Columns", "Diverged", "LabelledInputs", "Observer", "Training"]

# Training examples whose statistics batch normalisation has where losses and accuracies are taken.
STATISTICS_SAMPLES = 8192

LabelledInputs = tuple[Tensor, Tensor]
# Of the table `training`, by name.
Columns = dict[str, float | np.ndarray]
# (minibatch, which examples of the training split, epoch) → the minibatch as it is seen in this epoch
Augment = Callable[[Tensor, np.ndarray, int], Tensor]


class Diverged(Exception):
    """Training left the finite numbers."""


class Observer(Protocol):
    """Measures the network at the run's points and between two steps; what it remembers goes into checkpoints."""

    def observe(self, step: int, epoch: float, parameters: Parameters, trajectory: Trajectory) -> Columns:
        """Measure at a point: rows into the trajectory, columns of `training` returned.

        Raises:
            Diverged: what there is to measure is not finite.
        """

    def before_step(self, step: int, parameters: Parameters) -> None:
        """Called before the optimizer's step."""

    def after_step(self, step: int, parameters: Parameters) -> Columns:
        """Called after it; columns of `training` for `step`, the step before the move, if there are any."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Its memory."""

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes its memory back."""


class Training:
    """One run's training.

    Attributes:
        parameters, trajectory: as they stand.
        step: optimizer steps done.
    """

    def __init__(
        self,
        network: nn.Sequential,
        settings: TrainSettings,
        seed: int,
        splits: dict[str, LabelledInputs],
        observer: Observer,
        workers: Workers,
        *,
        augment: Augment | None = None,
    ) -> None:
        """
        Args:
            network: of the training's dtype, on its device; its parameters are moved in place.
            settings: how.
            seed: the run's.
            splits: "train", and "validation" and "test" where there are: inputs (n, N_0) of the same dtype and device,
                labels (n,).
            observer: who measures.
            workers: who shares the work; the bits do not depend on it.
            augment: what is done to each minibatch first.
        """
        self.settings, self.seed, self.splits, self.observer = settings, seed, splits, observer
        self.augment = augment
        self.network = network
        self.parameters = Parameters(network, settings, workers)
        self.gradient = batch_gradient(
            network, self.parameters.gradients, settings.batch, settings.loss, workers, batch_statistics=True
        )
        self.trajectory = Trajectory()
        self.samples = len(splits["train"][0])
        self.each = settings.steps_per_epoch(self.samples)
        self.total = settings.epochs * self.each
        self.points = set(settings.measured_steps(self.samples))
        self.step = 0
        self._order: tuple[int, np.ndarray] | None = None

    def run(self, checkpoints: Checkpoints | None, stop: Callable[[], bool] | None) -> None:
        """Train to the end, from the folder's latest checkpoint where there is one.

        Raises:
            Paused: `stop` said so; the checkpoint is written.
            CheckpointError, OSError: see `Checkpoints`.
        """
        if checkpoints is not None and (content := checkpoints.load()) is not None:
            self.restore(content)
        while self.trajectory.diverged is None:
            if stop is not None and stop():
                raise Paused(self.step, self._save(checkpoints))
            boundary = self.step % self.each == 0
            if self.trajectory.recorded < self.step and (boundary or self.step in self.points):
                if checkpoints is not None and self.step and checkpoints.due(self.step in self.points):
                    self._save(checkpoints)
                self._record()
                continue
            if self.step == self.total:
                return
            if checkpoints is not None and self.step and checkpoints.due(boundary):
                self._save(checkpoints)
            self._advance()

    def _record(self) -> None:
        """The row of this step: the epoch's means, the splits', and at a point all that is measured."""
        values: Columns = {**self.trajectory.epoch.means(), "current_learning_rate": self._rate()}
        point = self.step in self.points
        freeze_batch_statistics(self.network, self.splits["train"][0][:STATISTICS_SAMPLES])
        for name, (inputs, labels) in self.splits.items():
            if name == "train" and not point:
                continue  # as long as a third of an epoch: at the points alone
            sums = self.gradient.losses(inputs, labels)
            values[f"{name}_loss"] = float(sums.loss) / len(inputs)
            values[f"{name}_accuracy"] = float(sums.correct) / len(inputs)
        try:
            if point:
                values |= self.observer.observe(self.step, self._epoch(), self.parameters, self.trajectory)
        except Diverged:
            self._diverge(values)
            return
        self._add(self.step, values)
        self.trajectory.recorded = self.step
        if self.step % self.each == 0:
            self.trajectory.epoch = EpochSums()

    def _add(self, step: int, values: Columns) -> None:
        """Values of a step, into its row or a new one."""
        rows = self.trajectory.training
        if rows and rows[-1].step == step:
            rows[-1].values.update(values)
        else:
            rows.append(TrainingPoint(step, step / self.each, values))

    def _advance(self) -> None:
        """One minibatch: the gradient, then the optimizer's step."""
        epoch, place = divmod(self.step, self.each)
        if self._order is None or self._order[0] != epoch:
            purpose = f"order {self.settings.order}" if self.settings.order else "order"
            self._order = epoch, generator(self.seed, purpose, epoch).permutation(self.samples)
        chosen = self._order[1][place * self.settings.batch : (place + 1) * self.settings.batch]
        inputs, labels = self.splits["train"]
        index = torch.from_numpy(chosen).to(inputs.device)
        batch = inputs.index_select(0, index)
        if self.augment is not None:
            batch = self.augment(batch, chosen, epoch)
        sums = self.gradient(batch, labels.index_select(0, index))
        loss, size = float(sums.loss), self.parameters.gradient_norm()
        if not (math.isfinite(loss) and math.isfinite(size)):
            self._diverge({"batch_loss": loss / len(batch), "batch_gradient_norm": size})
            return
        running = self.trajectory.epoch
        running.steps += 1
        running.samples += len(batch)
        running.loss += loss
        running.correct += float(sums.correct)
        running.gradient_norm += size
        clip = self.settings.clip
        shrink = min(1.0, clip / size) if clip is not None and size > 0 else 1.0
        moving = self._smoothness_is_due()
        if moving:
            # its own gradient, on fixed inputs; the minibatch's stays where it is
            self.observer.before_step(self.step, self.parameters)
        if self.settings.blend is not None:
            blend_weights(self.network, self.settings.blend)
        self.parameters.step(self._factor(), shrink)
        if moving and (values := self.observer.after_step(self.step, self.parameters)):
            self._add(self.step, values)
        self.step += 1

    def _smoothness_is_due(self) -> bool:
        every = self.settings.points.smoothness
        return every is not None and self.step % every == 0

    def _diverge(self, values: Columns) -> None:
        self._add(self.step, values)
        self.trajectory.diverged = self.step

    def _factor(self) -> float:
        return rate_factor(self.settings, min(self.step, self.total - 1), self.each)

    def _rate(self) -> float:
        return self.settings.learning_rate * self._factor()

    def _epoch(self) -> float:
        return self.step / self.each

    def _save(self, checkpoints: Checkpoints | None) -> Path:
        if checkpoints is None:
            raise ValueError("a run that can be stopped needs a folder for its checkpoint: give `checkpoints`")
        values, arrays = self.trajectory.pack()
        arrays |= {f"state/{name}": tensor.cpu().numpy() for name, tensor in self.parameters.tensors().items()}
        arrays |= {f"observer/{name}": array for name, array in self.observer.arrays().items()}
        values = {"trajectory": values, "step": self.step, "count": self.parameters.count}
        return checkpoints.save(self.step, checkpoints.content(values, arrays))

    def restore(self, content: Content) -> None:
        """Take up the state of a checkpoint."""
        self.step, self.parameters.count = content.values["step"], content.values["count"]
        arrays = dict(content.arrays)
        self.trajectory = Trajectory.unpack(content.values["trajectory"], arrays)
        for name, tensor in self.parameters.tensors().items():
            tensor.copy_(torch.from_numpy(arrays[f"state/{name}"].copy()))
        self.observer.restore(
            {name.removeprefix("observer/"): np.array(a) for name, a in arrays.items() if name.startswith("observer/")}
        )
