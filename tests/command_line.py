"""The command line as tests use it: the real `isosweep`, in a process of its own or within the test's.

A process of its own costs a second of imports, most of what a short command takes. `Command.run` therefore carries out
`SHORT` commands, which compute nothing, start no pool and install no signal handler, within the test's own process:
`isosweep.cli.main` with the words, working folder, environment and Python path of a process, its output going through
the real file descriptors, its caches empty, and everything put back afterwards. What differs from a process:

- modules are imported already, so what a command imports, or that it imports too much, is not seen (test_imports.py);
- Python's warnings go to pytest, not to standard error;
- the interpreter's own start is not gone through: variables that it or a library reads then (`PYTHON…`, `OMP_…`,
  `LD_…`) want a process, and get one.

Whatever computes has a process of its own, as has every command of a `Command(…, own_process=True)`: the journeys of
test_journey.py go through every kind of command so.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

__all__ = ["SHORT", "Command"]

SHORT = frozenset({"archive", "collect", "data", "export", "gc", "init", "logs", "predict", "report", "show", "status"})
_READ_AT_START = ("PYTHON", "OMP_", "MKL_", "OPENBLAS_", "LD_", "CUDA_", "CUBLAS_", "LC_", "LANG")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass
class Command:
    """The real `isosweep`, run in a folder of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    own_process: bool = False

    def arguments(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "isosweep.cli", *map(str, words)]

    def run(
        self, *words: object, check: int | None = 0, timeout: float = 600, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Carry a command out, within this process if it is short; `check`: the exit code that it must have."""
        said = [str(word) for word in words]
        given = {**self.environment, **environment}
        if self.own_process or not _is_short(said, given):
            done = subprocess.run(
                self.arguments(*said),
                cwd=self.folder,
                env={**os.environ, **given},
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        else:
            done = _within(said, self.folder, given)
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}, expected {check}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: object, check: int | None = 0, **environment: str) -> dict[str, Any]:
        return json.loads(self.run(*words, "--json", check=check, **environment).stdout)

    def start(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.arguments(*words),
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name


def _is_short(words: list[str], environment: dict[str, str]) -> bool:
    """Whether a command may be carried out within this process: it is one of SHORT, or only says what it would do, and
    nothing is asked of its process's start.
    """
    if any(name.startswith(_READ_AT_START) for name in environment):
        return False
    dry = words[:1] in (["launch"], ["tune"]) and not {"--dry-run", "-n"}.isdisjoint(words)
    return words[0] in SHORT or dry or words[-1] == "--help"


def _within(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`isosweep` with these words, within this process; what it leaves in the process is undone."""
    from isosweep.cli import main

    handlers = [signal.getsignal(number) for number in _SIGNALS]
    with ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(2))
        with _surroundings(words, folder, environment), _standard(out, err):
            try:
                main()
                code: object = 0
            except SystemExit as left:
                code = left.code or 0
            except BaseException:  # as the interpreter does, of a process of its own
                traceback.print_exc()
                code = 1
        said = [_all_of(stream) for stream in (out, err)]
    assert [signal.getsignal(number) for number in _SIGNALS] == handlers, "the command left a signal handler behind"
    assert isinstance(code, int)
    return subprocess.CompletedProcess(["isosweep", *words], int(code), *said)


def _all_of(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read()


@contextmanager
def _surroundings(words: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """The arguments, folder, environment, paths and empty caches of `python -m isosweep.cli`, for a while."""
    before, place, arguments, path = dict(os.environ), Path.cwd(), sys.argv, list(sys.path)
    _empty_caches()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["isosweep", *words]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = arguments, path
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)
        _empty_caches()


@contextmanager
def _standard(out: TextIO, err: TextIO) -> Iterator[None]:
    """File descriptors 1 and 2, and the streams of Python on them, are these files for a while; nobody types."""
    before = sys.stdin, sys.stdout, sys.stderr
    for stream in before[1:]:
        stream.flush()
    kept = os.dup(1), os.dup(2)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    try:
        with (
            open(os.devnull, encoding="utf-8") as sys.stdin,
            open(1, "w", encoding="utf-8", closefd=False) as sys.stdout,
            open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as sys.stderr,
        ):
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _empty_caches() -> None:
    """Forget what a new process would not know: of the machine, the scheduler, files. Pure functions' values stay."""
    for name, module in list(sys.modules.items()):
        if name.startswith("isosweep.") and not name.startswith("isosweep.theory."):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()
