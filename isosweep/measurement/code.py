"""Which code computes: a hash of isosweep's own sources, the state of its git checkout, and the installed packages."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ["GitState", "code_id", "content_hash", "git_state", "installed_packages", "package_root"]

_HASH_DIGITS = 12


def package_root() -> Path:
    """The folder that isosweep is imported from."""
    return Path(__file__).resolve().parent.parent


def content_hash(content: bytes) -> str:
    """12 hexadecimal digits of the SHA-256 of some bytes: how a patch or a lock is named."""
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


@functools.cache
def code_id(root: Path | None = None) -> str:
    """12 hexadecimal digits over every .py file of the package at `root` (this one's, if None), by name and content."""
    root = package_root() if root is None else root
    total = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        total.update(source.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()[:_HASH_DIGITS]


@functools.cache
def installed_packages() -> bytes:
    """Every installed package as ``name==version``, a line each, sorted: what `pip install -r` takes to bring them
    back. isosweep itself is left out: its code has an id of its own.
    """
    lines = set()
    for distribution in importlib.metadata.distributions():
        name = distribution.name
        if name and name != "isosweep":
            lines.add(f"{name.lower().replace('_', '-')}=={distribution.version}")
    return ("\n".join(sorted(lines)) + "\n").encode()


class GitState(NamedTuple):
    """A checkout: the commit it is at, and what differs from it as a patch (empty where nothing does)."""

    commit: str
    patch: bytes


def _git(folder: Path, *words: str, accept: tuple[int, ...] = (0,)) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in accept else None


def git_state(folder: Path) -> GitState | None:
    """The state of `folder` in its git checkout; None where it is in none, where git has no commit of it, or where
    there is no git.

    The patch covers the folder alone: files changed since the commit, and new ones that git does not ignore.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None or not _git(folder, "ls-files", "--", "."):
        return None  # a folder that merely lies somewhere below a checkout is no part of it
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "--binary", "--src-prefix=a/", "--dst-prefix=b/")
    changed = _git(folder, "diff", *options, "HEAD", "--", ".") or b""
    top = Path((_git(folder, "rev-parse", "--show-toplevel") or b"").decode(errors="surrogateescape").rstrip("\n"))
    listing = _git(folder, "ls-files", "--full-name", "--others", "--exclude-standard", "-z", "--", ".") or b""
    new = []
    for name in sorted(filter(None, listing.decode(errors="surrogateescape").split("\0"))):
        # git's exit code is 1 where two files differ, as these do
        new.append(_git(top, "diff", *options, "--no-index", "--", os.devnull, name, accept=(0, 1)) or b"")
    return GitState(commit.decode().strip(), changed + b"".join(new))
