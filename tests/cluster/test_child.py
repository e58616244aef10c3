"""The process that computes, as its supervisor has it: it ends with its parent, and nothing of a run keeps it alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import processes

from isosweep.cluster.process import Child


def test_a_child_whose_parent_has_gone_ends_at_once() -> None:
    """Its parent died before it asked to be told of that."""
    child = subprocess.Popen(
        [sys.executable, "-m", "isosweep.cluster.child", str(os.getpid() + 1)], stdin=subprocess.PIPE
    )
    assert child.wait(timeout=240) == 0


def test_a_grandchild_that_keeps_the_pipe_open_holds_nobody_up(tmp_path: Path) -> None:
    """A user's network forks a process and dies; the fork has the pipe to the supervisor."""
    package = tmp_path / "isosweep" / "cluster"
    package.mkdir(parents=True)
    (tmp_path / "isosweep" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "child.py").write_text(
        "import os, sys, time\nsys.stdin.readline()\npid = os.fork()\nif pid == 0:\n    time.sleep(600)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(pid))\nos._exit(7)\n"
    )
    child = Child({"PYTHONPATH": str(tmp_path)})
    reply = child.carry_out({})
    assert reply["died"]
    assert "exit code 7" in reply["cause"]
    grandchild = int((tmp_path / "pid").read_text())
    assert processes.alive(grandchild)
    os.kill(grandchild, signal.SIGKILL)
    child.close()


def test_a_child_that_neither_pauses_nor_ends_is_ended(tmp_path: Path) -> None:
    package = tmp_path / "isosweep" / "cluster"
    package.mkdir(parents=True)
    (tmp_path / "isosweep" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "child.py").write_text(
        "import signal, sys, time\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "sys.stdin.readline()\ntime.sleep(60)\n"
    )
    child = Child({"PYTHONPATH": str(tmp_path)})
    asked: list[int] = []

    def ask() -> None:
        if not asked:
            asked.append(1)
            child.pause(0.2)

    assert child.carry_out({}, ask)["died"]
    child.close()
