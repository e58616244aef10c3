"""What is not imported: heavy libraries where nobody needs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

HEAVY = ("torch", "pandas", "submitit", "altair", "sklearn")
SLOW_TO_START = ("numpy", "scipy", "pyarrow", "ruamel")

# Runs the command in this process and then says which modules are there.
PROGRAM = """
import json, sys
from isosweep.cli import main
sys.argv = ["isosweep", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as left:
    code = left.code
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def modules_of(folder: Path, *words: str) -> set[str]:
    """Top-level modules that a command has imported when it ends, with exit code 0."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(words)], cwd=folder, capture_output=True, text=True, check=True
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    assert not code, done.stderr
    assert done.stdout
    return set(names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("launch", "--help"), ("status", "--help")], ids=" ".join
)
def test_help_imports_nothing_heavy(folder: Path, words: tuple[str, ...]) -> None:
    names = modules_of(folder, *words)
    assert "typer" in names
    assert not names & {*HEAVY, *SLOW_TO_START}


@pytest.mark.parametrize(
    "words", [(), ("--json",), ("--set", "network.gain=critical"), ("--where", "depth=3")], ids=lambda w: " ".join(w)
)
def test_a_dry_run_imports_nothing_heavy(folder: Path, words: tuple[str, ...]) -> None:
    names = modules_of(folder, "launch", "tiny.yaml", "--dry-run", "--local", *words)
    assert "ruamel" in names
    assert not names & set(HEAVY)


def test_importing_isosweep_imports_next_to_nothing() -> None:
    program = "import sys; before = set(sys.modules); import isosweep; print(*sorted(set(sys.modules) - before))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in shown if name.startswith("isosweep")] == ["isosweep"]
    assert not {name.split(".")[0] for name in shown} & {*HEAVY, *SLOW_TO_START}


def test_every_public_name_is_there() -> None:
    import isosweep

    for name in isosweep.__all__:
        assert getattr(isosweep, name) is not None
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = isosweep.nothing_here
    assert set(isosweep.__all__) <= set(dir(isosweep))
