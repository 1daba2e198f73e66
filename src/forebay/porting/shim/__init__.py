"""Run a script that was written for CUDA on a machine without a GPU, unchanged.

carrier.choose -> load.install -> the script's own `import torch`
"""
