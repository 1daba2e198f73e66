"""What is kept: bundles, data sets, manifests, the chunk store."""
