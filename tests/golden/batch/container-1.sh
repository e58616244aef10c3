#!/bin/bash

# Parameters
#SBATCH --account=theory
#SBATCH --comment='spectra of deep networks'
#SBATCH --constraint='a100&nvlink'
#SBATCH --cpus-per-task=8
#SBATCH --error=/shared/store/jobs/000001-abc/%j_0_log.err
#SBATCH --exclude='n[7-9]'
#SBATCH --exclusive
#SBATCH --gres=gpu:a100:1
#SBATCH --job-name=isosweep-000001-abc-0
#SBATCH --mem-per-cpu=4G
#SBATCH --nice=100
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/shared/store/jobs/000001-abc/%j_0_log.out
#SBATCH --partition=gpu
#SBATCH --qos=long
#SBATCH --requeue
#SBATCH --signal=USR2@300
#SBATCH --time=2-12:00
#SBATCH --wckey=curvature

# setup
set -e
export ISOSWEEP_BEGAN=$(cut -d' ' -f1 /proc/uptime)
export PYTHONSAFEPATH=1
export PYTHONPATH=/shared/code"${PYTHONPATH:+:$PYTHONPATH}"
module load cuda/12.4
test -d /shared

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /shared/store/jobs/000001-abc/%j_%t_log.out --error /shared/store/jobs/000001-abc/%j_%t_log.err apptainer exec --nv /shared/isosweep.sif python -u -m submitit.core._submit /shared/store/jobs/000001-abc
