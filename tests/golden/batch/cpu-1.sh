#!/bin/bash

# Parameters
#SBATCH --cpus-per-task=1
#SBATCH --error=/shared/store/jobs/000001-abc/%j_0_log.err
#SBATCH --job-name=isosweep-000001-abc-0
#SBATCH --mem=4G
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/shared/store/jobs/000001-abc/%j_0_log.out
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=04:00:00

# setup
set -e
export ISOSWEEP_BEGAN=$(cut -d' ' -f1 /proc/uptime)
export PYTHONSAFEPATH=1
export PYTHONPATH=/shared/code"${PYTHONPATH:+:$PYTHONPATH}"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /shared/store/jobs/000001-abc/%j_%t_log.out --error /shared/store/jobs/000001-abc/%j_%t_log.err PYTHON -u -m submitit.core._submit /shared/store/jobs/000001-abc
