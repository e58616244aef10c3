"""The private Slurm keeps what it promises: it is a real Slurm, it is alone, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import private_slurm
import pytest
import slurm_daemons
from private_slurm import PrivateSlurm, Process, SlurmError, SlurmMissing
from slurm_processes import free_ports, until, which

pytestmark = pytest.mark.slurm
TESTS = Path(private_slurm.__file__).parent


@pytest.fixture(scope="module")
def shared_slurm() -> Iterator[PrivateSlurm]:
    private_slurm.require_slurm()
    with PrivateSlurm(max_array_size=11) as cluster:
        yield cluster


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: paths of sockets have few letters."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        yield Path(folder)


@pytest.fixture
def needs_slurm() -> None:
    private_slurm.require_slurm()


def gone(processes: list[Process], timeout: float = 60.0) -> bool:
    return until(lambda: not any(process.alive() for process in processes), timeout)


def wait_until(condition: Callable[[], object]) -> None:
    assert until(condition, 120), "not so after two minutes"


def everything(cluster: PrivateSlurm) -> list[Process]:
    return [*cluster.daemons.values(), *cluster.steps(), *cluster.job_processes()]


@pytest.mark.whole
def test_an_array_runs_on_both_nodes_each_element_with_its_gpu(slurm: PrivateSlurm) -> None:
    job = slurm.sbatch("--array=0-2", "--gres=gpu:1", wrap="echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES; sleep 1")
    done = slurm.wait(job, "COMPLETED")
    assert sorted(one.id for one in done) == [f"{job}_0", f"{job}_1", f"{job}_2"]
    said = [slurm.output(f"{job}_{element}").split() for element in range(3)]
    assert {node for node, _ in said} == {"n1", "n2"}
    assert {gpu for _, gpu in said} == {"0"}


@pytest.mark.whole
def test_a_requeued_job_comes_back_within_seconds(slurm: PrivateSlurm) -> None:
    job = slurm.sbatch("--open-mode=append", wrap="echo attempt ${SLURM_RESTART_COUNT:-0}; sleep 600")
    wait_until(lambda: "attempt 0" in slurm.output(job))
    slurm.requeue(job)
    wait_until(lambda: "attempt 1" in slurm.output(job))
    assert slurm.output(job).count("attempt") == 2
    slurm.wait(job, "RUNNING")
    shown = slurm.job(job)
    assert shown["Restarts"] == "1"
    # By Slurm's own stamps, of when it went back into the queue; its default is two minutes.
    back, due = (datetime.fromisoformat(shown[name]) for name in ("SubmitTime", "EligibleTime"))
    assert (due - back).total_seconds() < 60
    slurm.run("scancel", job)
    slurm.wait(job, "CANCELLED")


@pytest.mark.whole
def test_a_job_in_high_preempts_and_requeues_one_in_low(slurm: PrivateSlurm) -> None:
    low = slurm.sbatch("--open-mode=append", wrap="echo attempt ${SLURM_RESTART_COUNT:-0}; sleep 600")
    wait_until(lambda: "attempt 0" in slurm.output(low))
    high = slurm.sbatch("--partition=high", "--nodes=2", "--exclusive", wrap="true")
    slurm.wait(high, "COMPLETED")
    wait_until(lambda: "attempt 1" in slurm.output(low))
    assert slurm.job(low)["Restarts"] == "1"
    slurm.run("scancel", low)
    slurm.wait(low, "CANCELLED")


@pytest.mark.whole
def test_max_array_size_shows_and_holds(slurm: PrivateSlurm) -> None:
    assert slurm.config()["MaxArraySize"] == "11"
    with pytest.raises(SlurmError, match="Invalid job array specification"):
        slurm.sbatch("--array=0-11", wrap="true")


@pytest.mark.whole
def test_submitit_submits_a_function_through_it(slurm: PrivateSlurm, tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    with slurm.active():
        executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm")
        # More than the 90 seconds before the limit at which its signal comes, which would end the job at its start.
        executor.update_parameters(timeout_min=5, slurm_gres="gpu:1", slurm_partition="high")
        job = executor.submit(os.getenv, "SLURMD_NODENAME")
        # Without accounting submitit never learns of a failed job's end: this does.
        assert [one.state for one in slurm.wait(job.job_id, timeout=120)] == ["COMPLETED"]
        assert job.result() in slurm.nodes


@pytest.mark.whole
def test_a_killed_node_loses_its_jobs_to_the_other_and_returns(slurm: PrivateSlurm) -> None:
    job = slurm.sbatch(wrap="sleep 600")
    node = slurm.wait(job, "RUNNING")[0].node
    wait_until(lambda: slurm.steps(node) and slurm.job_processes(node, job))
    lost = [slurm.daemon(node), *slurm.steps(node), *slurm.job_processes(node, job)]
    assert len(lost) >= 3
    slurm.kill_node(node)
    assert gone(lost)
    assert slurm.nodes_state()[node].startswith("down")
    (again,) = slurm.wait(job, "RUNNING")
    assert again.node in set(slurm.nodes) - {node}
    slurm.start_node(node)
    slurm.run("scancel", job)
    slurm.wait_idle()


@pytest.mark.whole
def test_a_drained_node_takes_no_jobs_until_resumed(slurm: PrivateSlurm) -> None:
    slurm.drain("n1")
    wait_until(lambda: slurm.nodes_state()["n1"] == "drained")
    job = slurm.sbatch("--array=0-1", "--exclusive", wrap="true")
    assert {one.node for one in slurm.wait(job, "COMPLETED")} == {"n2"}
    slurm.resume("n1")
    slurm.wait_idle()


@pytest.mark.whole
@pytest.mark.parametrize("kill", [False, True])
def test_jobs_outlive_a_restart_of_the_controller(slurm: PrivateSlurm, kill: bool) -> None:
    job = slurm.sbatch(wrap="sleep 600")
    slurm.wait(job, "RUNNING")
    if kill:
        # A controller that is killed forgets what it had not yet written: it writes some seconds after a change, all
        # of its jobs at once. What has this word of now has the job running, too.
        word = f"written-{uuid.uuid4().hex}"
        slurm.run("scontrol", "update", f"JobId={job}", f"Comment={word}")
        wait_until(lambda: word.encode() in saved_jobs(slurm))
    process = slurm.daemon("slurmctld")
    slurm.restart_controller(kill=kill)
    assert not process.alive()
    assert [one.state for one in slurm.squeue(job)] == ["RUNNING"]
    assert slurm.job(job)["Restarts"] == "0"
    slurm.run("scancel", job)
    slurm.wait_idle()


def saved_jobs(slurm: PrivateSlurm) -> bytes:
    """What the controller has written of its jobs; nothing while it puts a new file into the place of the old."""
    with contextlib.suppress(FileNotFoundError):
        return (slurm.conf.with_name("state") / "job_state").read_bytes()
    return b""


@pytest.mark.whole
def test_what_a_killed_controller_forgot_is_cleared(slurm: PrivateSlurm) -> None:
    """A node that remembers a job whose number is given again would refuse the second, and be drained for it."""
    first = slurm.sbatch("--nodelist=n1", wrap="sleep 600")
    slurm.wait(first, "RUNNING")
    slurm.restart_controller(kill=True)
    slurm.clear()
    assert not slurm.steps()
    last = first
    while int(last) <= int(first):
        last = slurm.sbatch("--nodelist=n1", wrap="true")
        assert [job.state for job in slurm.wait(last)] == ["COMPLETED"]
    slurm.wait_idle()


@pytest.mark.whole
def test_a_hanging_controller_answers_nothing_and_recovers(slurm: PrivateSlurm) -> None:
    with slurm.hanging_controller(), pytest.raises(subprocess.TimeoutExpired):
        slurm.run("squeue", timeout=1)
    assert slurm.squeue() is not None


@pytest.mark.whole
def test_two_live_side_by_side_and_stop_leaves_nothing(slurm: PrivateSlurm) -> None:
    with PrivateSlurm(nodes=1, gres=False, partitions={"only": 1}) as other:
        assert not set(other.ports.values()) & set(slurm.ports.values())
        assert set(other.nodes_state()) == {"n1"}
        # A process that has left the job's session and whose parent is gone is found all the same.
        job = other.sbatch("--job-name=elsewhere", wrap="setsid sleep 300 & sleep 300")
        other.wait(job, "RUNNING")
        wait_until(lambda: len(other.job_processes(job=job)) >= 3)
        assert "elsewhere" not in {one.name for one in slurm.squeue()}
        root, processes = other.root, everything(other)
        assert len(processes) >= 3 + 1 + 3
    assert gone(processes, 0)
    assert root is not None
    assert not root.exists()
    other.stop()
    slurm.wait_idle()


@pytest.mark.whole
def test_the_environment_of_commands_carries_no_other_slurm(slurm: PrivateSlurm) -> None:
    outer = {"SLURM_JOB_ID": "7", "SBATCH_PARTITION": "dear", "SLURM_CONF": "/etc/slurm/slurm.conf", "HOME": "/h"}
    assert set(slurm.env(outer)) == {"SLURM_CONF", "PATH", "HOME"}
    assert slurm.env(outer)["SLURM_CONF"] == str(slurm.conf)
    before = dict(os.environ)
    with slurm.active():
        assert os.environ["SLURM_CONF"] == str(slurm.conf)
    assert dict(os.environ) == before


@pytest.mark.whole
@pytest.mark.usefixtures("needs_slurm")
def test_the_command_starts_one_that_outlives_it_and_stops_exactly_that_one(
    slurm: PrivateSlurm, tmp_path: Path
) -> None:
    root = tmp_path / "up"

    def command(action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, TESTS / "slurm_command.py", action, "--root", root],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    up = command("up")
    assert up.returncode == 0, up.stderr
    assert up.stdout == f"export SLURM_CONF={root}/slurm.conf\n"
    cluster = PrivateSlurm.attach(root)
    processes = everything(cluster)
    try:
        shell = subprocess.run(
            ["sh", "-c", f"{up.stdout} sinfo -h -N -o %N"], capture_output=True, text=True, check=True
        )
        assert set(shell.stdout.split()) == {"n1", "n2"}
        again = command("up")
        assert (again.returncode, again.stdout) == (0, up.stdout)
        assert everything(PrivateSlurm.attach(root)) == processes
    finally:
        down = command("down")
    assert down.returncode == 0
    assert gone(processes)
    assert not root.exists()
    assert "No private Slurm" in command("down").stderr
    assert slurm.alive


@pytest.mark.whole
@pytest.mark.usefixtures("needs_slurm")
def test_what_a_killed_owner_left_is_cleared_by_the_next() -> None:
    code = "import private_slurm as p; c = p.PrivateSlurm().start(); j = c.sbatch(wrap='sleep 300');"
    code += "c.wait(j, 'RUNNING'); print(c.root, flush=True); import time; time.sleep(300)"
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=TESTS, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    root = Path(owner.stdout.readline().strip())
    left = PrivateSlurm.attach(root)
    # a job counts as running a moment before its step and its process are there
    wait_until(lambda: left.steps() and left.job_processes())
    processes = everything(left)
    assert root not in private_slurm.clear_orphans()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    # Another process that starts a cluster just now may be first to clear it, and not yet be through.
    private_slurm.clear_orphans()
    assert gone(processes)
    wait_until(lambda: not root.exists())


@pytest.mark.whole
@pytest.mark.usefixtures("needs_slurm")
def test_a_taken_port_is_tried_again_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = [taken.getsockname()[1], *free_ports(2)]
        answers = iter([first, free_ports(3)])
        monkeypatch.setattr(slurm_daemons, "free_ports", lambda count: next(answers))
        with PrivateSlurm() as cluster:
            assert taken.getsockname()[1] not in cluster.ports.values()
            assert cluster.alive


@pytest.mark.whole
@pytest.mark.usefixtures("needs_slurm")
def test_a_start_that_fails_shows_the_logs_and_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "bad"
    with pytest.raises(SlurmError, match=r"(?s)slurmctld ended with 1.*--- slurmctld.*select/nonsense"):
        PrivateSlurm(root, settings={"SelectType": "select/nonsense"}).start()
    assert not root.exists()


@pytest.mark.whole
@pytest.mark.usefixtures("needs_slurm")
@pytest.mark.skipif(os.geteuid() != 0, reason="a host name of one's own takes root")
@pytest.mark.parametrize("hosts", ["127.0.0.1 localhost", "127.0.1.1 nobody-knows.invalid"])
def test_it_matters_not_what_the_name_of_the_host_means(tmp_path: Path, hosts: str) -> None:
    (tmp_path / "hosts").write_text(f"{hosts}\n")
    apart = ["unshare", "--uts", "--mount", "sh", "-c"]
    apart += ['hostname nobody-knows.invalid && mount --bind "$0" /etc/hosts && exec "$@"', str(tmp_path / "hosts")]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no host name of one's own on this machine")
    code = "import private_slurm as p\nwith p.PrivateSlurm() as c: print(c.wait(c.sbatch(wrap='srun true'))[0].state)"
    done = subprocess.run([*apart, sys.executable, "-c", code], cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "COMPLETED", done.stderr


@pytest.mark.whole
@pytest.mark.usefixtures("needs_slurm")
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_any_user_may_have_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-u", "TMPDIR", "HOME=/"]
    if python is None or subprocess.run([*become, python, "-c", "import tomllib"], check=False).returncode != 0:
        pytest.skip("no python from 3.11 on that another user may run")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from private_slurm import PrivateSlurm\n"
        "with PrivateSlurm() as c:\n"
        " j = c.sbatch('--gres=gpu:1', wrap='id -u; srun sleep 1; echo $CUDA_VISIBLE_DEVICES')\n"
        " print(c.wait(j)[0].state, c.output(j).split())"
    )
    # the checkout may lie where nobody else may go
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as copies:
        Path(copies).chmod(0o755)
        for name in ("private_slurm.py", *(path.name for path in TESTS.glob("slurm_*.py"))):
            shutil.copy(TESTS / name, copies)
        done = subprocess.run(
            [*become, python, "-B", "-c", code, copies], cwd="/", capture_output=True, text=True, check=False
        )
    assert done.stdout.strip() == "COMPLETED ['65534', '0']", done.stderr


@pytest.mark.whole
@pytest.mark.usefixtures("needs_slurm")
def test_the_profiles_given_as_examples_are_taken_by_sbatch() -> None:
    profiles = sorted((TESTS.parent / "slurm").glob("*.toml"))
    assert {"cpu", "gpu"} <= {profile.stem for profile in profiles}
    with PrivateSlurm(nodes=1, cpus=8, memory_mb=32000) as cluster:
        for profile in profiles:
            options = [f"--{key}={value}" for key, value in tomllib.loads(profile.read_text())["sbatch"].items()]
            job = cluster.sbatch(*options, wrap="echo ${CUDA_VISIBLE_DEVICES:-none}")
            assert [one.state for one in cluster.wait(job)] == ["COMPLETED"]
            assert cluster.output(job).strip() == ("0" if profile.stem == "gpu" else "none")


def test_a_credential_too_short_for_slurm_is_refused() -> None:
    with pytest.raises(ValueError, match="120 seconds"):
        PrivateSlurm(cred_expire=2)


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slurm_daemons, "which", lambda name: None if name in ("slurmd", "munged") else which(name))
    assert {"slurmd", "munged"} <= set(private_slurm.missing_programs())
    with pytest.raises(SlurmMissing, match=r"munged.*slurmd"):
        PrivateSlurm(tmp_path / "none").start()
    assert not (tmp_path / "none").exists()
    monkeypatch.delenv("ISOSWEEP_REQUIRE_SLURM", raising=False)
    with pytest.raises(pytest.skip.Exception, match="munged"):
        private_slurm.require_slurm()
    monkeypatch.setenv("ISOSWEEP_REQUIRE_SLURM", "1")
    with pytest.raises(pytest.fail.Exception, match="munged"):
        private_slurm.require_slurm()


def test_a_root_of_someone_else_or_too_deep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="characters"):
        PrivateSlurm(tmp_path / ("x" * 80))
    private_slurm.require_slurm()
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(FileExistsError):
        PrivateSlurm(tmp_path).start()
    assert (tmp_path / "mine").read_text() == "kept"
