"""The code of a launch: copied, named by its content, traced to a commit, and compared before anything is computed."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Command

import isosweep
from isosweep.cluster.process import Child
from isosweep.cluster.snapshot import SnapshotError, freeze, modules_folder, versions
from isosweep.measurement.code import content_hash, git_state, installed_packages
from isosweep.measurement.peak_memory import begin_peak_memory, peak_memory
from isosweep.store.attempts import attempts_of, read_attempt
from isosweep.store.launches import list_launches, read_launch
from isosweep.store.store import Store
from isosweep.sweep.settings import to_json

from .conftest import write_sweeps


@pytest.fixture
def own(command: Command) -> Command:
    write_sweeps(command)
    return command


def test_users_modules_are_copied_as_they_were_imported(own: Command) -> None:
    runs = isosweep.load(own.folder / "own.yaml").runs()
    store = Store(own.folder / "store").create()
    first = freeze(store, runs, own.folder)
    assert first.modules is not None
    copy = store.root / first.modules
    assert sorted(p.name for p in copy.iterdir()) == ["own.py", "sizes.py"]
    assert first.about["modules_id"] == copy.name
    assert freeze(store, runs, own.folder).modules == first.modules
    # both modules of a sweep with two, and what a dense network has: none
    both = (*runs, *isosweep.load(own.folder / "planted.yaml").runs())
    assert sorted(p.name for p in (store.root / str(freeze(store, both, own.folder).modules)).iterdir()) == [
        "own.py",
        "planted.py",
        "sizes.py",
    ]
    assert freeze(store, isosweep.load(own.folder / "tiny.yaml").runs(), own.folder).modules is None
    assert {p.name for p in store.root.iterdir()} == {"store.json", "code", "modules", "provenance"}
    assert isosweep.execute(runs[0], folder=copy).digest == isosweep.execute(runs[0], folder=own.folder).digest


def test_a_module_that_changed_since_it_was_planned_is_not_frozen(own: Command) -> None:
    runs = isosweep.load(own.folder / "own.yaml").runs()
    own.write("sizes.py", "WIDTH = 5\n")
    store = Store(own.folder / "store").create()
    with pytest.raises(SnapshotError, match="own:build have changed"):
        freeze(store, runs, own.folder)
    assert not (store.root / "modules").exists()


def test_a_module_of_the_path_that_the_copy_would_change_is_refused(
    own: Command, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It imports a name that is installed there, and stands beside the sweep file, too."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "apart.py").write_text("import sizes_of\n" + (own.folder / "planted.py").read_text())
    own.write("sizes_of.py", "import own\n")
    own.write("own.py", "import sizes_of\n" + (own.folder / "own.py").read_text())
    own.write("apart.yaml", (own.folder / "planted.yaml").read_text().replace("planted", "apart"))
    monkeypatch.syspath_prepend(str(elsewhere))
    runs = (*isosweep.load(own.folder / "apart.yaml").runs(), *isosweep.load(own.folder / "own.yaml").runs())
    store = Store(own.folder / "store").create()
    with pytest.raises(SnapshotError, match="apart:build"):
        freeze(store, runs, own.folder)


@pytest.mark.whole
def test_an_edit_while_jobs_queue_changes_nothing(own: Command) -> None:
    """A syntax error is put into the user's modules as soon as the launch is published."""
    pool = own.start("launch", "own.yaml", "--local")
    store = own.folder / "isosweep-store"
    deadline = time.monotonic() + 240
    while not list(store.glob("launches/*.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    own.write("own.py", "this is no Python\n")
    own.write("sizes.py", "nor this\n")
    out, err = pool.communicate(timeout=240)
    assert pool.returncode == 0, out + err
    (launch,) = list_launches(Store(store))
    folder = modules_folder(Store(store), read_launch(Store(store), launch.number).about)
    assert folder is not None
    assert Path(folder).parent == store / "modules"
    run = launch.tasks[0][0]
    assert own.json("show", run)["provenance"]["modules_id"] == Path(folder).name


def test_the_commit_and_what_differs_from_it_are_kept(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    folder = tmp_path / "package"
    folder.mkdir()
    assert git_state(folder) is None
    git("init", "-q")
    (folder / "a.py").write_text("one = 1\n")
    assert git_state(folder) is None  # nothing of it has a commit
    git("add", ".")
    git("commit", "-q", "-m", "first")
    clean = git_state(folder)
    assert clean is not None
    assert (clean.commit, clean.patch) == (git("rev-parse", "HEAD"), b"")
    (folder / "a.py").write_text("one = 2\n")
    (folder / "new.py").write_text("two = 2\n")
    (tmp_path / "outside.py").write_text("no part of it\n")
    dirty = git_state(folder)
    assert dirty is not None
    assert dirty.commit == clean.commit
    assert b"outside" not in dirty.patch
    # the patch brings the commit to what was there
    git("checkout", "-q", "--", ".")
    (folder / "new.py").unlink()
    (tmp_path / "kept.patch").write_bytes(dirty.patch)
    git("apply", "kept.patch")
    assert (folder / "a.py").read_text() == "one = 2\n"
    assert (folder / "new.py").read_text() == "two = 2\n"


def test_what_a_launch_notes_is_kept_beside_it(own: Command) -> None:
    store = Store(own.folder / "store").create()
    frozen = freeze(store)
    lock = store.root / "provenance" / f"{frozen.about['lock']}.lock"
    assert lock.read_bytes() == installed_packages()
    assert content_hash(lock.read_bytes()) == frozen.about["lock"]
    assert "isosweep==" not in lock.read_text()
    state = git_state(Path(isosweep.__file__).parent)
    if state is not None:  # tests may run from an unpacked archive of the sources
        assert len(frozen.about["git_commit"]) == 40
        assert ("git_patch" in frozen.about) == bool(list((store.root / "provenance").glob("*.patch")))


def test_a_process_with_other_files_or_versions_computes_nothing(own: Command) -> None:
    run = isosweep.load(own.folder / "tiny.yaml").runs()[0]
    store = Store(own.folder / "store").create()
    child = Child()
    try:
        for name in ("file of isosweep", "file of torch", "file of numpy", "torch", "numpy", "scipy", "python"):
            reply = child.carry_out(
                {
                    "store": str(store.root),
                    "run": json.loads(to_json(run)),
                    "device": "cpu",
                    "folder": None,
                    "task": "token-0",
                    "about": {},
                    "expects": versions() | {name: "another"},
                }
            )
            assert reply["status"] == "environment_changed", reply
            assert f"{name} {versions()[name]} here, another there" in reply["cause"]
    finally:
        child.close()
    assert len(attempts_of(store, run.id)) == 7
    assert "environment" not in read_attempt(attempts_of(store, run.id)[0])
    assert not store.records.exists()


def test_the_peak_is_the_runs_own() -> None:
    begin_peak_memory()
    before = peak_memory()["peak_memory_bytes"]
    block = bytearray(200_000_000)
    during = peak_memory()["peak_memory_bytes"]
    del block
    begin_peak_memory()
    after = peak_memory()["peak_memory_bytes"]
    assert before is not None
    assert during is not None
    assert after is not None
    assert during - before > 150_000_000
    assert during - after > 150_000_000
    assert peak_memory()["peak_gpu_memory_bytes"] is None
