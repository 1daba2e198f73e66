"""The checks, a file for each area. Every one is true on an NVIDIA card under plain torch."""
