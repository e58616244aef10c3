"""`isosweep report` from a shell: progress only where somebody sees it, two sweeps, bad input before any work."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .synthetic import write_tables

AXES = {"depth": [4, 8], "gain": [1.0, 1.1], "seed": [0]}


def _on_a_terminal(command: Any, *words: object) -> tuple[int, str]:
    """The exit status and what a terminal saw on standard error."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command.arguments(*words),
        cwd=command.folder,
        stderr=theirs,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    return process.wait(timeout=240), seen.decode()


def test_progress_is_drawn_on_a_terminal_and_nowhere_else(command: Any, tmp_path: Path) -> None:
    write_tables(tmp_path / "A", AXES)
    status, seen = _on_a_terminal(command, "report", "A", "--out", "a.html")
    assert status == 0
    assert "page" in seen
    assert re.search(r"\d+/\d\d\b", seen)  # steps done, of some dozens
    assert seen.rstrip().endswith("a.html")
    status, seen = _on_a_terminal(command, "report", "A", "--out", "a.html", "--quiet")
    assert (status, seen) == (0, "")
    plain = command.run("report", "A", "--out", "a.html")
    assert plain.stderr.splitlines() == [f"page: {tmp_path / 'a.html'}"]


def test_two_folders_are_compared(command: Any, tmp_path: Path) -> None:
    write_tables(tmp_path / "A", AXES, name="first")
    write_tables(tmp_path / "B", {**AXES, "gain": [1.1, 1.2]}, name="second")
    told = command.run("report", "A", "B", "--text").stdout
    assert "A: first" in told
    assert "2 cells are in both; 2 cells only in A and 2 cells only in B." in told
    made = command.json("report", "A", "B", "--figures", "figures", "--format", "svg")
    assert Path(made["page"]).name == "A-B.html"
    assert "What changed" in Path(made["page"]).read_text()
    assert {Path(name).name for name in made["figures"]} >= {"fisher_lambda_max_ratio.svg", "jacobian_s_max_both.csv"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["A", "A", "A"], "3 sweeps: give one, or two to be compared"),
        (["A", "A", "--tables", "kept"], "--tables keeps the tables of one sweep"),
        (["A", "--out", "A"], "--out A is a folder"),
        (["A", "--figures", "file"], "--figures file is a file"),
        (["A", "empty"], "empty holds no runs.parquet"),
        (["torn"], "torn/runs.parquet is not a readable Parquet file"),
    ],
    ids=["three", "tables", "out", "figures", "no-tables", "torn"],
)
def test_bad_input_is_refused(command: Any, tmp_path: Path, words: list[str], said: str) -> None:
    write_tables(tmp_path / "A", AXES)
    for name in ("empty", "torn"):
        (tmp_path / name).mkdir()
    (tmp_path / "torn" / "runs.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "file").write_text("")
    done = command.run("report", *words, check=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.html"))


def test_the_library_does_not_print(tmp_path: Path) -> None:
    program = "import sys; from isosweep.report import load_tables, page; page(load_tables(sys.argv[1]))"
    write_tables(tmp_path, AXES)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
