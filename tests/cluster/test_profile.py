"""Profiles: found by name, checked, and every mistake said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from isosweep.cluster.profile import ProfileError, load_profile, slurm_seconds

SHIPPED = Path(__file__).parents[2] / "slurm"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("30:15", 1815),
        ("04:00:00", 14400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("2-00:00:01", 172801),
        ("UNLIMITED", float("inf")),
    ],
)
def test_slurms_times(text: str, seconds: float) -> None:
    assert slurm_seconds(text) == seconds


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_the_shipped_profiles_are_sound(name: str) -> None:
    assert load_profile(str(SHIPPED / f"{name}.toml")).name == name


def test_a_name_is_looked_for_here_then_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    user = tmp_path / "config" / "isosweep" / "profiles"
    user.mkdir(parents=True)
    (user / "mine.toml").write_text("target_minutes = 5\n")
    assert load_profile("mine").target_minutes == 5
    assert load_profile("mine").checkpoint_minutes == 10
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "mine.toml").write_text("target_minutes = 7\n")
    assert load_profile("mine").target_minutes == 7
    with pytest.raises(ProfileError, match=r"no profile 'mime'.*slurm/mime.toml.*did you mean 'mine'"):
        load_profile("mime")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("devise = 'cpu'", "did you mean 'device'"),
        ("device = 'tpu'", "expected cpu, cuda or auto"),
        ("target_minutes = 0", "above 0"),
        ("setup = 'module load'", "list of shell lines"),
        ("[sbatch]\ncpus_per_task = 1", "'cpus-per-task'"),
        ("[sbatch]\narray = '0-9'", "set by isosweep itself"),
        ("[sbatch]\ntime = 'soon'", "no time of Slurm's"),
        ("[sbatch]\ntime = '1'\n", "signal_delay"),
        ("signal_delay = 70\n[sbatch]\ntime = '2'\n", "warn earlier"),
        ("[sbatch", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=said):
        load_profile(str(path))


def test_options_of_the_command_line_win(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("[sbatch]\ntime = '10'\nmem = '1G'\n")
    profile = load_profile(str(path), ["time=01:00:00", "exclusive"])
    assert profile.sbatch == {"time": "01:00:00", "mem": "1G", "exclusive": True}
    assert profile.time_limit == 3600
