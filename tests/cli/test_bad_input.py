"""Mistakes of every kind: one clear message, the documented exit code, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY, Command, keep_records
from faults import FaultUnavailable, small_disk

from isosweep.sweep.identity import MEASUREMENT_VERSION

BAD_SPECS = {
    "unknown key": (TINY.replace("depth:", "depht:"), "bad.yaml:2:", "did you mean 'depth'"),
    "wrong type": (TINY.replace("width: 8", "width: eight"), "network.width", "whole number"),
    "empty axis": (TINY.replace("[2, 3]", "[]"), "network.depth", "empty"),
    "unequal zip": (
        TINY.replace("width: 8", "width: [8, 9, 10]") + "zip: [[depth, width]]\n",
        "bad.yaml:6",
        "depth has 2, width has 3",
    ),
    "include of nothing": (TINY + "include: [{}]\n", "include[0]", "at least one axis"),
    "include of no axis": (TINY + "include: [{dpeth: 3}]\n", "include[0].dpeth", "did you mean 'depth'"),
    "depth 0": (TINY.replace("[2, 3]", "0"), "network.depth", "at least 1"),
    "gain overflows": (TINY.replace("gain: 1.0", "gain: 1e400"), "network.gain", "float64"),
    "gain overflows in a layer": (TINY.replace("gain: 1.0", "gain: 1e200"), "network.gain", "overflows"),
    "unknown data": (TINY.replace("digits", "digit"), "data.name", "did you mean 'digits'"),
    "no critical point": (
        TINY.replace("gain: 1.0", "gain: critical, q_star: 0.5").replace("tanh", "softplus"),
        "softplus",
        "no critical point",
    ),
    "not YAML": (TINY + "seeds: [1\n", "not valid YAML", "bad.yaml:"),
    "missing data files": (
        TINY.replace("name: digits", "name: mnist, root: nowhere"),
        "train-images-idx3-ubyte",
        "nowhere",
    ),
    "too many samples": (TINY.replace("samples: 16", "samples: 5000"), "data.samples", "1797"),
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_a_bad_sweep_file_is_refused_with_its_place(command: Command, name: str) -> None:
    text, *said = BAD_SPECS[name]
    command.write("bad.yaml", text)
    refused = command.run("launch", "bad.yaml", "--local", check=2)
    for words in said:
        assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (command.folder / "isosweep-store").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["launch", "absent.yaml"], "no such sweep file"),
        (["launch", "tny.yaml"], "did you mean 'tiny.yaml'"),
        (["launch", "tiny.yaml", "--local", "--profile", "nowhere"], "no profile 'nowhere'"),
        (["launch", "tiny.yaml", "--local", "--only", "faild"], "did you mean 'failed'"),
        (["launch", "tiny.yaml", "--local", "--set", "network.depht=3"], "did you mean 'depth'"),
        (["launch", "tiny.yaml", "--local", "--set", "network.depth"], "KEY=VALUE"),
        (["launch", "tiny.yaml", "--local", "--device", "gpu"], "cpu, cuda or auto"),
        (["launch", "tiny.yaml", "--local", "--where", "dept=3"], "did you mean 'depth'"),
        (["status", "tiny.yaml", "--where", "depth=three"], "whole number"),
        (["report", "tiny.yaml", "--format", "gif"], "expected some of pdf"),
        (["show", "abc"], "no run 'abc'"),
        (["collect", "tiny.yaml", "--out", "tiny.yaml"], "is a file"),
    ],
)
def test_wrong_usage_is_named(command: Command, words: list[str], said: str) -> None:
    refused = command.run(*words, check=2)
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert {p.name for p in command.folder.iterdir()} == {"tiny.yaml"}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": 99, "uid": os.getuid()}, "newer isosweep"),
        ({"format": 1, "uid": os.getuid() + 1}, "belongs to user id"),
        ("torn", "not a store's header"),
    ],
)
def test_a_store_that_cannot_be_ours_is_refused_untouched(command: Command, header: object, said: str) -> None:
    store = command.folder / "store"
    store.mkdir()
    (store / "store.json").write_text(json.dumps(header))
    assert said in command.run("launch", "tiny.yaml", "--local", "--store", "store", check=2).stderr
    assert [p.name for p in store.iterdir()] == ["store.json"]


def test_a_read_only_or_full_store_is_refused_before_anything_runs(command: Command, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    try:
        with small_disk(place, "100k") as disk:
            disk.read_only()
            assert (
                "Read-only" in command.run("launch", "tiny.yaml", "--local", "--store", place / "store", check=2).stderr
            )
            disk.writable()
            disk.fill()
            assert (
                "No space" in command.run("launch", "tiny.yaml", "--local", "--store", place / "store", check=2).stderr
            )
            disk.free()
            assert not list(place.iterdir())
    except FaultUnavailable as error:
        if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
            raise
        pytest.skip(str(error))


def test_another_users_store_may_be_read(done: Command) -> None:
    keep_records(done, 1)
    header = done.folder / "isosweep-store" / "store.json"
    header.write_text(json.dumps({"format": 1, "uid": os.getuid() + 1}))
    assert done.json("status", "tiny.yaml", check=4)["counts"] == {"done": 1, "missing": 3}
    done.run("collect", "tiny.yaml", "--out", "tables")


def test_every_command_answers_help_and_json_is_json(command: Command) -> None:
    listing = command.run("--help").stdout
    commands = [
        line.split()[0]
        for line in listing.partition("Commands:")[2].splitlines()
        if line.strip() and line.startswith("  ") and not line.startswith("   ")
    ]
    assert {"launch", "status", "collect", "report", "show", "run", "logs", "cancel"} <= set(commands)
    for name in commands:
        assert "--store" in command.run(name, "--help").stdout or name in ("predict", "data")
    plan = command.json("launch", "tiny.yaml", "--local", "--dry-run")
    assert plan["schema_version"] == 1
    assert plan["runs"] == 4


@pytest.mark.whole
def test_an_old_measurement_version_is_never_silent(done: Command) -> None:
    """Records of a version that the sweep's ids no longer name: launch counts them, says what changed, and wants
    --remeasure.
    """
    keep_records(done, 2)
    next_one = MEASUREMENT_VERSION + 1
    newer = (
        f"import isosweep.sweep.identity as i; i.MEASUREMENT_VERSIONS[{next_one}] = 'the eigenvalues are signed'; "
        f"i.MEASUREMENT_VERSION = {next_one};"
        f"i.Identity.__init__.__defaults__ = ({next_one},); i.run_id.__defaults__ = ({next_one},);"
        "from isosweep.cli import main; main()"
    )

    def launch(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", newer, "launch", "tiny.yaml", "--local", "--limit", "1", *more],
            cwd=done.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    refused = launch()
    assert refused.returncode == 2
    told = f"2 runs have results of measurement version {MEASUREMENT_VERSION} (since then: the eigenvalues are signed)"
    assert told in refused.stderr
    assert launch("--remeasure").returncode == 4
    assert len(list(done.folder.glob("isosweep-store/records/*/*.arrow"))) == 3
