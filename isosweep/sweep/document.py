"""A YAML 1.2 document whose every value knows its line and column."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from .errors import Problem, SpecError
from .errors import nearest as nearest_name

__all__ = ["Document", "Path_", "parse_value", "read_document"]

Path_ = tuple[str | int, ...]

# Far above any file written by hand; what aliases of aliases can grow to in a few lines is above it.
_MOST_VALUES = 300_000


@dataclass
class Document:
    """A sweep file as plain Python data.

    Attributes:
        data: mappings, lists and scalars, the overrides laid over them.
        text: the file as it stands.
        places: path → line and column of the key or item, counted from 1.
        overridden: path → the ``KEY=VALUE`` that set it.
        overrides: (path, value) of each ``KEY=VALUE``.
    """

    file: str
    text: str
    data: dict[str, Any]
    places: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    overridden: dict[Path_, str] = field(default_factory=dict)
    overrides: list[tuple[tuple[str, ...], Any]] = field(default_factory=list)

    def problem(
        self,
        path: Path_,
        message: str,
        *,
        expected: str | None = None,
        nearest: str | None = None,
        key: str | None = None,
    ) -> Problem:
        """A `Problem` at `path`, or at the closest ancestor that stands in the file or on the command line."""
        in_grid = path[:1] == ("grids",) and len(path) > 1
        # what a grid does not say itself, it takes from the top of the file; `--set` is laid over both
        in_grid = path[:1] == ("grids",) and len(path) > 1
        candidates = [path, path[2:]] if in_grid else [path]
        for candidate in candidates:
            for length in range(1, len(candidate) + 1):
                if (start := candidate[:length]) in self.overridden:
                    value = next(v for names, v in reversed(self.overrides) if names == tuple(map(str, start)))
                    lone = length == len(candidate) - 1 and not isinstance(value, list)
                    return self._set(start, message, key or dotted(start if lone else candidate), expected, nearest)
        if path not in self.places:
            for assigned in self.overridden:
                if path and assigned[: len(path)] == path:  # a section that stands on the command line alone
                    return self._set(assigned, message, key or dotted(path), expected, nearest)
        whole, head = max(
            ((candidate, self._standing(candidate)) for candidate in candidates),
            key=lambda pair: len(pair[1]) - len(pair[0]),
        )
        # a lone value was read as an axis of one: it stands at the axis itself
        shown = head if whole and isinstance(whole[-1], int) and head == whole[:-1] else whole if head else path
        line, column = self.places[head]
        return Problem(message, key or dotted(shown), self.file, line, column, expected, nearest)

    def _standing(self, path: Path_) -> Path_:
        """The longest beginning of `path` that stands in the file."""
        return next(head for n in range(len(path), -1, -1) if (head := path[:n]) in self.places)

    def _set(self, assigned: Path_, message: str, key: str, expected: str | None, nearest: str | None) -> Problem:
        return Problem(message, key, f"--set {self.overridden[assigned]}", None, None, expected, nearest)

    def lay_over(self, data: dict[str, Any]) -> None:
        """Lay the overrides of the top of the file over `data`, a grid merged with it: `--set` has the last word."""
        for path, value in self.overrides:
            if path[0] != "grids":
                node = data
                for part in path[:-1]:
                    below = node.get(part)
                    if not isinstance(below, dict):
                        below = node[part] = {}
                    node = below
                node[path[-1]] = copy.deepcopy(value)


def dotted(path: Path_) -> str:
    """``("network", "gain", 2)`` as ``network.gain[2]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class _Plain:
    """Turns ruamel's nodes into plain data, noting the place of every key and item on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path_, tuple[int, int]] = {}
        self.count = 0

    def _below(self, node: Any, path: Path_, line: int, column: int) -> Any:
        self.places[path] = (line + 1, column + 1)
        self.count += 1
        if self.count > _MOST_VALUES:
            message = f"more than {_MOST_VALUES:,} values, aliases written out"
            raise SpecError([Problem(message, dotted(path), self.file, line + 1, column + 1)])
        return self.of(node, path)

    def of(self, node: Any, path: Path_ = ()) -> Any:
        """`node` and all below it, without ruamel's types."""
        if isinstance(node, CommentedMap):
            own = node.lc.data or {}
            result = {}
            for key, value in node.items():
                # a key that came by a merge (<<) stands where the mapping does
                line, column = node.lc.key(key) if key in own else (node.lc.line, node.lc.col)
                below = (*path, str(key))
                result[str(key)] = self._below(value, below, line, column)
            return result
        if isinstance(node, CommentedSeq):
            return [self._below(value, (*path, i), *node.lc.item(i)) for i, value in enumerate(node)]
        if isinstance(node, bool) or node is None:
            return node
        if isinstance(node, ScalarBoolean):
            return bool(node)
        for kind in (int, float, str):
            if isinstance(node, kind):
                return kind(node)
        return str(getattr(node, "value", node))


def _parse(text: str, file: str) -> Any:
    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise SpecError([Problem(f"not valid YAML: {what}", "", file, line, column)]) from None
    except ReaderError as error:
        line, column = _line_column(text, error.position)
        character = f"U+{ord(text[error.position]):04X}"
        raise SpecError(
            [Problem(f"not valid YAML: the character {character} may not stand here", "", file, line, column)]
        ) from None
    except RecursionError:
        raise SpecError([Problem("not valid YAML: nested too deep", "", file)]) from None
    except (YAMLError, ValueError) as error:
        raise SpecError([Problem(f"not valid YAML: {error}", "", file)]) from None


def _line_column(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


def parse_value(text: str, file: str) -> Any:
    """One YAML value, as ``--set`` and ``--where`` take it; `file` is what an error names."""
    return _Plain(file).of(_parse(text, file))


def _assign(document: Document, assignment: str) -> None:
    """Apply one ``KEY=VALUE``: KEY a dotted path (``grids.0.seeds`` names the first grid's), VALUE any YAML."""
    key, equals, raw = assignment.partition("=")
    names = tuple(part.strip() for part in key.split("."))
    if not equals or not all(names):
        raise SpecError(
            [Problem(f"--set {assignment}: expected KEY=VALUE, KEY a path with dots: network.depth=[4,16]")]
        )
    value = parse_value(raw, f"--set {assignment}")
    path: list[str | int] = []
    node: Any = document.data
    for name in names:
        if path:
            last: Any = path[-1]
            below = node[last] if isinstance(node, list) else node.setdefault(last, {})
            if below is None:
                below = node[last] = {}
            node = below
        if isinstance(node, list):
            if not (name.isdecimal() and int(name) < len(node)):
                raise SpecError(
                    [Problem(f"--set {assignment}: {dotted(tuple(path))} is a list of {len(node)}, from 0")]
                )
            path.append(int(name))
        elif isinstance(node, dict):
            path.append(name)
        else:
            raise SpecError([Problem(f"--set {assignment}: {dotted(tuple(path))} is a value, not a section")])
    node[path[-1]] = value
    document.overridden[tuple(path)] = assignment
    document.overrides.append((names, value))


def read_document(path: str | Path, overrides: Sequence[str] = ()) -> Document:
    """Read a sweep file and lay `overrides` (``KEY=VALUE`` each) over it.

    Raises:
        SpecError: the file is missing, unreadable, not UTF-8, not YAML, or not a mapping.
    """
    file = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = Path(path).parent
        if not folder.is_dir():
            raise SpecError(
                [Problem(f"no such sweep file (the folder {folder} does not exist either)", file=file)]
            ) from None
        near = nearest_name(Path(path).name, (p.name for p in folder.glob("*.y*ml")))
        raise SpecError([Problem("no such sweep file", file=file, nearest=near and str(folder / near))]) from None
    except UnicodeDecodeError as error:
        line, column = _line_column(error.object.decode("latin-1"), error.start)
        message = f"not UTF-8: the byte {error.object[error.start]:#04x} ({error.reason})"
        raise SpecError([Problem(message, "", file, line, column)]) from None
    except OSError as error:
        raise SpecError([Problem(f"cannot read the sweep file: {error.strerror or error}", file=file)]) from None
    parsed = _parse(text, file)
    if not isinstance(parsed, CommentedMap):
        raise SpecError(
            [Problem("a sweep file is a mapping of keys to values", "", file, 1, 1, "name, network, data, …")]
        )
    plain = _Plain(file)
    data = plain.of(parsed)
    document = Document(file, text, data, {(): (1, 1), **plain.places})
    for assignment in overrides:
        _assign(document, assignment)
    return document
