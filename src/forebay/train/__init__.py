"""Doing a plan: checkpoints and progress of the built-in recipe."""
