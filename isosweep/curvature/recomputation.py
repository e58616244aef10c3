"""What the stages of a deep chain saved on the way forward, of which only some states are kept.

The chain is cut into segments. The state at the start of each is kept; what the stages of a segment save is computed
once more when the way back (or a tangent's way forward) reaches it, by the same operations on the same numbers: the
bits are those of a chain that kept everything. With m segments of a chain that saves T numbers a sample, and states of
X numbers, m·X + 2T/m are held; m = √(2T/X) is the least, so that memory grows with the square root of the depth, for
one more pass forward (Griewank 1992, "Achieving logarithmic growth of temporal and spatial complexity in reverse
automatic differentiation", for more than one).
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import overload

from torch import Tensor

__all__ = ["Recomputed", "Selected", "segment_starts"]

# Segments that are held: the one where the way back is, and the one that it just left or entered.
_HELD = 2


def segment_starts(saved: Sequence[int], states: Sequence[int], open_branches: Sequence[int]) -> tuple[int, ...]:
    """The stages at which segments start, the first at 0.

    Args:
        saved: numbers that each stage saves of one sample.
        states: numbers that each stage reads.
        open_branches: forks that are open before each stage; no segment starts where there are any.
    """
    total, widest = sum(saved), max(states)
    target = total / math.sqrt(max(1.0, 2 * total / widest))
    starts, since = [0], 0
    for stage, count in enumerate(saved):
        if stage and not open_branches[stage] and since >= target:
            starts.append(stage)
            since = 0
        since += count
    return tuple(starts)


class Recomputed(Sequence[Tensor]):
    """One tensor a stage, (n, …), computed again segment by segment as they are asked for; from any thread."""

    def __init__(self, starts: Sequence[int], stages: int, again: Callable[[int, int, int], Sequence[Tensor]]) -> None:
        """Args:
        starts: of the segments.
        stages: how many there are.
        again: (segment, first stage, one past the last) → what these stages saved.
        """
        self._edges = [*starts, stages]
        self._again = again
        self._held: dict[int, Sequence[Tensor]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._edges[-1]

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...

    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        segment = bisect_right(self._edges, index) - 1
        first = self._edges[segment]
        with self._lock:
            if segment not in self._held:
                while len(self._held) >= _HELD:
                    del self._held[next(iter(self._held))]
                self._held[segment] = self._again(segment, first, self._edges[segment + 1])
            return self._held[segment][index - first]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))


class Selected(Sequence[Tensor]):
    """Some of the samples of what was saved."""

    def __init__(self, whole: Sequence[Tensor], samples: slice) -> None:
        self._whole, self._samples = whole, samples

    def __len__(self) -> int:
        return len(self._whole)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...

    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return [kept[self._samples] for kept in self._whole[index]]
        return self._whole[index][self._samples]
