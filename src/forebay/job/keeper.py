"""Keep the rendezvous store of a run outside its ranks.

Asked:  where do ranks meet, when each of them may die?
Answer: in a small process of its own, with a fresh port for each attempt, so that no rank reads the addresses of an attempt
        that is over (that is why torchrun's restart on gloo never recovers: it keeps one store for all attempts).
Limits: the store listens on 127.0.0.1 only, without a password, as torch's stores do: other users of the machine can reach the
        port.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
from typing import Any


def listen() -> socket.socket:
    """A listening socket on a free port of this machine."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    return sock


def free_port() -> int:
    """A port that was free a moment ago. For programs that open their own store."""
    sock = listen()
    try:
        return int(sock.getsockname()[1])
    finally:
        sock.close()


def keep(sock: socket.socket) -> None:
    """Serve until killed."""
    port = sock.getsockname()[1]
    store = _store(sock.detach(), port)
    while store is not None:
        signal.pause()
    os._exit(1)


def _store(descriptor: int, port: int) -> Any:
    distributed: Any = importlib.import_module("torch.distributed")
    return distributed.TCPStore("127.0.0.1", port, None, True, wait_for_workers=False, master_listen_fd=descriptor)


def address(port: int, *, kept: bool) -> tuple[tuple[str, str], ...]:
    """The variables by which ranks find the store, as torchrun names them."""
    kept_text = "True" if kept else "False"  # "True": rank 0 is a client like the others and opens none of its own
    return (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", str(port)), ("TORCHELASTIC_USE_AGENT_STORE", kept_text))
