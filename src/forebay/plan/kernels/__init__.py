"""Measured kernels: what matrix products, attention, experts and collectives take on chips that somebody measured."""
