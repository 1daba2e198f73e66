"""Kernels written for a card: .cu extensions and Triton, on the host and on chips. Torch and the standard library only."""
