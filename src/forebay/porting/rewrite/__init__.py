"""Make a CUDA-written text device-agnostic: plain torch, no import of Forebay, every byte outside the edits as it was."""
