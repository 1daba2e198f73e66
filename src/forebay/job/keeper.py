"""Keep the rendezvous store of a run outside its ranks.

Asked:  where do ranks meet, when each of them may die?
Answer: in a small process of its own, with a fresh port for each attempt, so that no rank reads the addresses of an attempt
        that is over (that is why torchrun's restart on gloo never recovers: it keeps one store for all attempts).
Limits: the store has no password, as torch's stores have none. A run on one machine has it on 127.0.0.1, where other users of
        the machine can reach it; a run over several has it on the address by which its machines know the first of them.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
from typing import Any


def listen(address: str) -> socket.socket:
    """A listening socket on a free port of this machine. An address that is none of the machine's own (it stands behind a
    translation) is taken as all of them.
    """
    family, kind, proto, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.bind(where)
    except OSError:
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
    sock.listen(512)
    return sock


def free_port(address: str) -> int:
    """A port that was free a moment ago. For programs that open their own store."""
    sock = listen(address)
    try:
        return int(sock.getsockname()[1])
    finally:
        sock.close()


def keep(sock: socket.socket) -> None:
    """Serve until killed."""
    address, port = sock.getsockname()[:2]
    store = _store(sock.detach(), {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address), port)
    while store is not None:
        signal.pause()
    os._exit(1)


def _store(descriptor: int, address: str, port: int) -> Any:
    distributed: Any = importlib.import_module("torch.distributed")
    return distributed.TCPStore(address, port, None, True, wait_for_workers=False, master_listen_fd=descriptor)


def variables(address: str, port: int, *, kept: bool) -> tuple[tuple[str, str], ...]:
    """The variables by which ranks find the store, as torchrun names them."""
    kept_text = "True" if kept else "False"  # "True": rank 0 is a client like the others and opens none of its own
    return (("MASTER_ADDR", address), ("MASTER_PORT", str(port)), ("TORCHELASTIC_USE_AGENT_STORE", kept_text))
