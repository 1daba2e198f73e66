"""A deterministic simulation of the whole cloud: see docs/simulation.md."""
