"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Command

from isosweep.reference import pages

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["sweep-file.md", "tables.md"])
def test_the_generated_references_are_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == pages()[name], "run `make docs`"


def _blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def test_the_readmes_sweep_file_is_the_shipped_one_and_works(command: Command) -> None:
    (shown,) = [
        block for block in _blocks(ROOT / "docs" / "sweep-file.md", "yaml") if block.startswith("name: quickstart")
    ]
    assert shown == (ROOT / "sweeps" / "quickstart.yaml").read_text()
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        if path.stem.startswith("sokol-park"):
            continue  # on images of one's own: tests/tuning/test_shipped_sweeps.py
        assert command.json("launch", path, "--local", "--dry-run")["runs"] > 0


def test_the_readmes_python_runs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = [block for block in _blocks(ROOT / "README.md", "python") if "import isosweep" in block]
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_every_command_named_in_the_readme_exists(command: Command) -> None:
    named = set(re.findall(r"`isosweep (\w+)", (ROOT / "README.md").read_text()))
    listing = command.run("--help").stdout.partition("Commands:")[2]
    there = {line.split()[0] for line in listing.splitlines() if re.match(r"  \w", line)}
    assert named
    assert named <= there
    assert there <= named, "a command that the README's table does not have"


def test_relative_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
