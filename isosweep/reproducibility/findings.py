"""What verifications found, kept beside the records: ``verifications/<time>-<token>.json`` in the store, one file each.

A finding is published once and never changed; `read_findings` leaves out, and names, files that are no findings. A
store that may not be written keeps none: the command says so, and prints them all the same.

Each is an object with `schema_version`, `kind` ("repeat", "across" or "orders"), `at` (UTC), `sweep`, `sweep_hash`,
`source`, `asked`, `recorded` (runs with a record), `agree`, `counts` (verdict → runs) and `runs`, a list with an object
for each run that was looked at; "across" and "orders" add `quantities`.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from pathlib import Path
from typing import Any

from isosweep.store.publish import publish
from isosweep.store.store import Store

__all__ = ["FINDINGS_VERSION", "findings_folder", "keep_findings", "read_findings"]

FINDINGS_VERSION = 1


def findings_folder(store: Store) -> Path:
    """Where a store's findings are."""
    return store.root / "verifications"


def _plain(value: Any) -> Any:
    """JSON has no words for infinities and NaN: text stands for them."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def keep_findings(store: Store, findings: dict[str, Any]) -> Path:
    """Publish findings in a store.

    Raises:
        OSError: it cannot be written.
    """
    data = json.dumps(_plain(findings), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    while True:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = findings_folder(store) / f"{stamp}-{secrets.token_hex(3)}.json"
        if publish(path, data):
            return path


def read_findings(store: Store) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Every finding of a store, oldest first, and the files that are none (path → reason)."""
    found: list[dict[str, Any]] = []
    bad: dict[str, str] = {}
    folder = findings_folder(store)
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            content = json.loads(path.read_bytes())
            if not isinstance(content, dict) or not isinstance(content.get("schema_version"), int):
                bad[str(path)] = "no findings of a verification"
            elif content["schema_version"] > FINDINGS_VERSION:
                bad[str(path)] = "findings of a newer isosweep"
            else:
                found.append(content)
        except (OSError, ValueError) as error:
            bad[str(path)] = str(error)
    return found, bad
