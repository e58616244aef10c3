"""The dual matrix of the Fisher information, in one pass from the readout to the input.

K = (1/n) H^{1/2} J Jᵀ H^{1/2} has the non-zero spectrum of F. With c^l the cotangents at h^l (Q_i/√n pulled back), each
dense layer adds K^l_(ia),(jb) = (x_i^{l−1}·x_j^{l−1} + 1)(c^l_ia · c^l_jb), and K^l alone is the dual of the layer's
own diagonal block. So J, of R × P entries, is never formed.

A layer's Gram matrix is taken in the same visit that pulls its cotangents back: they are needed for both and dropped
after. Extra memory: the activations, R·w for each layer of two groups (`fisher_memory.layer_group`), and R².

Operations: L·R²·w + 2(L − 1)·R·w² (ENGINE.md), all in matrix products on tiles that fit a core's cache, where the
element-wise product with the samples' factor is added while they are there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from isosweep.curvature.chain import Chain, Stage, Trace
from isosweep.curvature.layers import Parameters, Term
from isosweep.curvature.products import multiply
from isosweep.curvature.recycled import Recycled
from isosweep.curvature.tiles import RowBlock, Tile, cut_of, row_blocks, tiles
from isosweep.fisher_memory import FEWEST_LAYERS, GROUP_BYTES, MOST_LAYERS
from isosweep.networks.residual import Fork, Join
from isosweep.threads import Workers

__all__ = ["DualAccumulator", "LayerTerms", "layer_terms", "pull_back_all"]

# With fewer samples than this, a broadcast over n × n blocks is slower than repeating the block.
SMALL_SAMPLES = 16


@dataclass(frozen=True)
class LayerTerms:
    """What one layer adds to the dual matrix.

    Attributes:
        name: the layer's name.
        parameters: how many parameters its block of F has.
        uses: the terms of every place where the layer stands, the last place first; see `GramTerm`. The gradients of
            the places add up, term by term.
    """

    name: str
    parameters: int
    uses: tuple[tuple[Term, ...], ...]

    @property
    def products(self) -> list[Product]:
        """What the layer's matrix is the sum of: the terms with themselves, and with those of the other places."""
        return [Product(row, column) for term in zip(*self.uses, strict=True) for row in term for column in term]


@dataclass(frozen=True)
class Product:
    """S_ij·(c_ia · c'_jb) with S_ij = s_i·s'_j + √(offset·offset'): `row` gives s and c, `column` s' and c'."""

    row: Term
    column: Term

    def formed(self) -> Product:
        """With its terms' gradients, where they are formed when they are needed."""
        row = self.row.formed()
        return Product(row, row if self.column is self.row else self.column.formed())

    @property
    def samples_alike(self) -> Tensor | float:
        """S_ii, (n,), or the number that all are."""
        offset = math.sqrt(self.row.offset * self.column.offset)
        if self.row.samples is None or self.column.samples is None:
            return offset
        return (self.row.samples * self.column.samples).sum(dim=1) + offset

    @property
    def cotangents_alike(self) -> Tensor:
        """c_ia · c'_ia, (k, n)."""
        row = self.row.cotangents
        column = row if self.column is self.row else self.column.cotangents
        return (row * column).sum(dim=2)


def layer_terms(
    chain: Chain, trace: Trace, cotangents: Tensor, parameters: Parameters, workers: Workers
) -> Iterator[LayerTerms]:
    """Pulls cotangents back through the chain and yields every layer's terms, the readout first.

    Args:
        chain: the network.
        trace: its forward pass for n samples.
        cotangents: (k, n, C), at the outputs, weighted: their Gram matrix through J is the dual.
        parameters: which parameters count.
        workers: who pulls the shards back.
    """
    # The terms of layers that stand in several places wait until the first place is reached.
    waiting: dict[int, list[tuple[Term, ...]]] = {}
    shared = {stage.owner for index, stage in enumerate(chain.stages) if stage.owner != index}
    for index, current in pull_back_all(chain, trace, cotangents, parameters, workers):
        stage = chain.stages[index]
        saved = trace.saved[index]
        if index not in shared and stage.owner == index:
            found = stage.rule.gram_uses(stage.module, saved, current, parameters)
            count = stage.rule.parameter_count(stage.module, parameters)
            yield LayerTerms(stage.name, count, tuple(map(tuple, found)))
            continue
        terms = tuple(stage.rule.gram_terms(stage.module, saved, current, parameters))
        if stage.owner != index:
            waiting.setdefault(stage.owner, []).append(terms)
            continue
        uses = (*waiting.pop(index, ()), terms)
        yield LayerTerms(stage.name, stage.rule.parameter_count(stage.module, parameters), uses)


def pull_back_all(
    chain: Chain, trace: Trace, cotangents: Tensor, parameters: Parameters, workers: Workers
) -> Iterator[tuple[int, Tensor]]:
    """The index of every stage with parameters, the last first, and the cotangents (k, n, out) at its outputs.

    What is yielded stays valid: it is never written to again. No row of the cotangents depends on another, so a block
    of rows goes through a group of layers at once, while it is in cache.
    """
    current = cotangents.contiguous()
    blocks = row_blocks(cotangents.shape[0], cotangents.shape[1], cut_of(cotangents))
    walk = _Walk(current, [(block, []) for block in blocks], workers)
    group: list[_Leg] = []
    for leg in _legs(chain, trace, parameters):
        if not leg.steps:
            yield leg.index, current
            continue
        group.append(leg)
        if _is_full([leg.bytes_of(current) for leg in group]):
            yield from walk.through(group)
            group = []
    yield from walk.through(group)


def _is_full(sizes: Sequence[int]) -> bool:
    """Whether layers of so many bytes make a group."""
    return len(sizes) >= MOST_LAYERS or (len(sizes) >= FEWEST_LAYERS and sum(sizes) >= GROUP_BYTES)


def _groups(products: Sequence[Product]) -> Iterator[list[Product]]:
    """The products in groups of about `GROUP_BYTES`, at least one."""
    group: list[Product] = []
    for product in products:
        group.append(product)
        if sum(one.row.nbytes for one in group) >= GROUP_BYTES:
            yield group
            group = []
    if group or not products:
        yield group


@dataclass(frozen=True)
class _Leg:
    """The way back from one stage with parameters, or from the outputs, to the one before it.

    Attributes:
        index: of the stage where it ends.
        steps: the stages on the way, with what they saved.
        into: the step that writes to the tensor where the leg ends; all after it work in place. None if a branch comes
            later: its result is copied.
    """

    index: int
    steps: tuple[tuple[Stage, Tensor], ...]
    into: int | None

    def output(self, like: Tensor, memory: Recycled) -> Tensor:
        """An empty tensor for the cotangents at its end."""
        return memory.empty((*like.shape[:2], *self.steps[-1][0].shape), like)

    def bytes_of(self, like: Tensor) -> int:
        """Of its output."""
        return like.shape[0] * like.shape[1] * self.steps[-1][0].shape.numel() * like.element_size()


def _legs(chain: Chain, trace: Trace, parameters: Parameters) -> Iterator[_Leg]:
    """The legs, the last first; the first has no steps where the last stage has parameters."""
    counts = [stage.rule.parameter_count(stage.module, parameters) for stage in chain.stages]
    first = next(index for index, count in enumerate(counts) if count)
    steps: list[tuple[Stage, Tensor]] = []
    for index in range(len(chain.stages) - 1, first - 1, -1):
        if counts[index]:
            yield _Leg(index, tuple(steps), _last_written(steps))
            steps = []
        steps.append((chain.stages[index], trace.saved[index]))


def _is_branch(stage: Stage) -> bool:
    return isinstance(stage.module, Fork | Join)


def _last_written(steps: Sequence[tuple[Stage, Tensor]]) -> int | None:
    """See `_Leg.into`."""
    last, owned = None, False
    for position, (stage, _) in enumerate(steps):
        if _is_branch(stage):
            last = None
        elif not (stage.rule.in_place and owned):
            last = position
        owned = True
    return last


class _Walk:
    """Blocks of cotangents on their way back, each with what passes by the open branches."""

    def __init__(self, current: Tensor, blocks: list[tuple[RowBlock, list[Tensor]]], workers: Workers) -> None:
        self._current, self._blocks, self._workers = current, blocks, workers
        self._memory = Recycled()

    def through(self, legs: list[_Leg]) -> Iterator[tuple[int, Tensor]]:
        """Along the legs: where each ends, and the cotangents there, in a tensor of its own."""
        outputs = [leg.output(self._current, self._memory) for leg in legs]
        start = self._current

        def task(item: tuple[RowBlock, list[Tensor]]) -> None:
            block, aside = item
            rows = (slice(block.first, block.last), slice(block.start, block.stop))
            source = start[rows]
            for leg, output in zip(legs, outputs, strict=True):
                source = _along(leg, source, output[rows], rows[1], aside)

        if legs:
            self._workers.run(task, self._blocks)
            self._current = outputs[-1]
        yield from zip((leg.index for leg in legs), outputs, strict=True)


def _along(leg: _Leg, source: Tensor, output: Tensor, samples: slice, aside: list[Tensor]) -> Tensor:
    """A block's cotangents along a leg into `output`; `source` is left as it is."""
    owned = False
    for position, (stage, saved) in enumerate(leg.steps):
        if isinstance(stage.module, Join):
            aside.append(stage.module.skip * source)
            source = stage.module.branch * source
        elif isinstance(stage.module, Fork):
            source = source + aside.pop()
        else:
            if position == leg.into:
                target = output
            elif stage.rule.in_place and owned:
                target = source
            else:
                target = source.new_empty(*source.shape[:2], *stage.shape)
            stage.rule.pull_back(stage.module, saved[samples], source, target)
            source = target
        owned = True
    return source if leg.into is not None else output.copy_(source)


class DualAccumulator:
    """The dual matrix K, summed layer by layer, a group of layers at a time.

    Attributes:
        matrix: (R, R) with R = cotangents · samples, rows ordered (cotangent, sample). Only its lower triangle is
            valid.
    """

    def __init__(self, cotangents: Tensor, workers: Workers) -> None:
        """For cotangents (k, n, ·): their shape, dtype and device."""
        self._count, self._samples = cotangents.shape[:2]
        self._workers = workers
        cut = cut_of(cotangents)
        self._tiles = tiles(self._count, self._samples, cut)
        self._sample_tiles = tiles(1, self._samples, cut)
        self._pending: list[Product] = []
        self._scratch = _Scratch(cotangents)
        rows = self._count * self._samples
        self.matrix = cotangents.new_zeros(rows, rows)

    def add(self, layer: LayerTerms) -> None:
        """Adds a layer's matrix; the work may wait until a group of layers is there."""
        for product in layer.products:
            self._pending.append(product)
            if _is_full([waiting.row.nbytes for waiting in self._pending]):
                self._start_pending()

    def flush(self) -> None:
        """Does the work that waits."""
        self._start_pending()
        self._workers.finish()

    def _start_pending(self) -> None:
        """Hands the pending terms' tiles out: they are summed while the next layer's cotangents are pulled back."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        # Running the factors' tasks first ends those of the group before, so that every tile is summed in order.
        factors = self._sample_factors(pending)
        pending = [product.formed() for product in pending]

        def task(tile: Tile) -> None:
            for product, factor in zip(pending, factors, strict=True):
                self._add_tile(tile, product, factor, self.matrix)

        self._workers.defer(task, self._tiles)

    def add_alone(self, layer: LayerTerms, block: Tensor) -> None:
        """Writes the layer's own matrix, both triangles, into `block` (R, R), and adds it to the sum."""
        self.flush()
        groups = list(_groups(layer.products))

        def group(products: Sequence[Product], starts: bool, ends: bool) -> None:
            factors = self._sample_factors(products)
            products = [product.formed() for product in products]

            def task(tile: Tile) -> None:
                rows, columns = tile.row.rows(self._samples), tile.column.rows(self._samples)
                here = block[rows, columns]
                if starts:
                    here.zero_()
                for product, factor in zip(products, factors, strict=True):
                    self._add_tile(tile, product, factor, block)
                if not ends:
                    return
                self.matrix[rows, columns] += here
                if tile.row != tile.column:
                    block[columns, rows] = here.T

            self._workers.run(task, self._tiles)

        for number, products in enumerate(groups):
            group(products, number == 0, number == len(groups) - 1)

    def _sample_factors(self, products: Sequence[Product]) -> list[Tensor | None]:
        """S_ij of each product, (n, n), all of it; None where S is 1 everywhere."""
        factors: list[Tensor | None] = []
        tasks: list[tuple[Tile, Product, Tensor]] = []
        for product in products:
            row, column = product.row, product.column
            if row.samples is None or column.samples is None:
                if row.offset != 1 or column.offset != 1:
                    raise ValueError("a term without samples has offset 1")
                factors.append(None)
                continue
            factor = row.samples.new_empty(self._samples, self._samples)
            factors.append(factor)
            tasks.extend((tile, product, factor) for tile in self._sample_tiles)

        def task(item: tuple[Tile, Product, Tensor]) -> None:
            tile, product, factor = item
            rows, columns = slice(tile.row.start, tile.row.stop), slice(tile.column.start, tile.column.stop)
            factor[rows, columns] = piece = _sample_products(product, rows, columns)
            if tile.row != tile.column:
                same = product.row is product.column
                factor[columns, rows] = piece.T if same else _sample_products(product, columns, rows)

        self._workers.run(task, tasks)
        return factors

    def _add_tile(self, tile: Tile, product: Product, factor: Tensor | None, target: Tensor) -> None:
        row, column = tile.row, tile.column
        left = product.row.cotangents[row.first : row.last, row.start : row.stop].flatten(0, 1)
        right = product.column.cotangents[column.first : column.last, column.start : column.stop].flatten(0, 1)
        products = self._scratch.get(left.shape[0], right.shape[0])
        multiply(left, right.T, products)
        here = target[row.rows(self._samples), column.rows(self._samples)]
        if factor is None:
            here += products
            return
        piece = factor[row.start : row.stop, column.start : column.stop]
        across = (row.last - row.first, column.last - column.first)
        if self._samples < SMALL_SAMPLES:
            here.addcmul_(products, piece.repeat(across))
            return
        shape = (across[0], row.stop - row.start, across[1], column.stop - column.start)
        here.view(shape).addcmul_(products.view(shape), piece[None, :, None, :])


def _sample_products(product: Product, rows: slice, columns: slice) -> Tensor:
    left, right = product.row, product.column
    assert left.samples is not None
    assert right.samples is not None
    one, other = left.samples[rows], right.samples[columns]
    piece = one.new_empty(len(one), len(other))
    multiply(one, other.T, piece)
    if left.offset:
        piece += math.sqrt(left.offset * right.offset)
    return piece


class _Scratch(threading.local):
    """One buffer for products a thread and a shape."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[tuple[int, int], Tensor] = {}

    def get(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) not in self._buffers:
            self._buffers[rows, columns] = self._like.new_empty(rows, columns)
        return self._buffers[rows, columns]
