"""Archives and exports: one file that tells all, refused if a byte of it was changed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import Command
from safetensors.torch import load_file

import isosweep
from isosweep.reproducibility.archive import ArchiveError, is_archive, open_archive

from .conftest import records


@pytest.fixture(scope="module")
def archived(launched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of two of the sweeps, the store and the sources of which are gone."""
    folder = tmp_path_factory.mktemp("archived")
    source = Command(launched)
    for name in ("own", "tiny"):
        source.run("archive", f"{name}.yaml", "--out", folder / f"{name}.zip")
    return folder


def test_an_archive_tells_all_and_has_the_same_bytes_again(swept: Command) -> None:
    shown = swept.json("archive", "own.yaml", "--out", "first.zip")
    swept.run("archive", "own.yaml", "--out", "sub/second.zip")
    assert (swept.folder / "first.zip").read_bytes() == (swept.folder / "sub" / "second.zip").read_bytes()
    assert not list(swept.folder.glob(".tmp-*"))
    assert is_archive(swept.folder / "first.zip")
    with open_archive(swept.folder / "first.zip") as archive:
        kept = archive.folder
        assert archive.sweep_file.read_text() == (swept.folder / "own.yaml").read_text()
        rows = pq.read_table(archive.tables / "runs.parquet").to_pylist()
        assert [row["digest"] is not None for row in rows] == [True, True]
        assert {row["modules_id"] for row in rows} == {p.name for p in (archive.store.root / "modules").iterdir()}
        assert {row["code_id"] for row in rows} == {p.name for p in (archive.store.root / "code").iterdir()}
        assert {row["lock"] + ".lock" for row in rows} <= {
            p.name for p in (archive.store.root / "provenance").iterdir()
        }
        (frozen,) = (archive.store.root / "modules").iterdir()
        assert (frozen / "own.py").read_text() == (swept.folder / "own.py").read_text()
        assert sorted(p.name for p in frozen.iterdir()) == ["own.py", "sizes.py"]
        readme = (archive.folder / "README.md").read_text()
        assert "isosweep verify" in readme
        (fingerprint,) = json.loads((archive.folder / "fingerprints.json").read_text())
        assert fingerprint["runs"] == 2
        assert fingerprint["torch_version"] == torch.__version__
        for name, said in archive.manifest["files"].items():
            assert hashlib.sha256((archive.folder / name).read_bytes()).hexdigest() == said["sha256"]
        lock = next((archive.store.root / "provenance").glob("*.lock")).read_text()
        assert f"torch=={torch.__version__}\n" in lock
    assert not kept.exists()
    assert shown["recorded_runs"] == 2


@pytest.mark.whole
def test_it_is_verified_and_drawn_with_the_store_gone(archived: Path, tmp_path: Path) -> None:
    here = Command(tmp_path)
    shutil.copy(archived / "own.zip", tmp_path)
    shown = here.json("verify", "own.zip")
    assert shown["counts"] == {"same": 2}
    assert shown["code"] == "recorded"
    assert [p.name for p in tmp_path.iterdir()] == ["own.zip"]
    run = shown["runs"][0]["run_id"]
    assert here.json("verify", "own.zip", run[:8])["asked"]["runs"] == [run]
    assert "no run that has a record" in here.run("verify", "own.zip", "0" * 20, check=2).stderr


@pytest.mark.whole
def test_its_own_code_verifies_it_without_isosweep_installed(archived: Path, tmp_path: Path) -> None:
    """As its README says: unpacked, on the Python path, in a folder that knows nothing of isosweep."""
    with zipfile.ZipFile(archived / "own.zip") as file:
        file.extractall(tmp_path / "unpacked")
    (code,) = (tmp_path / "unpacked" / "store" / "code").iterdir()
    program = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        f"sys.path[:] = [{str(code)!r}] + [p for p in sys.path if not p.endswith('main')];"
        "import isosweep; assert isosweep.__file__.startswith(sys.path[0]), isosweep.__file__;"
        "from isosweep.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", str(archived / "own.zip"), "--sample", "1", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"same": 1}


def repacked(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The same zip file with other contents, sound as a zip file is."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    change(contents)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    path.write_bytes(packed.getvalue())


def _alter_table(contents: dict[str, bytes]) -> None:
    contents["tables/layers.parquet"] = contents["tables/layers.parquet"] + b"\0"


def _alter_record(contents: dict[str, bytes]) -> None:
    name = next(n for n in contents if n.endswith(".arrow"))
    data = bytearray(contents[name])
    data[len(data) // 2] ^= 1
    contents[name] = bytes(data)


def _alter_manifest(contents: dict[str, bytes]) -> None:
    contents["manifest.json"] = contents["manifest.json"].replace(b'"planned_runs": 2', b'"planned_runs": 3')


def _add(contents: dict[str, bytes]) -> None:
    contents["store/records/aa/extra"] = b"x"


def _climb(contents: dict[str, bytes]) -> None:
    """A file that would be written outside, in a manifest whose checksum fits."""
    from isosweep.reproducibility.archive import _checksum

    manifest = json.loads(contents["manifest.json"])
    manifest["files"]["../escaped"] = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    manifest["checksum"] = _checksum(manifest)
    contents["../escaped"] = b"x"
    contents["manifest.json"] = json.dumps(manifest).encode()


def _newer(contents: dict[str, bytes]) -> None:
    contents["manifest.json"] = contents["manifest.json"].replace(b'"schema_version": 1', b'"schema_version": 99')


ALTERED: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "a table": (_alter_table, "checksum of tables/layers.parquet does not fit"),
    "a record": (_alter_record, "does not fit its content"),
    "the manifest": (_alter_manifest, "manifest's checksum does not fit"),
    "a file more": (_add, "which its manifest does not name"),
    "a file less": (lambda contents: contents.pop("sweep.yaml") and None, "lacks sweep.yaml"),
    "a way out": (_climb, "written outside"),
    "a newer format": (_newer, "newer isosweep"),
    "no manifest": (lambda contents: contents.pop("manifest.json") and None, "no archive of isosweep"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_archive_is_refused(archived: Path, tmp_path: Path, what: str) -> None:
    change, said = ALTERED[what]
    path = tmp_path / "folder" / "own.zip"
    path.parent.mkdir()
    shutil.copy(archived / "own.zip", path)
    repacked(path, change)
    with pytest.raises(ArchiveError, match=said), open_archive(path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_damaged_archive_is_one_clear_error(archived: Path, tmp_path: Path) -> None:
    here = Command(tmp_path)
    data = bytearray((archived / "own.zip").read_bytes())
    data[len(data) // 3] ^= 1  # under the zip file's own checksum
    (tmp_path / "flipped.zip").write_bytes(data)
    refused = here.run("verify", "flipped.zip", check=2)
    assert "damaged" in refused.stderr or "does not fit" in refused.stderr
    assert "Traceback" not in refused.stderr
    (tmp_path / "torn.zip").write_bytes(data[:-200])
    assert "Traceback" not in here.run("verify", "torn.zip", check=2).stderr


def test_an_archive_needs_records_that_can_be_used(swept: Command) -> None:
    refused = swept.run("archive", "tiny.yaml", "--set", "seeds=[9]", "--out", "none.zip", check=3)
    assert "no run of tiny has a record" in refused.stderr
    assert not (swept.folder / "none.zip").exists()
    assert "is a folder" in swept.run("archive", "tiny.yaml", "--out", ".", check=2).stderr


@pytest.mark.whole
def test_a_users_weights_go_with_the_archive(swept: Command, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = min(r for r in records(swept.folder) if r in swept.json("status", "tiny.yaml")["states"])
    swept.run("export", run, "--out", "exported")
    spec = "name: from\nnetwork: {depth: 2, width: 8, activation: tanh, checkpoint: exported/weights.safetensors}\n"
    depth = len(load_file(swept.folder / "exported" / "weights.safetensors")) // 2 - 1
    swept.write("from.yaml", spec.replace("depth: 2", f"depth: {depth}") + "data: {name: digits, samples: 16}\n"
                "measure: {fisher: {samples: 6}, jacobian: {samples: 2}}\n")  # fmt: skip
    swept.run("launch", "from.yaml", "--local")
    swept.run("archive", "from.yaml", "--out", "from.zip")
    elsewhere = Command(tmp_path_factory.mktemp("elsewhere"))
    shutil.move(swept.folder / "from.zip", elsewhere.folder)
    shutil.rmtree(swept.folder)
    assert elsewhere.json("verify", "from.zip")["counts"] == {"same": 1}


def test_an_export_is_the_network_that_was_measured(swept: Command) -> None:
    sweep = isosweep.load(swept.folder / "tiny.yaml")
    run = sweep.runs()[-1]
    shown = swept.json("export", run.id[:9], "--out", "there")
    folder = swept.folder / "there"
    weights, data = load_file(folder / "weights.safetensors"), load_file(folder / "data.safetensors")
    network, inputs, labels = isosweep.realize(run)
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert torch.equal(data["inputs"], inputs)
    assert torch.equal(data["labels"], labels)
    about = json.loads((folder / "settings.json").read_text())
    assert about["recorded"]["digest"] == isosweep.execute(run).digest
    assert about["columns"]["depth"] == run.columns["depth"]
    assert [layer["type"] for layer in about["layers"]] == [type(module).__name__ for module in network]
    assert shown["parameters"] == sum(p.numel() for p in network.parameters())
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    swept.run("export", run.id, "--out", "there")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert "no run" in swept.run("export", "abcdef", check=2).stderr
    assert "is a file" in swept.run("export", run.id, "--out", "tiny.yaml", check=2).stderr
