"""What a node reports of itself, from within a real job."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isosweep.doctor.finding import Finding, good, problem, warning
from isosweep.store.publish import publish

__all__ = ["REPORT", "Examination", "findings_of"]

REPORT = "node.json"
# The launcher gives this name before the job begins: the job must see it, and must not be able to give it again.
TAKEN = "taken"
_SKEW_SECONDS = 60.0


@dataclass(frozen=True)
class Examination:
    """The job: look around on the node and publish what was found in `folder`."""

    folder: str
    device: str

    def __call__(self) -> str:
        """Write the report."""
        place = Path(self.folder)
        report: dict[str, Any] = {
            "host": socket.gethostname(),
            "node": os.environ.get("SLURMD_NODENAME", ""),
            "python": platform.python_version(),
            "sees": TAKEN in os.listdir(place),
            "given_again": publish(place / TAKEN, b"node"),
            "scontrol": shutil.which("scontrol") is not None and _runs("scontrol", "ping"),
            "srun_wckey": os.environ.get("SLURM_WCKEY"),
            "cores": len(os.sched_getaffinity(0)),
            "time": time.time(),
        }
        probe = place / "node-clock"
        probe.touch()
        report["server_time"] = probe.stat().st_mtime
        report |= _torch(self.device)
        publish(place / REPORT, json.dumps(report).encode())
        return "reported"


def _runs(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _torch(device: str) -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # whatever keeps it from being imported is the finding
        return {"torch": None, "torch_error": f"{type(error).__name__}: {error}"}
    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.cuda.is_available(), "gpus": []}
    if device != "cpu" and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            found["gpus"].append(torch.cuda.get_device_name(index))
        try:
            found["gpu_works"] = float((torch.ones(64, 64, device="cuda", dtype=torch.float64) * 2).sum()) == 8192.0
        except RuntimeError as error:
            found["gpu_works"], found["gpu_error"] = False, str(error).splitlines()[0]
        try:
            from isosweep.measurement.environment import fingerprint

            found["driver"] = fingerprint("cuda").get("driver")
        except RuntimeError:
            found["driver"] = None
    return found


def findings_of(report: dict[str, Any], device: str) -> Iterator[Finding]:
    """What a report means."""
    where = report["node"] or report["host"]
    yield good("node: a job runs", f"on {where}, {report['cores']} cores, Python {report['python']}")
    if report["sees"] and not report["given_again"]:
        yield good("node: the store", "seen from the node, and a name that is taken is taken there too")
    else:
        yield problem(
            "node: the store",
            "a name given here can be given again on the node"
            if report["given_again"]
            else "the node does not list a file made here",
            "keep the store on a file system that all nodes mount alike",
        )
    if report["torch"] is None:
        yield problem(
            "node: torch",
            report["torch_error"],
            "give the profile a python that has isosweep's packages, or the lines of setup that load them",
        )
    else:
        yield good("node: torch", report["torch"])
    if report.get("gpus"):
        works = report.get("gpu_works")
        said = f"{', '.join(report['gpus'])}, driver {report.get('driver')}"
        if works:
            yield good("node: GPU", said)
        else:
            yield problem("node: GPU", f"{said}: {report.get('gpu_error', 'computes wrongly')}", "use another node")
    elif device == "cuda":
        yield problem(
            "node: GPU",
            "none is seen" + ("" if report.get("torch") else ", torch is missing"),
            'ask for one (gres = "gpu:1"), and see that torch is a CUDA build',
        )
    else:
        yield good("node: GPU", "none asked for" if device == "cpu" else "none given: runs use the CPU")
    if report["scontrol"]:
        yield good("node: scontrol", "there, so a job requeues itself before its time limit")
    else:
        yield warning(
            "node: scontrol",
            "not to be had on the node (in the container?)",
            "a job that runs out of time ends its task; launch again to go on",
        )
    skew = report["time"] - report["server_time"]
    if abs(skew) < _SKEW_SECONDS:
        yield good("node: clock", f"{skew:+.1f} s against the file server's")
    else:
        yield warning(
            "node: clock", f"{skew:+.0f} s from the file server's", "only the times that are shown depend on it"
        )
