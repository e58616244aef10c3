"""Accounts for a private Slurm: a MariaDB and a slurmdbd of its own, on this machine alone.

    with PrivateAccounting(folder) as accounts:
        with PrivateSlurm(settings=accounts.settings()) as slurm:
            ...

Debian's packages mariadb-server and slurmdbd; nothing of an installed database is touched.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from private_slurm import PrivateSlurm
from slurm_processes import free_ports, search_path

_PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "sacctmgr", "sacct")


def missing_programs() -> list[str]:
    """Programs that are not on this machine."""
    return [name for name in _PROGRAMS if shutil.which(name, path=search_path()) is None]


def require_accounting() -> None:
    """Skip the test, or fail it if ISOSWEEP_REQUIRE_SLURM=1, where programs are missing."""
    import pytest

    if missing := missing_programs():
        reason = f"no accounting: {', '.join(missing)} not found (Debian: mariadb-server slurmdbd)"
        if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


class PrivateAccounting:
    """A database and a slurmdbd; the slurmdbd is started with the cluster's own munge once the cluster has one."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="isosweep-dbd-", dir="/tmp"))
        self.database_port, self.port = free_ports(2)
        self._database: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._munge = ""

    def __enter__(self) -> PrivateAccounting:
        try:
            self._start_database()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def settings(self) -> dict[str, str | int]:
        """Lines of slurm.conf."""
        return {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": self.port,
            "AccountingStorageEnforce": "associations,limits,qos",
        }

    def _start_database(self) -> None:
        data, path = self.folder / "data", search_path()
        user = pwd.getpwuid(os.geteuid()).pw_name
        subprocess.run(
            [
                shutil.which("mariadb-install-db", path=path) or "",
                *("--no-defaults", f"--datadir={data}", f"--user={user}", "--auth-root-authentication-method=normal"),
                "--skip-test-db",
            ],
            check=True,
            capture_output=True,
        )
        with (self.folder / "mariadb.log").open("wb") as log:
            self._database = subprocess.Popen(
                [
                    shutil.which("mariadbd", path=path) or "",
                    *("--no-defaults", f"--datadir={data}", f"--socket={self.folder}/sql", f"--user={user}"),
                    *(f"--port={self.database_port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder}/sql.pid"),
                    *("--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while subprocess.run(self._sql("select 1"), capture_output=True, check=False).returncode != 0:
            if time.monotonic() > end or self._database.poll() is not None:
                raise RuntimeError((self.folder / "mariadb.log").read_text()[-2000:])
            time.sleep(0.2)
        grant = (
            "create user slurm@'127.0.0.1' identified by 'x'; grant all on *.* to slurm@'127.0.0.1'; flush privileges"
        )
        subprocess.run(self._sql(grant), check=True, capture_output=True)

    def _sql(self, statement: str) -> list[str]:
        program = shutil.which("mariadb", path=search_path()) or ""
        return [program, "--no-defaults", f"--socket={self.folder}/sql", "-u", "root", "-e", statement]

    def start(self, cluster: PrivateSlurm, timeout: float = 60.0) -> None:
        """Start the slurmdbd, which authenticates by the cluster's munge."""
        conf = self.folder / "slurmdbd.conf"
        socket_line = f"AccountingStoragePass={cluster.conf.parent}/munge/socket\n"
        if socket_line not in (text := cluster.conf.read_text()):
            cluster.conf.write_text(text + socket_line)
        user = pwd.getpwuid(os.geteuid()).pw_name
        conf.write_text(
            "AuthType=auth/munge\n"
            f"AuthInfo=socket={cluster.conf.parent}/munge/socket\n"
            f"DbdHost={socket.gethostname().split('.')[0]}\nDbdAddr=127.0.0.1\nDbdPort={self.port}\n"
            f"SlurmUser={user}\nLogFile={self.folder}/slurmdbd.log\nPidFile={self.folder}/slurmdbd.pid\n"
            "StorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\n"
            f"StoragePort={self.database_port}\nStorageUser=slurm\nStoragePass=x\nStorageLoc=slurm_acct\n"
        )
        conf.chmod(0o600)
        self._daemon = subprocess.Popen(
            [shutil.which("slurmdbd", path=search_path()) or "", "-D"],
            env={**os.environ, "SLURM_CONF": str(conf)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if time.monotonic() > end or self._daemon.poll() is not None:
                raise RuntimeError((self.folder / "slurmdbd.log").read_text()[-2000:])
            time.sleep(0.1)

    def end_daemon(self) -> None:
        """The slurmdbd ends; commands find nobody there."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.terminate()
            try:
                self._daemon.wait(10)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()

    @contextlib.contextmanager
    def hanging(self):  # type: ignore[no-untyped-def]
        """While inside, the slurmdbd takes connections and answers nothing."""
        assert self._daemon is not None
        os.kill(self._daemon.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._daemon.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End both by pid and remove their files."""
        self.end_daemon()
        if self._database is not None and self._database.poll() is None:
            self._database.terminate()
            try:
                self._database.wait(20)
            except subprocess.TimeoutExpired:
                self._database.kill()
                self._database.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
