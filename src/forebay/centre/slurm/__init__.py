"""Slurm sites as places to run: an engine that submits one job a run (docs/slurm.md)."""
