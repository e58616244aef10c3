"""One thread a call, so that bits do not depend on the machine; many cores through tiles of a fixed size.

The order in which a threaded BLAS adds depends on its number of threads. Inside `single_threaded` every torch, numpy
and scipy call uses one. Work is spread over cores by `Workers` instead: independent tasks, cut by constants and never
by the number of cores, each writing its own output. Which thread runs which task then changes nothing.

Guarantees: inside the context torch's intra-op threads and the BLAS of numpy and scipy are 1 in the calling thread
and in every thread that `Workers` starts; the numbers of before are restored when the last context of the process
closes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

import numpy  # noqa: F401  # its BLAS must be loaded before the controller looks
import scipy.linalg  # noqa: F401  # and scipy's own
import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

__all__ = ["Workers", "single_threaded"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _BlasLimit:
    """The process-wide limit of numpy's and scipy's BLAS, shared by nested and concurrent contexts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._controller: ThreadpoolController | None = None
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth > 1:
                return
            if self._controller is None:
                # Looking up the loaded libraries takes milliseconds, so once; setting the limit takes microseconds.
                self._controller = ThreadpoolController().select(user_api="blas")
            self._limiter = self._controller.limit(limits=1)
            self._limiter.__enter__()

    def leave(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._limiter.__exit__(None, None, None)


_BLAS = _BlasLimit()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Every torch, BLAS and LAPACK call of this thread runs on one thread inside; the former numbers return afterwards.

    May be nested, and entered by several threads at once. Entering costs about 0.05 ms.
    """
    before = torch.get_num_threads()
    _BLAS.enter()
    try:
        if before != 1:
            torch.set_num_threads(1)
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)
        _BLAS.leave()


def _nothing(_: object) -> None:
    """For a run without tasks of its own."""


def _pin_worker() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


class Workers:
    """`count` single-threaded workers: `run` maps a function over independent tasks and returns their results in order.

    With `count` 1 the calling thread does the work itself. Results do not depend on `count`, provided the tasks do not.
    """

    def __init__(self, count: int = 1) -> None:
        if count < 1:
            raise ValueError(f"workers must be at least 1, got {count}")
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._deferred: list[tuple[Callable[[Any], object], Any]] = []

    def __enter__(self) -> Workers:
        if self.count > 1:
            self._pool = ThreadPoolExecutor(self.count, "isosweep-tile", initializer=_pin_worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def alone(self) -> Workers:
        """For a task that runs on a worker already: the work that it hands out, it does itself."""
        return Workers()

    def defer(self, function: Callable[[Item], object], items: Iterable[Item]) -> None:
        """Tasks that may wait: they are run with those of the next `run`, so that no worker is idle at its end."""
        self._deferred.extend((function, item) for item in items)

    def run(self, function: Callable[[Item], Result], items: Iterable[Item] = ()) -> list[Result]:
        """`[function(item) for item in items]`, on the workers; the first failure, by order, is raised.

        All that was deferred is done too when it returns.
        """
        deferred, self._deferred = self._deferred, []
        if self._pool is None:
            results = [function(item) for item in items]
            for waiting, item in deferred:
                waiting(item)
            return results
        futures = [self._pool.submit(function, item) for item in items]
        others = [self._pool.submit(waiting, item) for waiting, item in deferred]
        results = [future.result() for future in futures]
        for other in others:
            other.result()
        return results

    def finish(self) -> None:
        """Does all that was deferred."""
        self.run(_nothing)
