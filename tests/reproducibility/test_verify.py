"""`isosweep verify`: silent where all is the same, and telling where it is not."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from conftest import Command

from isosweep.measurement.measurement import Measurement
from isosweep.reproducibility.findings import read_findings
from isosweep.reproducibility.result import read_result
from isosweep.reproducibility.verify import draw_sample
from isosweep.store.records import encode_record
from isosweep.store.store import Store

from .conftest import OWN, everything, records


def only_findings(command: Command) -> dict[str, object]:
    found, bad = read_findings(Store(command.folder / "isosweep-store"))
    assert not bad
    return found[-1]


def test_a_sweep_agrees_with_itself_and_its_store_is_only_read(swept: Command) -> None:
    before = everything(swept.folder)
    shown = swept.json("verify", "tiny.yaml", "--sample", 2)
    assert shown["agree"] is True
    assert shown["counts"] == {"same": 2}
    assert shown["recorded"] == 4
    assert len(shown["runs"]) == 2
    assert everything(swept.folder) == before
    kept = only_findings(swept)
    assert kept["kind"] == "repeat"
    assert [row["run_id"] for row in kept["runs"]] == [row["run_id"] for row in shown["runs"]]
    # the findings are told by `show`, nothing of what was computed is left behind
    assert [p.suffix for p in (swept.folder / "isosweep-store" / "verifications").iterdir()] == [".json"]
    run = shown["runs"][0]["run_id"]
    assert swept.json("show", run)["verified"] == [{"at": kept["at"], "kind": "repeat", "verdict": "same"}]


@pytest.mark.whole
def test_a_users_network_is_computed_again_from_its_frozen_copy(swept: Command) -> None:
    """The module has changed since, and is gone: a run id is enough."""
    swept.write("sizes.py", "WIDTH = 9\n")
    (swept.folder / "own.py").unlink()
    ids = [run for run in records(swept.folder) if read_result(records(swept.folder)[run]).run.columns.get("module")]
    own = [run for run in ids if read_result(records(swept.folder)[run]).run.columns["module"] == "own:build"]
    assert len(own) == 2
    shown = swept.json("verify", *own)
    assert shown["counts"] == {"same": 2}


def test_a_planted_unseeded_draw_is_caught_and_its_layer_named(swept: Command) -> None:
    done = swept.run("verify", "planted.yaml", check=3)
    assert "layer 3" in done.stderr
    assert "not deterministic" in done.stderr
    assert "layer 2" not in done.stderr
    (row,) = only_findings(swept)["runs"]  # type: ignore[misc]
    assert row["verdict"] == "differs"
    assert row["repeats"] is False
    assert row["first_difference"]["layer"] == 3
    assert row["first_difference"]["element"] == "q"


@pytest.mark.slow
def test_another_environment_is_explained_field_by_field(swept: Command) -> None:
    """torch told to take other kernels: the bits move, and the fingerprints say why."""
    elsewhere = {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Haswell", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    done = swept.run("verify", "tiny.yaml", "--sample", 1, check=None, **elsewhere)
    (row,) = only_findings(swept)["runs"]  # type: ignore[misc]
    changed = {change["name"] for change in row["changes"] if change["decisive"]}
    assert {"cpu_capability", "math_settings"} <= changed
    if row["verdict"] == "same":
        pytest.skip("this processor's kernels give the same bits as the plainest ones")
    assert done.returncode == 3
    assert "It repeats here, but the surroundings have changed" in done.stderr
    assert "cpu_capability AVX" in done.stderr
    assert row["repeats"] is True
    # and rounding explains it
    again = swept.json("verify", row["run_id"], "--tolerance", **elsewhere)
    assert again["counts"] == {"within": 1}
    assert max(q["used"] for q in again["runs"][0]["quantities"] if q["judged"]) <= 1


def rewritten(path: Path, *, digest_of: bool) -> None:
    """Put another eigenvalue into a record and seal it again; with its own digest, or the one of before."""
    result = read_result(path)
    block = result.measurement.fisher[0]
    assert block.eigenvalues is not None
    values = block.eigenvalues.copy()
    values[3] *= 1 + 1e-15 * 4
    changed = dataclasses.replace(
        result.measurement, fisher=(dataclasses.replace(block, eigenvalues=values), *result.measurement.fisher[1:])
    )
    if not digest_of:
        fields = {field.name: getattr(changed, field.name) for field in dataclasses.fields(changed)}
        changed = type("Forged", (Measurement,), {"digest": result.digest})(**fields)
    path.write_bytes(encode_record(result.run, changed, result.outcome, result.version, result.provenance))


@pytest.mark.whole
def test_a_number_that_was_changed_is_found_to_the_last_bit(swept: Command) -> None:
    """Sealed as a record is, with a digest of its own: only computing it again can tell."""
    run, path = sorted(records(swept.folder).items())[0]
    rewritten(path, digest_of=True)
    done = swept.run("verify", run[:9], check=3)
    assert "eigenvalue 4 of" in done.stderr
    assert "something that its fingerprint does not tell of" in done.stderr or "code_id" in done.stderr
    assert path.exists()


def test_a_digest_that_does_not_fit_its_data_is_an_error(swept: Command) -> None:
    run, path = sorted(records(swept.folder).items())[0]
    spec = f"{read_result(path).provenance['sweep']}.yaml"
    rewritten(path, digest_of=False)
    done = swept.run("verify", run, check=3)
    assert "its digest does not fit its data" in done.stderr
    assert path.exists()  # whole and sealed: left to be looked into
    refused = swept.run("archive", spec, "--out", "a.zip", check=3)
    assert "its digest does not fit its data" in refused.stderr
    assert not (swept.folder / "a.zip").exists()


def test_a_run_of_a_gpu_is_refused_where_there_is_none(swept: Command) -> None:
    run, path = sorted(records(swept.folder).items())[0]
    result = read_result(path)
    there = result.provenance | {"device": "cuda"}
    path.write_bytes(encode_record(result.run, result.measurement, result.outcome, result.version, there))
    refused = swept.run("verify", run, check=2, CUDA_VISIBLE_DEVICES="")
    assert "no GPU" in refused.stderr
    assert not list(swept.folder.glob("isosweep-store/verifications/*"))


def test_a_flipped_bit_is_set_aside_by_verify_and_by_collect(swept: Command) -> None:
    from faults import flip_bit

    ids = swept.json("status", "tiny.yaml")["states"]
    paths = [path for run, path in sorted(records(swept.folder).items()) if run in ids]
    flip_bit(paths[0])
    flip_bit(paths[1])
    name = paths[0].name
    done = swept.run("verify", "tiny.yaml", name.split(".")[0], check=3)
    assert "the file was altered" in done.stderr
    assert "set aside" in done.stderr
    quarantine = swept.folder / "isosweep-store" / "quarantine"
    assert (quarantine / name).exists()
    assert not paths[0].exists()
    assert len(swept.json("collect", "tiny.yaml", "--out", "tables")["set_aside"]) == 1
    assert len(list(quarantine.glob("*.reason"))) == 2
    assert swept.json("launch", "tiny.yaml", "--local", "--dry-run")["runs"] == 2


def test_an_edited_network_has_other_ids_and_the_rest_stay(swept: Command) -> None:
    def ids(spec: str) -> set[str]:
        return set(swept.json("status", spec, check=None)["states"])

    own, tiny, planted = ids("own.yaml"), ids("tiny.yaml"), ids("planted.yaml")
    swept.write("own.py", OWN.replace("0.01 *", "0.02 *"))
    assert ids("own.yaml").isdisjoint(own)
    assert (ids("tiny.yaml"), ids("planted.yaml")) == (tiny, planted)
    # a module that it imports counts too
    swept.write("own.py", OWN)
    assert ids("own.yaml") == own
    swept.write("sizes.py", "WIDTH = 8\n")
    assert ids("own.yaml").isdisjoint(own)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["abcdef"], 2, "no run 'abcdef'"),
        (["tiny.yaml", "ffffffffff"], 2, "no run that has a record"),
        (["tiny.yaml", "--across", "cpu,cuda"], 2, "no GPU"),
        (["tiny.yaml", "--across", "cpu,float32"], 2, "expected cpu,cuda or float64,float32"),
        (["tiny.yaml", "--across", "cpu"], 2, "expected cpu,cuda or float64,float32"),
        (["tiny.yaml", "--all", "--sample", "2"], 2, "exclude each other"),
        (["tiny.yaml", "--code", "older"], 2, "expected current or recorded"),
        (["tiny.yaml", "--orders", "2"], 2, "do not train"),
        (["tiny.yaml", "--set", "seeds=[7]"], 4, "nothing to compare with"),
        (["nowhere.yaml"], 2, "no such sweep file"),
        (["tiny.yaml", "--profile", "nowhere"], 2, "no profile 'nowhere'"),
    ],
)
def test_what_cannot_be_verified_is_said(swept: Command, words: list[str], code: int, said: str) -> None:
    before = everything(swept.folder)
    refused = swept.run("verify", *words, check=code, CUDA_VISIBLE_DEVICES="")
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert everything(swept.folder) == before
    assert not list(swept.folder.glob("isosweep-store/verifications/*"))


def test_a_run_alone_says_where_it_differs(swept: Command) -> None:
    run = next(r for r, p in records(swept.folder).items() if "planted:build" in str(read_result(p).run.columns))
    shown = swept.json("run", run, check=3)
    assert shown["agrees"] is False
    assert shown["first_difference"].startswith("layer 3")
    missing = swept.run("run", run, "--device", "cuda", check=2, CUDA_VISIBLE_DEVICES="")
    assert "no GPU" in missing.stderr


def test_with_the_code_of_the_record(swept: Command) -> None:
    """The kept code is what computes: altered, it is refused; sound, it agrees."""
    assert swept.json("verify", "tiny.yaml", "--sample", 1, "--code", "recorded")["agree"]
    for code in (swept.folder / "isosweep-store" / "code").iterdir():
        kept = code / "isosweep" / "draws.py"
        kept.write_text(kept.read_text() + "\n")
    refused = swept.run("verify", "tiny.yaml", "--sample", 1, "--code", "recorded", check=2)
    assert "has been altered" in refused.stderr


def test_both_precisions_agree_to_their_tolerance(swept: Command) -> None:
    shown = swept.json("verify", "tiny.yaml", "--across", "float64,float32", "--sample", 2)
    assert shown["counts"] == {"within": 2}
    quantities = {row["quantity"]: row for row in shown["quantities"]}
    # float32 it was, and no tolerance so wide that it means nothing
    assert 1e-9 < quantities["fisher summary lambda_max"]["largest_relative"] < 1e-4
    for name in ("fisher eigenvalues", "jacobian singular_values", "layer q"):
        assert 1e-4 < quantities[name]["used"] <= 1, name
    assert quantities["fisher_parameters"]["largest_relative"] == 0


def test_another_users_store_is_verified_without_writing(swept: Command) -> None:
    header = swept.folder / "isosweep-store" / "store.json"
    header.write_text(json.dumps({"format": json.loads(header.read_text())["format"], "uid": os.getuid() + 1}))
    done = swept.run("verify", "tiny.yaml", "--sample", 1)
    assert "the findings are not kept" in done.stderr
    assert not (swept.folder / "isosweep-store" / "verifications").exists()


def test_a_sample_depends_on_the_ids_and_the_draw_alone() -> None:
    ids = [f"{i:020x}" for i in range(50)]
    chosen = draw_sample(ids, 7, 0)
    assert len(set(chosen)) == 7
    assert chosen == draw_sample(list(reversed(ids)), 7, 0)
    assert chosen != draw_sample(ids, 7, 1)
    assert draw_sample(ids, 99, 0) == ids
    assert {run for draw in range(80) for run in draw_sample(ids, 7, draw)} == set(ids)
