"""How far the runs of a pool are: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any

from .common import counts, duration, message

__all__ = ["RunProgress"]

_LINE_EVERY = 15.0


class RunProgress:
    """Counts runs as they end; safe to be called from several threads."""

    def __init__(self, total: int, quiet: bool):
        self.total, self.quiet = total, quiet
        self.ended: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._began = self._last = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> RunProgress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("runs"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[failed]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("runs", total=self.total, failed="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def ran(self, run: str, status: str) -> None:
        """A run has ended with this status."""
        with self._lock:
            self.ended[status] += 1
            number = self.ended.total()
            failed = {s: n for s, n in self.ended.items() if s not in ("done", "diverged", "skipped")}
            if self._bar is not None:
                self._bar.update(self._task, completed=number, failed=counts(failed) if failed else "")
            elif not self.quiet and (time.monotonic() - self._last > _LINE_EVERY or number == self.total):
                self._last = time.monotonic()
                spent = self._last - self._began
                left = duration(spent / number * (self.total - number))
                message(
                    f"  {number} of {self.total} runs after {duration(spent)}"
                    + (f", about {left} to go" if number < self.total else "")
                    + (f"; {counts(failed)}" if failed else "")
                )
