"""Forebay: one pool of AI chips, drawn from like water.

Every room of the house is a package beside this file; docs/architecture.md is the map.
"""

TYPE_CHECKING = False  # for type checkers; importing typing would cost every process of ours 10 ms
if TYPE_CHECKING:
    from forebay.client import Client as Client

__version__ = "0.2.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    """`forebay.Client`, imported when it is first asked for: a job inside the pool has no HTTP client."""
    if name == "Client":
        from forebay.client import Client

        return Client
    raise AttributeError(f"module 'forebay' has no attribute {name!r}")
