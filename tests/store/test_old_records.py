"""Records of an earlier format, as they were written then: still read, still the same in the tables."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from isosweep.reproducibility.result import read_result
from isosweep.store.records import encode_record, publish_record, read_record
from isosweep.store.store import Store
from isosweep.sweep.identity import Identity, run_id
from isosweep.sweep.sweep import load
from isosweep.tables.collect import collect

OLD = sorted((Path(__file__).parent / "records_of_format_3").glob("*.arrow"))
# SHA-256 over what the isosweep that wrote them read, less what was null.
CONTENTS = {
    "1d37d7e0dbeca4f887ab": "be7f1fd73ca895513420",
    "7767fb923437b8c95fcf": "82be3ee58763f623e379",
    "7c1ead7e671370817713": "d417366aac54f02d576a",
    "fc4264fc23fc32313ca6": "2cea973f75c4d192386d",
}
DATA = "data: {name: gaussian, inputs: 4, classes: 2, samples: 8}"
SWEEPS = {
    "plain": f"""\
name: before
network: {{depth: 2, width: 4, activation: tanh, init: orthogonal, gain: [0.9, critical]}}
{DATA}
measure: {{fisher: {{samples: 3, likelihood: gaussian, layers: spectrum}}, jacobian: {{samples: 2}}}}
seeds: 1
""",
    "lanczos": f"""\
name: before
network: {{depth: 2, width: 4, activation: relu, init: gaussian, gain: 1.4}}
{DATA}
measure: {{fisher: {{samples: 3, likelihood: categorical, method: lanczos, leading: 2, probes: 2}}}}
seeds: 1
""",
    "training": f"""\
name: before
network: {{depth: 2, width: 4, activation: tanh, init: orthogonal, gain: 1.0}}
{DATA}
measure: {{fisher: {{samples: 3, likelihood: categorical}}, jacobian: {{samples: 2}}}}
train: {{epochs: 2, batch: 4, optimizer: sgd, learning_rate: 0.05}}
seeds: 1
""",
}


def without_nulls(value: Any) -> Any:
    """What a later format adds is null in an older record."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def content(path: Path) -> str:
    row = without_nulls(read_record(path).to_pylist()[0])
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:20]


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.name[:8])
def test_they_hold_what_they_held(path: Path, tmp_path: Path) -> None:
    result = read_result(path)  # which checks the digest against the arrays
    assert content(path) == CONTENTS[result.run.id]
    again = tmp_path / path.name
    again.write_bytes(encode_record(result.run, result.measurement, result.outcome, result.version, result.provenance))
    assert read_result(again).digest == result.digest
    assert content(again) == content(path)
    assert again.stat().st_size < 0.7 * path.stat().st_size


@pytest.mark.parametrize("name", SWEEPS)
def test_they_are_collected_into_the_same_tables(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # their ids are those of the measurement version that wrote them
    monkeypatch.setattr(Identity.__init__, "__defaults__", (None, 1))
    monkeypatch.setattr(run_id, "__defaults__", (1,))
    (tmp_path / "before.yaml").write_text(SWEEPS[name])
    sweep = load(tmp_path / "before.yaml")
    old, new = Store(tmp_path / "old").create(), Store(tmp_path / "new").create()
    for path in OLD:
        result = read_result(path)
        target = old.records / old.fan(result.run.id) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        encoded = encode_record(result.run, result.measurement, result.outcome, result.version, result.provenance)
        assert publish_record(new, result.run.id, result.outcome, encoded)
    for store in (old, new):
        found = collect(sweep, store, tmp_path / f"tables-{store.root.name}")
        assert found.statuses == {"done": len(sweep.runs())}
    for table in ("runs", "fisher", "jacobian", "layers", "training"):
        one, other = (
            pq.read_table(tmp_path / f"tables-{which}" / f"{table}.parquet").replace_schema_metadata(None)
            for which in ("old", "new")
        )
        assert one.equals(other), table
        assert table != "runs" or one["digest"].null_count == 0
