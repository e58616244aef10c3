"""Attempts that failed: one small JSON file each, its outcome in its name, so that a listing tells the state."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .publish import publish
from .store import Store

__all__ = ["OUTCOMES", "Attempt", "attempts_of", "list_attempts", "publish_attempt", "read_attempt"]

# failed: an exception or a dead process; lost: its task died and nobody knows of what; the others say what ended it.
OUTCOMES = ("failed", "oom", "timeout", "cancelled", "preempted", "node_failed", "environment_changed", "lost")


@dataclass(frozen=True)
class Attempt:
    """An attempt as its file name tells it: the run, the how-manieth, its outcome, and the task (token-number) that
    made it.
    """

    run: str
    number: int
    outcome: str
    task: str
    path: Path


def _parse(path: Path) -> Attempt | None:
    parts = path.name.split(".")
    if len(parts) != 5 or parts[4] != "json" or parts[2] not in OUTCOMES or not parts[1].isdigit():
        return None
    return Attempt(parts[0], int(parts[1]), parts[2], parts[3], path)


def list_attempts(store: Store) -> Iterator[Attempt]:
    """Every attempt in the store, no file opened, in no particular order."""
    if not store.attempts.is_dir():
        return
    for folder in os.scandir(store.attempts):
        if folder.is_dir():
            for name in os.listdir(folder.path):
                if (attempt := _parse(Path(folder.path, name))) is not None:
                    yield attempt


def attempts_of(store: Store, run: str) -> list[Attempt]:
    """The attempts of one run, first to last."""
    folder = store.attempts / store.fan(run)
    with contextlib.suppress(FileNotFoundError):
        found = (_parse(folder / name) for name in os.listdir(folder) if name.startswith(run + "."))
        return sorted((a for a in found if a is not None), key=lambda a: a.number)
    return []


def publish_attempt(store: Store, run: str, outcome: str, cause: str, task: str = "none", **details: Any) -> Attempt:
    """Note a failure of `run`.

    Args:
        outcome: one of `OUTCOMES`.
        cause: one line, by which failures are grouped.
        task: the task (token-number) that made the attempt; "none" for a run started alone.
        details: traceback, environment, task, seconds, …: anything JSON can hold.
    """
    assert outcome in OUTCOMES, outcome
    data = json.dumps(
        {"run": run, "outcome": outcome, "cause": cause, "task": task, "at": time.time(), **details}, sort_keys=True
    ).encode()
    taken = attempts_of(store, run)
    number = taken[-1].number + 1 if taken else 1
    while True:
        path = store.attempts / store.fan(run) / f"{run}.{number}.{outcome}.{task}.json"
        if publish(path, data):
            return Attempt(run, number, outcome, task, path)
        number += 1


def read_attempt(attempt: Attempt) -> dict[str, Any]:
    """What is in the file; a torn one says so in its cause."""
    try:
        content = json.loads(attempt.path.read_bytes())
        return content if isinstance(content, dict) else {"cause": "unreadable attempt file"}
    except (OSError, ValueError) as error:
        return {"run": attempt.run, "outcome": attempt.outcome, "cause": f"unreadable attempt file: {error}"}
