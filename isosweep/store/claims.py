"""Who holds a task: a row of entries, each published under the next free number, the last of which counts.

An entry is a *claim* (a worker holds the task), a *return* (it gave the task back to the queue, from where the same
job will take it up again), an *end* (it is through), or a *void* (nobody holds it and nobody may take it any more). A
worker leaves a task whose last entry is an end or a void, so a task that was given up stays given up, however late its
job starts.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .publish import publish
from .store import Store

__all__ = ["HOLDING", "Entry", "append", "entries_of", "entries_of_launch", "followed", "last_entry"]

_KINDS = ("claim", "return", "end", "void")
# Kinds of a last entry after which the task is still somebody's.
HOLDING = ("claim", "return")


@dataclass(frozen=True)
class Entry:
    """One entry of a task: its number, kind, who made it, and the file server's time of it."""

    number: int
    kind: str
    owner: dict[str, Any]
    at: float
    path: Path


def _folder(store: Store, token: str) -> Path:
    return store.tasks / token


def _read(path: Path, number: int) -> Entry:
    content = json.loads(path.read_bytes())
    return Entry(number, content["kind"], content["owner"], path.stat().st_mtime, path)


def _numbers(store: Store, token: str) -> dict[int, list[int]]:
    """Entry numbers of each task, by one listing."""
    found: dict[int, list[int]] = {}
    folder = _folder(store, token)
    if folder.is_dir():
        for name in os.listdir(folder):
            task, _, rest = name.partition(".")
            if task.isdigit() and rest.endswith(".json"):
                found.setdefault(int(task), []).append(int(rest[:-5]))
    return found


def _path(store: Store, token: str, task: int, number: int) -> Path:
    return _folder(store, token) / f"{task}.{number}.json"


def last_entry(store: Store, token: str, task: int) -> Entry | None:
    """The entry that counts; None for a task nobody has touched."""
    numbers = _numbers(store, token).get(task)
    return _read(_path(store, token, task, max(numbers)), max(numbers)) if numbers else None


def entries_of(store: Store, token: str, task: int) -> list[Entry]:
    """Every entry of a task, first to last."""
    return [_read(_path(store, token, task, n), n) for n in sorted(_numbers(store, token).get(task, []))]


def entries_of_launch(store: Store, token: str) -> dict[int, Entry]:
    """The last entry of every task of a launch that has one."""
    return {task: _read(_path(store, token, task, max(n)), max(n)) for task, n in _numbers(store, token).items()}


def followed(store: Store, token: str, task: int, entry: Entry) -> bool:
    """Whether another entry has come after this one."""
    return _path(store, token, task, entry.number + 1).exists()


def append(store: Store, token: str, task: int, after: Entry | None, kind: str, owner: dict[str, Any]) -> Entry | None:
    """Publish the entry that follows `after`; None if somebody else's is there already."""
    assert kind in _KINDS, kind
    number = after.number + 1 if after else 1
    path = _path(store, token, task, number)
    if not publish(path, json.dumps({"kind": kind, "owner": owner, "at": time.time()}).encode()):
        return None
    return _read(path, number)
