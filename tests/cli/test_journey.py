"""The way a user goes: launch, look, collect, report, ask about one run, and compute it again."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from conftest import Command


def test_from_a_sweep_file_to_a_page(command: Command) -> None:
    """Every step a process of its own, as in a shell."""
    command.own_process = True
    launched = command.run("launch", "tiny.yaml", "--local")
    assert "4 of 4 runs" in launched.stderr
    assert launched.stdout == ""  # messages and progress are on standard error

    shown = command.run("status", "tiny.yaml").stdout
    assert "done" in shown
    assert command.json("status", "tiny.yaml", "--where", "depth=3")["runs"] == 2
    assert command.json("status", "tiny.yaml", "--where", "depth={min: 3}", "--where", "seed=1")["runs"] == 1

    assert command.json("status", "tiny.yaml", "--where", "seed={min: 0}", "--where", "seed={max: 0}")["runs"] == 2
    assert command.json("status", "tiny.yaml", "--where", "gain_rule=null")["runs"] == 4
    assert command.json("status", "tiny.yaml", "--where", "gain=critical")["runs"] == 0

    page = command.run("report", "tiny.yaml", "--tables", "tables", "--figures", "figures", "--format", "svg,png")
    assert "tiny.html" in page.stderr
    html = (command.folder / "tiny.html").read_text()
    assert "<html" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    rows = pq.read_table(command.folder / "tables" / "runs.parquet").to_pylist()
    assert all(row["run_id"][:8] in html for row in rows)
    assert {p.suffix for p in (command.folder / "figures").iterdir()} >= {".svg", ".png"}
    # a folder of tables makes the same page as the sweep file that they were collected from
    command.run("report", "tables", "--out", "again.html")
    assert (command.folder / "again.html").read_text() == html
    assert "tiny" in command.run("report", "tables", "--text").stdout

    run = rows[0]["run_id"]
    about = command.json("show", run[:10])
    assert about["run_id"] == run
    assert about["digest"] == rows[0]["digest"]
    again = command.json("run", run[:10])
    assert again["agrees"] is True
    assert again["fisher_lambda_max"] == rows[0]["fisher_lambda_max"]
    assert "pool.log" in command.run("logs", run).stdout

    theory = [row["theory_fisher_trace"] for row in rows]
    assert all(
        value is not None and 0.1 < row["fisher_trace"] / value < 10 for row, value in zip(rows, theory, strict=True)
    )
    layers = pq.read_table(command.folder / "tables" / "layers.parquet").to_pylist()
    assert all(row["theory_q"] is not None for row in layers)


@pytest.mark.whole
def test_a_run_id_may_be_shortened_but_not_made_ambiguous(command: Command) -> None:
    command.run("launch", "tiny.yaml", "--local", "--set", "seeds=40", "--limit", "1", check=4)
    assert "give more digits" not in command.run("show", "0", check=None).stderr  # one run was launched
    command.run("launch", "tiny.yaml", "--local", "--set", "seeds=20", "--where", "depth=2", check=4)
    ids = list(command.json("status", "tiny.yaml", "--set", "seeds=20", "--where", "depth=2")["states"])
    first = {run[0] for run in ids}
    crowded = next(digit for digit in first if sum(run.startswith(digit) for run in ids) > 1)
    assert "give more digits" in command.run("show", crowded, check=2).stderr


def test_collecting_again_gives_the_same_bytes(done: Command) -> None:
    done.run("collect", "tiny.yaml", "--out", "tables")
    before = {p.name: p.read_bytes() for p in (done.folder / "tables").iterdir()}
    done.run("collect", "tiny.yaml", "--out", "tables")
    after = {p.name: p.read_bytes() for p in (done.folder / "tables").iterdir()}
    assert after == before  # collected again, the same bytes
    assert json.loads(before["sweep.json"])["name"] == "tiny"
