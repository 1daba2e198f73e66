"""What the supervisor and the parent of the ranks say to each other.

Asked:  how does a supervisor, which never imports torch, start ranks in a process that has imported it?
Answer: over a socket of packets, one JSON text a packet. File descriptors of a rank's pipes ride on its packet.

    supervisor -> parent    {"say": "check", ...}     look at the cards first; what `check.look` is asked
                            {"say": "begin", ...}     what all ranks share; the fields of `Begin`
                            {"say": "rank", ...}      one a rank, with its stdout and stderr; the fields of `Rank`
                            {"say": "signal", "number": 15}
    parent -> supervisor    {"say": "ready", "executable", "prefixes", "path", "version", "carrier", "why"}
                            {"say": "meeting", "port": 29500}         where the ranks of all shares meet
                            {"say": "started", "pids": [...]}
                            {"say": "checked", ...}                   what `check.look` found
                            {"say": "refused", "reason": "..."}
                            {"say": "exit", "rank": 0, "code": 0}     negative: the signal

Limits: a packet is at most what the kernel's send buffer takes (about 200 kB); more is refused with the number.
"""

from __future__ import annotations

import array
import json
import os
import socket
from dataclasses import dataclass, fields
from typing import Any, TypeVar

PACKET = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class Begin:
    """What the ranks of one run share. It says how to start them, never for whom."""

    ranks: int
    start: str  # "fork": out of this process, which has torch; "fresh": a new Python with our opening; "exec": argv as it is
    work: str  # the folder they start in
    entry: str  # script, relative to work; for "exec" unused
    argv: list[str]  # of the script; for "exec" the whole command
    python: str  # the interpreter that the script and its children see as sys.executable
    env: dict[str, str]
    store: bool  # keep a rendezvous store outside the ranks
    view: dict[str, Any]  # see confine.enter; empty: the machine as it is
    address: str = "127.0.0.1"  # where the ranks meet: the machine of rank 0
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    port: int | None = None  # of the rendezvous, if it is kept by another share; None: it is opened here
    packages: str | None = None  # the tenant's own site-packages, laid over the base's


@dataclass(frozen=True)
class Rank:
    """One rank's own part."""

    rank: int
    env: dict[str, str]
    cores: list[int]  # bound to these; empty: not bound
    threads: int
    cards: int  # how many cards the script sees


def read(cls: type[T], packet: dict[str, Any]) -> T:
    """The noun in a packet."""
    return cls(**{field.name: packet[field.name] for field in fields(cls) if field.name in packet})  # type: ignore[arg-type]


def send(sock: socket.socket, packet: dict[str, Any]) -> None:
    sock.send(json.dumps(packet).encode())


def receive(sock: socket.socket, descriptors: int = 0) -> tuple[dict[str, Any] | None, list[int]]:
    """The next packet and the descriptors on it; None when the other side has gone."""
    size = array.array("i").itemsize
    try:
        body, ancillary, _, _ = sock.recvmsg(PACKET, socket.CMSG_LEN(descriptors * size) if descriptors else 0)
    except ConnectionResetError:
        return None, []
    received = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % size])
    for descriptor in received:
        os.set_inheritable(descriptor, False)
    return (json.loads(body) if body else None), list(received)
