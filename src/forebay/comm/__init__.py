"""Moving tensors between unlike chips."""
