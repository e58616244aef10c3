"""A task of a launch as its supervisor gets it: which one, and how its runs are to be computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["TaskRef"]


@dataclass(frozen=True)
class TaskRef:
    """A task of a launch, and how its runs are to be computed.

    Attributes:
        device: "cpu", "cuda" or "auto".
        folder: where a user's own module is imported from.
        about: what every record of the task notes.
        code: the snapshot that isosweep is imported from; None for an installed one.
        expects: the code id and the versions at the launch; a process that differs computes nothing.
        seconds: what each of its runs is expected to take, in their order.
        checkpoint_minutes: how long a run may train on without a checkpoint.
    """

    store: str
    launch: int
    token: str
    task: int
    device: str = "cpu"
    folder: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    code: str | None = None
    expects: dict[str, str] = field(default_factory=dict)
    seconds: tuple[float, ...] = ()
    checkpoint_minutes: float = 10.0

    @property
    def name(self) -> str:
        """token-number, as attempts and records name it."""
        return f"{self.token}-{self.task}"
