"""The identity layer: scripts written for CUDA on a chip with a device name of its own, and what is known of each chip.

adapter.known -> adapter.ready -> cards.Chips -> live.after_torch
"""
