"""The configuration files of a private Slurm."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING

from slurm_processes import host_is_loopback

if TYPE_CHECKING:
    from slurm_daemons import SlurmDaemons

CLUSTER_NAME = "isosweep"
# Files that stand in for GPUs: gres.conf wants one that exists for each.
GPU_FILES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")


def slurm_conf(cluster: SlurmDaemons) -> str:
    """Its slurm.conf: quick, preempting by requeue, everything under its root."""
    root, host, user = cluster.folder, socket.gethostname().split(".")[0], pwd.getpwuid(os.geteuid()).pw_name
    lines: dict[str, str | int] = {
        "ClusterName": CLUSTER_NAME,
        # An address of its own, so that the host's name need not resolve.
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": cluster.ports["slurmctld"],
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={root}/munge/socket,cred_expire={cluster.cred_expire}",
        "StateSaveLocation": f"{root}/state",
        "SlurmdSpoolDir": f"{root}/spool/%n",
        "SlurmctldPidFile": f"{root}/slurmctld.pid",
        "SlurmdPidFile": f"{root}/%n.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "MailProg": "/bin/true",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": 2,
        "AccountingStorageType": "accounting_storage/none",
        "JobCompType": "jobcomp/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "DefMemPerCPU": cluster.memory_mb // cluster.cpus,
        "SlurmdParameters": "config_overrides",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1",
        "PriorityType": "priority/basic",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "JobRequeue": 1,
        "ReturnToService": 2,
        # Limits that a machine with much else to do does not reach: a node that is slow has not failed, nor has a job
        # that is slow to start. Nothing waits for them where all goes well.
        "SlurmctldTimeout": 300,
        "SlurmdTimeout": 300,
        "BatchStartTimeout": 300,
        "MessageTimeout": 60,
        "InactiveLimit": 0,
        "KillWait": cluster.kill_wait,
        "MinJobAge": cluster.min_job_age,
    }
    if host_is_loopback():
        # The daemons listen on the address that the host's name has, instead of on all: right for this one alone.
        lines["CommunicationParameters"] = "NoInAddrAny,NoCtldInAddrAny"
    if cluster.gpus:
        lines["GresTypes"] = "gpu"
    if cluster.max_array_size is not None:
        lines["MaxArraySize"] = cluster.max_array_size
    lines.update(cluster.settings)
    text = [f"{key}={value}" for key, value in lines.items()]
    gres = f" Gres=gpu:{cluster.gpus}" if cluster.gpus else ""
    text += [
        f"NodeName={node} NodeHostName={host} NodeAddr=127.0.0.1 Port={cluster.ports[node]} CPUs={cluster.cpus}"
        f" RealMemory={cluster.memory_mb}{gres} State=UNKNOWN"
        for node in cluster.nodes
    ]
    text += [
        f"PartitionName={name} Nodes={','.join(cluster.nodes)} PriorityTier={tier} State=UP MaxTime=INFINITE"
        f" Default={'YES' if index == 0 else 'NO'}"
        for index, (name, tier) in enumerate(cluster.partitions.items())
    ]
    return "\n".join(text) + "\n"


def gres_conf(cluster: SlurmDaemons) -> str:
    """Its gres.conf: the fake GPUs of every node."""
    names = [f"NodeName={node} Name=gpu File={file}" for node in cluster.nodes for file in GPU_FILES[: cluster.gpus]]
    return "".join(f"{name}\n" for name in names)
