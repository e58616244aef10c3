"""How a run stops in the middle of its training and goes on another time."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Paused"]


class Paused(Exception):
    """A run in training was asked to stop, and did: its checkpoint is on disk, nothing is lost and nothing published.

    The same run executed again with the same folder of checkpoints goes on from there, to the same last bit.

    Attributes:
        step: the training step that the checkpoint holds.
        checkpoint: the file.
    """

    def __init__(self, step: int, checkpoint: Path):
        super().__init__(f"paused after training step {step}; {checkpoint} goes on from there")
        self.step, self.checkpoint = step, checkpoint
