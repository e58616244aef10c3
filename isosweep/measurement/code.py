"""Which code computed: a hash of isosweep's own sources."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__all__ = ["code_id", "package_root"]


def package_root() -> Path:
    """The folder that isosweep is imported from."""
    return Path(__file__).resolve().parent.parent


@functools.cache
def code_id(root: Path | None = None) -> str:
    """12 hexadecimal digits over every .py file of the package at `root` (this one's, if None), by name and content."""
    root = package_root() if root is None else root
    total = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        total.update(source.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()[:12]
