"""Loops are compiled on first use, which may be inside a law: no example has a deadline here."""

from hypothesis import settings

settings.register_profile("compiled", deadline=None, derandomize=True)
settings.load_profile("compiled")
