"""The sweep file with the values that a search has found, its comments and its order kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .search import Search
from .study import Trial

__all__ = ["with_found_values"]


def with_found_values(search: Search, best: Trial) -> str:
    """The text of the search's sweep file with the best trial's values in the place of the axes that were searched: in
    the grid that was searched, else wherever they stand, and at the top where they stand nowhere.
    """
    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(Path(search.spec).read_text(encoding="utf-8"))
    note = (
        f"found by isosweep tune: trial {best.number} of {search.trials}, {search.objective} {best.value:.6g} "
        f"at epoch {search.epoch:g}"
    )
    grids = document.get("grids") or []
    targets = [document, *grids] if search.grid is None else [grids[search.grid]]
    noted: set[int] = set()
    for name, value in best.values.items():
        path = search.ranges[name].path
        for holder in [target for target in targets if _stands(target, path)] or targets[:1]:
            _set(holder, path, value, None if id(holder) in noted else note)
            noted.add(id(holder))
    stream = io.StringIO()
    yaml.dump(document, stream)
    # the directive that says which YAML it is: the file had none, or has it already
    return stream.getvalue().removeprefix("%YAML 1.2\n---\n")


def _stands(node: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def _set(node: Any, path: tuple[str, ...], value: float, note: str | None) -> None:
    for part in path[:-1]:
        if part not in node:
            node[part] = {}
        node = node[part]
    node[path[-1]] = value
    # a comment would tear {a section, in one line}
    if note is not None and hasattr(node, "fa") and not node.fa.flow_style():
        node.yaml_add_eol_comment(note, path[-1])
