"""One file that tells a sweep whole, for a data repository: what was asked, what was measured, with what, and how to
compute it again.

An archive is a zip file without compression, so that any tool of the next decades reads it:

    README.md                       what this is, and how to verify it
    manifest.json                   counts, ids, and the SHA-256 of every other file; its own checksum
    sweep.yaml                      the sweep file as it stood (what was laid over it is in the manifest)
    tables/                         the Parquet tables, and sweep.json
    fingerprints.json               where the runs were measured, an entry for each environment class and code
    checkpoints/<sha256>.safetensors   users' own weights that the runs start from
    store/                          laid out as a store: records, code, modules, provenance, findings

The same store gives the same bytes. `open_archive` checks every checksum before anything is used, and whatever is in
the file but not in the manifest is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from isosweep.store.publish import TEMPORARY_PREFIX
from isosweep.store.records import BadRecord, list_records, record_path
from isosweep.store.store import Store
from isosweep.sweep.sweep import Sweep

from .findings import findings_folder
from .result import Result, read_result

__all__ = ["ARCHIVE_VERSION", "Archive", "ArchiveError", "is_archive", "open_archive", "write_archive"]

ARCHIVE_VERSION = 1
_MAGIC = "isosweep archive"
_CHUNK = 1 << 20
# What of a run's provenance tells where it was measured; the rest is its own.
_OF_THE_RUN = frozenset(
    [
        "ended_at",
        "hostname",
        "gpu_uuid",
        "peak_gpu_memory_bytes",
        "peak_memory_bytes",
        "seconds",
        "slurm_job",
        "slurm_restart",
        "started_at",
        "sweep",
        "task",
    ]
)


class ArchiveError(Exception):
    """A file that is no archive, or one that was altered; or a sweep that cannot be made one."""


class _Contents:
    """What is to be in the file: names, and where each one's bytes are."""

    def __init__(self) -> None:
        self.sources: dict[str, Path | bytes] = {}

    def add(self, name: str, source: Path | bytes) -> None:
        self.sources[name] = source

    def add_folder(self, name: str, folder: Path, pattern: str = "*") -> None:
        for path in sorted(folder.rglob(pattern)):
            # hidden files are temporary, or a collector's own notes
            if path.is_file() and not path.name.startswith(".") and "__pycache__" not in path.parts:
                self.add(f"{name}/{path.relative_to(folder).as_posix()}", path)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Iterator[bytes]]:
        source = self.sources[name]
        if isinstance(source, bytes):
            yield iter([source])
        else:
            with source.open("rb") as stream:
                yield iter(lambda: stream.read(_CHUNK), b"")

    def described(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name in sorted(self.sources):
            total, size = hashlib.sha256(), 0
            with self.open(name) as chunks:
                for chunk in chunks:
                    total.update(chunk)
                    size += len(chunk)
            found[name] = {"bytes": size, "sha256": total.hexdigest()}
        return found


def _checksum(manifest: Mapping[str, Any]) -> str:
    """Of a manifest: SHA-256 of its canonical JSON, the checksum itself left out."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _as_json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _fingerprints(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The distinct fingerprints with how many runs have each, the most frequent first."""
    counted = Counter(
        json.dumps({k: v for k, v in r.provenance.items() if k not in _OF_THE_RUN}, sort_keys=True) for r in results
    )
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [{"runs": runs, **json.loads(text)} for text, runs in ordered]


def _checkpoints(results: Sequence[Result], contents: _Contents) -> list[str]:
    """Add the users' own weights that the runs start from; the paths of those that are gone or have changed."""
    gone = set()
    for result in results:
        path, checksum = result.run.network.checkpoint, result.run.network.checkpoint_checksum
        if path is None or checksum is None or f"checkpoints/{checksum}.safetensors" in contents.sources:
            continue
        try:
            data = Path(path).read_bytes()
        except OSError:
            gone.add(path)
            continue
        if hashlib.sha256(data).hexdigest() == checksum:
            contents.add(f"checkpoints/{checksum}.safetensors", Path(path))
        else:
            gone.add(path)
    return sorted(gone)


def _of_store(store: Store, results: Sequence[Result], contents: _Contents) -> list[str]:
    """Add records, code, modules, patches, locks and findings; the ids of what is noted in records but not kept."""
    lacking = []
    for result in results:
        path = record_path(store, result.run.id, result.outcome)
        contents.add(f"store/{path.relative_to(store.root).as_posix()}", path)
    for kind, field in (("code", "code_id"), ("modules", "modules_id")):
        for name in sorted({str(r.provenance[field]) for r in results if r.provenance.get(field)}):
            folder = store.root / kind / name
            if folder.is_dir():
                contents.add_folder(f"store/{kind}/{name}", folder)
            else:
                lacking.append(f"{kind} {name}")
    for field, ending in (("lock", "lock"), ("git_patch", "patch"), ("modules_git_patch", "patch")):
        for name in sorted({str(r.provenance[field]) for r in results if r.provenance.get(field)}):
            path = store.root / "provenance" / f"{name}.{ending}"
            if path.is_file():
                contents.add(f"store/provenance/{path.name}", path)
            else:
                lacking.append(f"provenance {path.name}")
    contents.add_folder("store/verifications", findings_folder(store), "*.json")
    return lacking


def write_archive(sweep: Sweep, store: Store, tables: Path, out: Path) -> dict[str, Any]:
    """Write the archive of a sweep, and return its manifest.

    Args:
        tables: the folder of its tables, collected from this store.
        out: the file; one that is there is replaced, as a whole.

    Raises:
        ArchiveError: no run has a record, or a record cannot be used; nothing is written.
        OSError: the file cannot be written; nothing is left of it.
    """
    from isosweep import __version__
    from isosweep.sweep.identity import MEASUREMENT_VERSION

    recorded = list_records(store)
    results = []
    for run in sorted(sweep.runs(), key=lambda run: run.id):
        if run.id in recorded:
            path = record_path(store, run.id, recorded[run.id])
            try:
                results.append(read_result(path))
            except BadRecord as error:
                raise ArchiveError(f"the record {path} cannot be used: {error}; compute its run again first") from None
    if not results:
        raise ArchiveError(f"no run of {sweep.name} has a record in {store.root}: launch it first")
    contents = _Contents()
    contents.add("sweep.yaml", sweep.text.encode())
    contents.add_folder("tables", tables)
    contents.add("fingerprints.json", _as_json(_fingerprints(results)))
    gone = _checkpoints(results, contents)
    lacking = _of_store(store, results, contents)
    about: dict[str, Any] = {
        "format": _MAGIC,
        "schema_version": ARCHIVE_VERSION,
        "sweep": sweep.name,
        "sweep_hash": sweep.hash,
        "overrides": list(sweep.overrides),
        "planned_runs": len(sweep.runs()),
        "recorded_runs": len(results),
        "environment_classes": dict(Counter(str(r.provenance.get("environment_class")) for r in results)),
        "code_ids": dict(Counter(str(r.provenance.get("code_id")) for r in results)),
        "devices": dict(Counter(str(r.provenance.get("device")) for r in results)),
        "locks": sorted({str(r.provenance["lock"]) for r in results if r.provenance.get("lock")}),
        "checkpoints_missing": gone,
        "not_kept": lacking,
        "measurement_version": MEASUREMENT_VERSION,
        "isosweep_version": __version__,
    }
    contents.add("README.md", _readme(about).encode())
    manifest = {**about, "files": contents.described()}
    manifest["checksum"] = _checksum(manifest)
    contents.add("manifest.json", _as_json(manifest))
    _write(contents, out)
    return manifest


def _write(contents: _Contents, out: Path) -> None:
    first = ["README.md", "manifest.json"]
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f"{TEMPORARY_PREFIX}{out.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED, allowZip64=True) as file:
            for name in [*first, *sorted(contents.sources.keys() - set(first))]:
                # the same time and rights for all: the bytes depend on the content alone
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                entry.create_system = 3
                source = contents.sources[name]
                entry.file_size = len(source) if isinstance(source, bytes) else source.stat().st_size
                with contents.open(name) as chunks, file.open(entry, "w") as stream:
                    for chunk in chunks:
                        stream.write(chunk)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def _readme(about: Mapping[str, Any]) -> str:
    code = max(about["code_ids"], key=lambda name: about["code_ids"][name])
    locks = "\n".join(f"    store/provenance/{name}.lock" for name in about["locks"]) or "    (none was kept)"
    missing = "".join(f"\nNot in this file, because it was not kept: {name}." for name in about["not_kept"])
    missing += "".join(
        f"\nNot in this file: the weights {name}, which were gone." for name in about["checkpoints_missing"]
    )
    return f"""\
# {about["sweep"]}

{about["recorded_runs"]} of {about["planned_runs"]} runs of a curvature sweep, measured with isosweep
{about["isosweep_version"]} (measurement version {about["measurement_version"]}): spectra of the Fisher information
matrix and of the input-output Jacobian of deep networks.

- `tables/*.parquet`: the results; `runs.parquet` has a row for each run, with its settings, its digest and where it was
  measured. Each column says what it means in its metadata.
- `sweep.yaml`: what was asked. Laid over it: {", ".join(about["overrides"]) or "nothing"}.
- `fingerprints.json`: processors, drivers, libraries, switches and code, with how many runs each.
- `store/records/`: an Arrow IPC file a run, sealed with a checksum: everything it measured, to the last bit.
- `store/code/`: the source of isosweep that measured; `store/modules/`: that of users' own networks;
  `store/provenance/`: installed packages, and patches to the commits that the fingerprints name.
- `manifest.json`: the SHA-256 of every file here.{missing}

## To verify it

A sample of the runs is computed again from what is in this file, and compared bit by bit:

    isosweep verify THIS_FILE              (--sample K, --all, or ids of runs)

Bits agree within one environment class (the column `environment_class`: processor, GPU, driver, libraries, switches).
On another machine say `--tolerance` to accept what its arithmetic explains; a difference is explained either way.

Without isosweep installed: unpack this file, install the packages of

{locks}

and run

    PYTHONPATH=store/code/{code} python -m isosweep.cli verify THIS_FILE
"""


@dataclass(frozen=True)
class Archive:
    """An archive, opened.

    Attributes:
        folder: where it was unpacked.
        store: its records, code and modules; `tables`: its tables; `sweep_file`: as it stood.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def store(self) -> Store:
        """Its store; may be read only."""
        return Store(self.folder / "store")

    @property
    def tables(self) -> Path:
        """The folder of its tables, as `isosweep collect` wrote them."""
        return self.folder / "tables"

    @property
    def sweep_file(self) -> Path:
        """The sweep file."""
        return self.folder / "sweep.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of users' own weights, named by their SHA-256."""
        return self.folder / "checkpoints"


def is_archive(path: Path) -> bool:
    """Whether a file is a zip file, as archives are; whether it is a sound archive `open_archive` tells."""
    return path.is_file() and zipfile.is_zipfile(path)


def _manifest(file: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read("manifest.json"))
    except (KeyError, ValueError, zipfile.BadZipFile):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != _MAGIC:
        raise ArchiveError(f"{path} is no archive of isosweep: it has no manifest.json that says so")
    if not isinstance(manifest.get("schema_version"), int) or manifest["schema_version"] > ARCHIVE_VERSION:
        raise ArchiveError(f"{path} was written by a newer isosweep: upgrade isosweep")
    if manifest.get("checksum") != _checksum(manifest):
        raise ArchiveError(f"{path}: the manifest's checksum does not fit its content: the archive was altered")
    return manifest


def _extract(stream: IO[bytes], target: Path) -> tuple[str, int]:
    total, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as written:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
            size += len(chunk)
            written.write(chunk)
    return total.hexdigest(), size


@contextlib.contextmanager
def open_archive(path: Path, *, only: str = "") -> Iterator[Archive]:
    """Unpack an archive into a temporary folder, every file checked, and remove it afterwards.

    Args:
        only: unpack and check only names that begin so: "tables/" is enough for a report.

    Raises:
        ArchiveError: it is no archive, was altered, lacks a file, or has one that its manifest does not name.
        OSError: it cannot be read, or there is no room to unpack it.
    """
    folder = Path(tempfile.mkdtemp(prefix="isosweep-archive-"))
    try:
        try:
            with zipfile.ZipFile(path) as file:
                manifest = _manifest(file, path)
                _unpack(file, manifest["files"], folder, path, only)
        except zipfile.BadZipFile as error:
            raise ArchiveError(f"{path} is no whole zip file: {error}") from None
        yield Archive(folder, manifest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(file: zipfile.ZipFile, files: Mapping[str, Any], folder: Path, path: Path, only: str) -> None:
    names = [name for name in file.namelist() if name != "manifest.json"]
    if unknown := sorted(set(names) - files.keys()):
        raise ArchiveError(f"{path} has {unknown[0]}, which its manifest does not name: the archive was altered")
    if missing := sorted(files.keys() - set(names)):
        raise ArchiveError(f"{path} lacks {missing[0]}: the archive was altered")
    if len(names) != len(set(names)):
        raise ArchiveError(f"{path} has a name twice: the archive was altered")
    for name in sorted(n for n in files if n.startswith(only)):
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name:
            raise ArchiveError(f"{path} has a file {name!r}, which would be written outside: it is not used")
        try:
            with file.open(name) as stream:
                checksum, size = _extract(stream, folder.joinpath(*parts))
        except zipfile.BadZipFile as error:
            raise ArchiveError(f"{path}: {name} is damaged: {error}") from None
        if (checksum, size) != (files[name]["sha256"], files[name]["bytes"]):
            raise ArchiveError(f"{path}: the checksum of {name} does not fit its content: the archive was altered")
