"""The agent's part in tunnels: it carries bytes between the doors of runs and the cloud.

Asked:  how does somebody outside reach a run at a centre that only dials out?
Answer: the cloud's list of what is wanted names the tunnels too. For each, two threads: one asks the cloud for bytes and gives
        them to the run's door, one reads the door and sends what comes to the cloud. They understand nothing of it. A broken
        link is waited for; a door that hangs up closes the tunnel.
Limits: while there is no tunnel there is no thread and no connection. An agent that dies takes its tunnels along; the door keeps
        the conversations, and their visitors come again over new ones.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Mapping

from forebay.centre.link import Link
from forebay.centre.spec import Engine, Handle
from forebay.errors import ForebayError, Unavailable
from forebay.units import KIB

log = logging.getLogger("forebay.agent")

PATIENCE_S = 20.0  # with a door that isn't open yet: its run has just been started
KNOCK_S = 0.05
LONGEST_PAUSE_S = 2.0
CONNECTIONS = 1000
_CHUNK = 64 * KIB


class Tunnels:
    def __init__(self, engine: Engine, link: Link) -> None:
        self._engine = engine
        self._link = link
        self._own: Link | None = None  # with connections of its own: tunnels hold many, and must not keep others waiting
        self._life = secrets.token_hex(8)  # the cloud tells by it that another agent has come, who knows nothing of our bytes
        self._lines: dict[str, socket.socket | None] = {}  # None: not dialled yet
        self._guard = threading.Lock()

    def serve(self, wanted: Mapping[str, str], handles: Mapping[str, Handle]) -> None:
        """Begin to carry the tunnels that are new, and hang up where one isn't wanted any more. Never waits."""
        if not wanted and not self._lines:
            return
        self._own = self._own or self._link.twin(CONNECTIONS)
        for tunnel, run in wanted.items():
            if tunnel not in self._lines and run in handles:
                self._lines[tunnel] = None
                threading.Thread(target=self._carry, args=(self._own, tunnel, handles[run]), name=tunnel, daemon=True).start()
        with self._guard:
            for tunnel in [known for known in self._lines if known not in wanted]:
                _hang_up(self._lines.pop(tunnel))

    def _carry(self, link: Link, tunnel: str, handle: Handle) -> None:
        try:
            line = self._dial(tunnel, handle)
        except (ForebayError, OSError) as error:
            self._close(link, tunnel, str(error).replace("\n", " "))
            return
        with self._guard:
            if tunnel not in self._lines:  # closed while we knocked
                line.close()
                return
            self._lines[tunnel] = line
        other = threading.Thread(target=self._carry_up, args=(link, tunnel, line), name=f"{tunnel} up", daemon=True)
        other.start()
        why = self._carry_down(link, tunnel, line)
        _hang_up(line)
        self._close(link, tunnel, why)
        other.join()
        line.close()

    def _dial(self, tunnel: str, handle: Handle) -> socket.socket:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._engine.dial(handle)
            except Unavailable:
                if time.monotonic() > until or tunnel not in self._lines:
                    raise
            time.sleep(KNOCK_S)

    def _carry_up(self, link: Link, tunnel: str, line: socket.socket) -> None:
        """From the cloud to the door, until the tunnel is closed or the door hangs up."""
        offset, pause_s = 0, KNOCK_S
        try:
            while tunnel in self._lines:
                try:
                    body, closed = link.read_tunnel(tunnel, self._life, offset)
                except Unavailable:
                    time.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                    continue
                pause_s = KNOCK_S
                line.sendall(body)
                offset += len(body)
                if closed:
                    return
        except (ForebayError, OSError) as error:
            log.info("tunnel %s: %s", tunnel, str(error).replace("\n", " "))
        finally:
            _hang_up(line)

    def _carry_down(self, link: Link, tunnel: str, line: socket.socket) -> str:
        """From the door to the cloud. Returns why it ended."""
        offset, pause_s = 0, KNOCK_S
        while True:
            try:
                body = line.recv(_CHUNK)
            except OSError:
                body = b""
            if not body:
                return "the door hung up"
            while body:
                try:
                    end, closed = link.write_tunnel(tunnel, self._life, offset, body)
                except Unavailable as error:
                    if tunnel not in self._lines:
                        return error.text
                    time.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                    continue
                except ForebayError as error:
                    return error.text
                if closed:
                    return closed
                body, offset, pause_s = body[end - offset :], end, KNOCK_S

    def _close(self, link: Link, tunnel: str, why: str) -> None:
        """Say that the tunnel leads nowhere. It stays known until the cloud wants it no more, so that it isn't begun again."""
        with contextlib.suppress(ForebayError):
            link.close_tunnel(tunnel, self._life, why[:200])


def _hang_up(line: socket.socket | None) -> None:
    """Wake whoever reads or writes it; the thread that dialled closes it."""
    if line is not None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
