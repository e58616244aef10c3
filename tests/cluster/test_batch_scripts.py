"""The batch scripts that profiles become, word for word; and that this Slurm takes them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from private_slurm import PrivateSlurm

from isosweep.cluster.profile import Profile, ProfileError, check_device, load_profile
from isosweep.cluster.submit import SubmissionRefused, batch_script, check_submission

GOLDEN = Path(__file__).parents[1] / "golden" / "batch"
SHIPPED = Path(__file__).parents[2] / "slurm"

PROFILES = {
    "cpu": (SHIPPED / "cpu.toml").read_text(),
    "gpu": (SHIPPED / "gpu.toml").read_text(),
    "container": """\
device = "cuda"
python = "apptainer exec --nv /shared/isosweep.sif python"
setup = ["module load cuda/12.4", "test -d /shared"]
array_parallelism = 16
signal_delay = 300
[sbatch]
time = "2-12:00"
gres = "gpu:a100:1"
partition = "gpu"
account = "theory"
qos = "long"
wckey = "curvature"
mem-per-cpu = "4G"
cpus-per-task = 8
constraint = "a100&nvlink"
exclude = "n[7-9]"
nice = 100
exclusive = true
comment = "spectra of deep networks"
""",
}


def script(profile: Profile, tasks: int) -> str:
    made = batch_script(profile, Path("/shared/store/jobs/000001-abc"), "isosweep-000001-abc-0", tasks, "/shared/code")
    return made.replace(sys.executable, "PYTHON")


@pytest.mark.parametrize("tasks", [1, 40])
@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_becomes_this_script(name: str, tasks: int, tmp_path: Path) -> None:
    (tmp_path / f"{name}.toml").write_text(PROFILES[name])
    made = script(load_profile(str(tmp_path / f"{name}.toml")), tasks)
    golden = GOLDEN / f"{name}-{tasks}.sh"
    if os.environ.get("ISOSWEEP_WRITE_GOLDEN") == "1":
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(made)
    assert made == golden.read_text()


def test_the_shell_stops_at_the_first_line_that_fails(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('setup = ["false", "touch never"]\npython = "touch too-far #"\n')
    text = script(load_profile(str(tmp_path / "p.toml")), 1)
    lines = text.splitlines()
    assert lines.index("set -e") < lines.index("false") < lines.index("touch never")
    body = "\n".join(line for line in lines if not line.startswith("srun"))
    (tmp_path / "job.sh").write_text(body)
    assert os.system(f"cd {tmp_path} && bash job.sh") != 0
    assert not (tmp_path / "never").exists()


def test_every_value_has_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag over environment over project over user, and what is built in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    user, project = tmp_path / "config" / "isosweep" / "profiles", tmp_path / "slurm"
    user.mkdir(parents=True)
    project.mkdir()
    (user / "mine.toml").write_text('target_minutes = 5\nsignal_delay = 60\n[sbatch]\naccount = "a"\nmem = "1G"\n')
    (project / "mine.toml").write_text('target_minutes = 7\n[sbatch]\nmem = "2G"\ntime = "20"\n')
    monkeypatch.setenv("SBATCH_QOS", "long")
    monkeypatch.setenv("SBATCH_ACCOUNT", "another")  # the profile has one
    monkeypatch.setenv("ISOSWEEP_PROFILE", "mine")
    values = load_profile(None, ["time=30"], "cpu").values()
    assert values["target_minutes"] == (7, "project slurm/mine.toml")
    assert values["signal_delay"] == (60, f"user {user}/mine.toml")
    assert values["sbatch.account"] == ("a", f"user {user}/mine.toml")
    assert values["sbatch.mem"] == ("2G", "project slurm/mine.toml")
    assert values["sbatch.time"] == ("30", "flag --sbatch")
    assert values["sbatch.qos"] == ("long", "environment SBATCH_QOS")
    assert values["device"] == ("cpu", "flag --device")
    assert values["array_parallelism"] == (256, "built in")


def test_cuda_without_a_gpu_asked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('device = "cuda"\n')
    with pytest.raises(ProfileError, match="asks for a GPU"):
        check_device(load_profile(str(tmp_path / "p.toml")))
    check_device(load_profile(str(tmp_path / "p.toml"), ["gpus-per-node=1"]))


@pytest.mark.slurm
def test_this_slurm_judges_a_profile_before_anything_is_submitted(slurm: PrivateSlurm, tmp_path: Path) -> None:
    def judged(*options: str) -> str:
        with pytest.raises(SubmissionRefused) as refused:
            check_submission(load_profile(None, options), tmp_path / "jobs", 3)
        return str(refused.value)

    with slurm.active():
        before = {job.id for job in slurm.squeue()}  # some of which it may forget meanwhile
        check_submission(load_profile(None), tmp_path / "jobs", 3)
        said = judged("mem-per-core=4G")
        assert re.search(r"knows no option 'mem-per-core' \(flag --sbatch\); did you mean 'mem-per-\w+'", said)
        assert "partition = 'nowhere', from flag --sbatch" in judged("partition=nowhere")
        assert "gres" in judged("gres=unobtainium:1").lower()
        assert judged("nodes=40")
        with pytest.raises(SubmissionRefused, match="has a '%' in it"):
            check_submission(load_profile(None), tmp_path / "100%", 3)
        # options are not guessed at: each goes through under its own name
        for options in (["exclusive"], ["nice=5", "comment=a b"], ["begin=now+1hour"], ["gres=gpu:1"], ["mem=100M"]):
            check_submission(load_profile(None, options), tmp_path / "jobs", 3)
        assert {job.id for job in slurm.squeue()} <= before
    assert not list(tmp_path.iterdir())
