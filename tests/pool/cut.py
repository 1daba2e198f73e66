"""A wire that can be cut: a TCP proxy between an agent and its cloud."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wire:
    """Listens on a port of this machine and passes bytes on to another. `cut` breaks what is open and refuses what comes."""

    def __init__(self, to: str) -> None:
        """`to`: "127.0.0.1:7373"."""
        host, _, port = to.rpartition(":")
        self._to = (host, int(port))
        self._whole = True
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def cut(self) -> None:
        with self._guard:
            self._whole = False
            for line in self._open:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            try:
                far = socket.create_connection(self._to, 5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self._guard:
                self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while body := one.recv(65536):
                other.sendall(body)
        for line in (one, other):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        with self._guard:
            self._open.discard(one)
        one.close()
