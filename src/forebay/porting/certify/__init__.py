"""Measure a chip: torch's own operator database on it, against float64 truth on the host; its ceilings; its scorecard."""
