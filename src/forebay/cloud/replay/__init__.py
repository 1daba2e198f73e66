"""Run a trace of jobs through the core in simulated time."""
