"""The acceptance suite: what is true of a card under CUDA, asked of whatever answers to "cuda" here.

from forebay.porting.accept.suite import run; python -m forebay.porting.accept
"""
