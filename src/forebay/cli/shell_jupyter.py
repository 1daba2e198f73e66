"""The Jupyter of `forebay shell --jupyter`: a port of this machine that leads to the one in the job."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from forebay import visitor
from forebay.cli import out, terminal
from forebay.errors import Conflict


def jupyter(cloud: Any, job: str, port: int | None, note: Callable[[str], None], *, ends_it: bool) -> int:
    ready: dict[str, Any] = {}
    changed = threading.Event()

    def hear(kind: bytes, body: bytes) -> None:
        ready.update(terminal.about(kind, body))
        changed.set()

    visit = visitor.Visit(cloud, job, {"what": "jupyter", "last": ends_it}, hear, notice=note, over=changed.set)
    try:
        note("Jupyter is being started")
        changed.wait()
        if ready:
            with _listen(port) as listening:
                here = listening.getsockname()[1]
                out.console.print(f"http://127.0.0.1:{here}/{ready['page']}?token={ready['token']}", soft_wrap=True)
                note(f"{ready['program']} runs; Ctrl-C leaves" + (" and ends the job" if ends_it else ""))
                visitor.forward(cloud, job, listening, int(ready["port"]), lambda: visit.is_over)
    except KeyboardInterrupt:
        pass
    finally:
        visit.leave(quit=ends_it)
    return terminal.told(visit, note)


def _listen(port: int | None) -> Any:
    for wanted in [port] if port is not None else [8888, 0]:
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", wanted))
    raise Conflict(f"Port {port} can't be opened on this machine.", asked=f"--port {port}", hint="another --port, or none")
