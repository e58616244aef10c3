"""Which code computed: a hash of isosweep's own sources."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__all__ = ["code_id"]


@functools.cache
def code_id() -> str:
    """12 hexadecimal digits over every .py file of the installed package, by relative name and content."""
    root = Path(__file__).resolve().parent.parent
    total = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        total.update(source.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()[:12]
