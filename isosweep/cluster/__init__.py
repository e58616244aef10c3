"""Doing it: the pool here, Slurm, the worker on a node and its child; profiles say how a cluster is asked."""
