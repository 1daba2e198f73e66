"""Forebay: one pool of AI chips, drawn from like water.

Every room of the house is a package beside this file; docs/architecture.md is the map.
"""

__version__ = "0.1.0"
