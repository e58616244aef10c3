"""A YAML 1.2 document whose every value knows its line and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from .errors import Problem, SpecError
from .errors import nearest as nearest_name

__all__ = ["Document", "Path_", "parse_value", "read_document"]

Path_ = tuple[str | int, ...]


@dataclass
class Document:
    """Plain Python data (`data`), the file's text, and the place of every key (`places`: path → line, column, counted from 1)."""

    file: str
    text: str
    data: dict[str, Any]
    places: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    overridden: dict[Path_, str] = field(default_factory=dict)

    def problem(
        self, path: Path_, message: str, *, expected: str | None = None, nearest: str | None = None, key: str | None = None
    ) -> Problem:
        """A `Problem` at `path`, or at the closest ancestor that stands in the file."""
        if path[:1] == ("grids",) and path not in self.places and (path[2:] in self.places or path[2:] in self.overridden):
            path = path[2:]  # a grid takes this key from the top of the file
        if path and isinstance(path[-1], int) and path not in self.places:
            path = path[:-1]  # a lone value was read as an axis of one
        shown = key if key is not None else dotted(path)
        for length in range(len(path), -1, -1):
            head = path[:length]
            if head in self.overridden:
                return Problem(message, shown, f"--set {self.overridden[head]}", None, None, expected, nearest)
            if head in self.places:
                line, column = self.places[head]
                return Problem(message, shown, self.file, line, column, expected, nearest)
        return Problem(message, shown, self.file, 1, 1, expected, nearest)


def dotted(path: Path_) -> str:
    """``("network", "gain", 2)`` as ``network.gain[2]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _plain(node: Any, path: Path_, places: dict[Path_, tuple[int, int]]) -> Any:
    """`node` without ruamel's types; notes the place of every key and item on the way."""
    if isinstance(node, CommentedMap):
        result = {}
        for key, value in node.items():
            line, column = node.lc.key(key)
            below = (*path, str(key))
            places[below] = (line + 1, column + 1)
            result[str(key)] = _plain(value, below, places)
        return result
    if isinstance(node, CommentedSeq):
        items = []
        for i, value in enumerate(node):
            line, column = node.lc.item(i)
            places[(*path, i)] = (line + 1, column + 1)
            items.append(_plain(value, (*path, i), places))
        return items
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def _parse(text: str, file: str) -> Any:
    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)  # type: ignore[assignment]
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise SpecError([Problem(f"not valid YAML: {what}", "", file, line, column)]) from None
    except YAMLError as error:
        raise SpecError([Problem(f"not valid YAML: {error}", "", file)]) from None


def parse_value(text: str, file: str) -> Any:
    """One YAML value, as ``--set`` and ``--where`` take it; `file` is what an error names."""
    return _plain(_parse(text, file), (), {})


def _assign(document: Document, assignment: str) -> None:
    """Apply one ``KEY=VALUE``: KEY a dotted path, VALUE any YAML."""
    key, equals, value = assignment.partition("=")
    path: Path_ = tuple(part for part in key.strip().split(".") if part)
    if not equals or not path:
        raise SpecError([Problem(f"--set {assignment}: expected KEY=VALUE, for example network.depth=[4,16]")])
    node: Any = document.data
    for part in path[:-1]:
        if not isinstance(node.setdefault(part, {}), dict):
            raise SpecError([Problem(f"--set {assignment}: {part!r} is a value, not a section")])
        node = node[part]
    node[path[-1]] = parse_value(value, f"--set {assignment}")
    document.overridden[path] = assignment


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
            raise SpecError([Problem(f"no such sweep file (the folder {folder} does not exist either)", file=file)]) from None
        near = nearest_name(Path(path).name, (p.name for p in folder.glob("*.y*ml")))
        raise SpecError([Problem("no such sweep file", file=file, nearest=near and str(folder / near))]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Problem(f"cannot read the sweep file: {reason}", file=file)]) from None
    parsed = _parse(text, file)
    if not isinstance(parsed, CommentedMap):
        raise SpecError([Problem("a sweep file is a mapping of keys to values", "", file, 1, 1, "name, network, data, …")])
    places: dict[Path_, tuple[int, int]] = {(): (1, 1)}
    document = Document(file, text, _plain(parsed, (), places), places)
    for assignment in overrides:
        _assign(document, assignment)
    return document
