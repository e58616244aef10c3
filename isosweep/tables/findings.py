"""What verifications found of a sweep's runs, beside its tables: ``verifications.json``.

The store keeps every finding whole; here is what a report and an archive's reader need of them: of runs that agree to
the last bit their ids alone, of the others what differs first and why. The file is there only if there are findings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isosweep.reproducibility.findings import read_findings
from isosweep.store.publish import replace
from isosweep.store.store import Store
from isosweep.sweep.sweep import Sweep

__all__ = ["FINDINGS_FILE", "collect_findings"]

FINDINGS_FILE = "verifications.json"
SCHEMA_VERSION = 1
_WHOLE = ("kind", "at", "sweep", "source", "asked", "recorded", "agree", "counts", "code", "variants", "orders")
_OF_A_RUN = (
    *("run_id", "verdict", "explanation", "first_difference", "largest_relative", "arrays_differing", "changes"),
    *("repeats", "quantities", "spreads"),
)


def collect_findings(sweep: Sweep, store: Store, out: Path) -> dict[str, str]:
    """Write the findings that concern the sweep's runs, oldest first; without any, a file from before is removed.

    Returns:
        Files that are no findings (path → reason).

    Raises:
        OSError: it cannot be written.
    """
    found, bad = read_findings(store)
    ids = {run.id for run in sweep.runs()}
    ours = [kept for finding in found if (kept := _of_sweep(finding, ids)) is not None]
    path = out / FINDINGS_FILE
    if ours:
        about = {"schema_version": SCHEMA_VERSION, "verifications": ours}
        replace(path, json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    else:
        path.unlink(missing_ok=True)
    return bad


def _of_sweep(finding: dict[str, Any], ids: set[str]) -> dict[str, Any] | None:
    """A finding as far as it is about these runs; None if it is not."""
    runs = [run for run in finding.get("runs") or () if isinstance(run, dict) and run.get("run_id") in ids]
    if not runs:
        return None
    counts: dict[str, int] = {}
    for run in runs:
        counts[str(run.get("verdict"))] = counts.get(str(run.get("verdict")), 0) + 1
    kept = {name: finding[name] for name in _WHOLE if name in finding}
    if isinstance(kept.get("asked"), dict):
        kept["asked"] = {name: value for name, value in kept["asked"].items() if name != "runs"}
    if len(runs) == len(finding["runs"]) and "quantities" in finding:
        kept["quantities"] = finding["quantities"]  # the worst over all its runs: of others' too, if there are others
    return kept | {"counts": counts, "runs": [_brief(run) for run in runs]}


def _brief(run: dict[str, Any]) -> dict[str, Any]:
    if run.get("verdict") == "same":
        return {"run_id": run["run_id"], "verdict": "same"}
    kept = {name: run[name] for name in _OF_A_RUN if run.get(name) not in (None, "", [], {})}
    if isinstance(kept.get("first_difference"), dict):
        kept["first_difference"] = kept["first_difference"].get("where")
    if isinstance(kept.get("changes"), list):
        kept["changes"] = [change for change in kept["changes"] if change.get("decisive")]
    return kept
