"""`isosweep show`: settings, state and attempts of a run."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from .common import DEFAULT_STORE, JsonOption, Quiet, StoreOption, Verbose, exits, find_run, open_store, print_json

NAME = "show"
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id, or any beginning of one that is unique.", show_default=False)
]


@exits
def command(
    run: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Settings, state, provenance and attempts of one run."""
    from isosweep.launching.observe import observe
    from isosweep.reproducibility.findings import read_findings
    from isosweep.store.attempts import read_attempt
    from isosweep.store.records import BadRecord, read_record, record_path

    place = open_store(store)
    found, _ = find_run(place, run)
    state = observe(place, [found.id]).states[found.id]
    result: dict[str, Any] = {
        "run_id": found.id,
        "status": state.status,
        "settings": {k: v for k, v in found.columns.items() if v is not None},
    }
    if state.status in ("done", "diverged"):
        try:
            record = read_record(record_path(place, found.id, state.status)).to_pylist()[0]
            result |= {
                "digest": record["digest"],
                "provenance": json.loads(record["provenance"]),
                "scalars": json.loads(record["scalars"]),
            }
        except BadRecord as error:
            result["record"] = f"cannot be used: {error}"
    findings, _ = read_findings(place)
    result["verified"] = [
        {"at": finding["at"], "kind": finding["kind"], "verdict": row["verdict"]}
        for finding in findings
        for row in finding["runs"]
        if row["run_id"] == found.id
    ]
    result["attempts"] = [
        {k: v for k, v in read_attempt(a).items() if k not in ("traceback", "environment", "run")}
        for a in state.attempts
    ]
    if json_:
        print_json(result)
        return
    for key, value in result.items():
        if isinstance(value, dict):
            typer.echo(key)
            for name, item in value.items():
                typer.echo(f"  {name:24} {item}")
        elif key == "attempts":
            for item in value:
                typer.echo(f"attempt: {item.get('outcome')}: {item.get('cause')}")
        elif key == "verified":
            for item in value:
                typer.echo(f"verified {item['at']} ({item['kind']}): {item['verdict']}")
        else:
            typer.echo(f"{key:26} {value}")
