"""The Ray engine: runs as placement groups of a Ray cluster."""
