"""What must change in a script that was written for CUDA, and what carries it unchanged."""
