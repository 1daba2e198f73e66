"""The cloud's process: `python -m forebay.cloud.serve --data DIR --port N`.

Opens the journal, makes what a new cloud needs (its currency, an operator's key, the local centre's token), and serves the
API until SIGTERM. The operator's secret is written to DIR/operator.key and the local centre's to DIR/centre.token, readable
by the owner only; the journal has their hashes.

The journal is a file in DIR, or in the PostgreSQL that --database or FOREBAY_DATABASE names. A password belongs into the
variable, never on the command line, which every user of the machine can read.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from forebay import __version__
from forebay.cloud import cycles, logs
from forebay.cloud.access import sha256_of
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.pool import LOCAL_CENTRE
from forebay.cloud.core.tenant import Key, Role
from forebay.cloud.limits import Rate, Rates
from forebay.errors import BadInput, Conflict, ForebayError, Refused, Unavailable

if TYPE_CHECKING:
    from forebay.cloud.loop import Loop

log = logging.getLogger("forebay.cloud")
PATIENCE_S = 10.0  # with connections to the database that break while the journal is being opened


def main() -> None:
    asked = _arguments()
    logs.set_up(asked.log_format)
    try:
        serve(asked)
    except ForebayError as error:
        _give_up(error)
    except OSError as error:
        _give_up(Unavailable("The data folder can't be used.", asked=asked.data, found=error.strerror or str(error)))


def _give_up(error: ForebayError) -> NoReturn:
    """Say why on the last line, for `forebay up` to read, and leave."""
    json.dump({"error": error.to_json()}, sys.stderr)
    sys.stderr.write("\n")
    sys.exit(error.exit_code)


def serve(asked: argparse.Namespace) -> None:
    # Here and not above: the worker that reads programs imports this module once more, and needs no server and no SQL.
    import uvicorn

    from forebay.cloud.api.app import application
    from forebay.cloud.server import Connection
    from forebay.cloud.store import Store

    data = Path(asked.data)
    database = database_asked(asked.database)
    tls = bool(asked.tls_cert and asked.tls_key)
    refuse_open_door(asked.host, tls=tls, trusted_network=asked.trusted_network)
    os.umask(0o077)  # nothing that the cloud writes is for other users
    data.mkdir(parents=True, exist_ok=True)
    listening = listen(asked.host, asked.port)
    with cycles.none_sought():
        loop = opened(data, database, asked.currency)
    try:
        app = application(loop, Store(data), rates_of(asked), metrics_open=asked.metrics == "loopback")
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=Connection,
            log_config=None,  # ours
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            lifespan="on",
            ssl_certfile=asked.tls_cert if tls else None,
            ssl_keyfile=asked.tls_key if tls else None,
        )
        port = listening.getsockname()[1]
        draft = data / "address.draft"  # complete or absent: the agent and `forebay up` wait for it
        draft.write_text(f"{'https' if tls else 'http'}://{asked.host}:{port}\n")
        draft.rename(data / "address")
        for sign in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it once more at its end: we aren't through yet then
            signal.signal(sign, lambda *_: None)
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        loop.journal.close()


def opened(data: Path, database: str, currency: str) -> Loop:
    """The loop over the journal, with all that a new cloud needs. What a connection that breaks meanwhile leaves half done is
    done again: nothing of it is told to anybody before it is whole.
    """
    from forebay.cloud.journal import Journal
    from forebay.cloud.loop import Loop
    from forebay.cloud.postgres import was_lost

    until = time.monotonic() + PATIENCE_S
    while True:
        journal = None
        try:
            journal = Journal.open(data, database)
            loop = Loop(journal)
            begin(loop, data, currency)
            return loop
        except BaseException as error:
            if journal:
                journal.close()
            if not (isinstance(error, ForebayError) and was_lost(error) and time.monotonic() < until):
                raise
            log.warning("the connection to the database was lost at the start: once more")
            time.sleep(0.2)


def rates_of(asked: argparse.Namespace) -> Rates:
    """The limits, with as much at once as the defaults allow beside their rates."""
    usual = Rates()

    def like(rate: Rate, per_s: float) -> Rate:
        return Rate(per_s=per_s, burst=max(1.0, per_s * rate.burst / rate.per_s))

    return Rates(
        key=like(usual.key, asked.key_rate),
        agent=like(usual.agent, asked.agent_rate),
        stranger=like(usual.stranger, asked.stranger_rate),
        job=like(usual.job, asked.job_rate),
    )


def database_asked(option: str) -> str:
    """The address of the journal's PostgreSQL, or "". What the process starts later doesn't inherit it."""
    from forebay.cloud.address import of_command

    return of_command(option, os.environ.pop("FOREBAY_DATABASE", ""))


def refuse_open_door(host: str, *, tls: bool, trusted_network: bool) -> None:
    """Beyond this machine, keys must not travel in the clear."""
    if host in ("127.0.0.1", "::1", "localhost") or tls or trusted_network:
        return
    raise Refused(
        "Beyond this machine the cloud listens only with TLS.",
        asked=f"--host {host}",
        found="no certificate",
        hint="--tls-cert FILE --tls-key FILE; or --trusted-network if something in front of it encrypts",
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes a free one. Conflict when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        if isinstance(error, socket.gaierror):
            raise BadInput("There is no such address on this machine.", asked=host, found=str(error)) from error
        raise Conflict(
            f"Port {port} can't be opened.",
            asked=f"{host}:{port}",
            found=os.strerror(error.errno or 0),
            hint="another --port, or 0 for any",
        ) from error
    return listening


def begin(loop: Loop, data: Path, currency: str) -> None:
    """Give a new cloud its first events. A second start finds them in the journal and makes nothing."""
    now_ns = loop.clock.now_ns()
    if loop.state.t.currency:
        _complete(loop, now_ns)
        return
    operator, token = "fb_" + secrets.token_urlsafe(24), "fc_" + secrets.token_urlsafe(24)
    facts = [
        e.CloudMade(at_ns=now_ns, by="forebay", currency=currency, version=__version__),
        e.KeyMade(
            at_ns=now_ns,
            by="forebay",
            key=Key(id="k-operator", secret_sha256=sha256_of(operator), role=Role.OPERATOR, name="made by `forebay up`"),
        ),
        e.CentreMade(at_ns=now_ns, by="forebay", name=LOCAL_CENTRE, token_sha256=sha256_of(token)),
        e.CentreJoined(at_ns=now_ns, by="forebay", centre=LOCAL_CENTRE, key_sha256=sha256_of(token), version=__version__),
    ]
    # The secrets first: a cloud whose journal knows a key that nobody has could never be used.
    write_secret(data / "operator.key", operator)
    write_secret(data / "centre.token", token)
    for fact in facts:
        decide(loop.state, fact)
    loop.journal.append(facts, loop.state)


def _complete(loop: Loop, now_ns: int) -> None:
    """In a journal from before centres joined, the local centre's token is its key."""
    local = loop.state.t.centres.get(LOCAL_CENTRE)
    if local is None or local.key_sha256 or local.revoked:
        return
    joined = e.CentreJoined(at_ns=now_ns, by="forebay", centre=LOCAL_CENTRE, key_sha256=local.token_sha256)
    loop.state.fold(joined)  # what follows is decided by the first tick
    loop.journal.append([joined], loop.state)


def write_secret(path: Path, secret: str) -> None:
    """A file that only its owner can read, complete or absent."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.cloud.serve", description="The cloud's process. `forebay up` starts it."
    )
    parser.add_argument("--data", required=True, help="data folder: journal, code, logs")
    parser.add_argument("--database", default="", help="the journal's PostgreSQL, without a password; or FOREBAY_DATABASE")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--currency", default="CNY")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--trusted-network", action="store_true")
    parser.add_argument("--log-format", choices=["text", "json"], default="text", help="json: an object a line, with run ids")
    parser.add_argument(
        "--metrics", choices=["key", "loopback"], default="key", help="/metrics with an operator's key, or from here without"
    )
    defaults, help_s = Rates(), "requests a second of %s; 0: no limit"
    parser.add_argument("--key-rate", type=float, default=defaults.key.per_s, help=help_s % "a key")
    parser.add_argument("--agent-rate", type=float, default=defaults.agent.per_s, help=help_s % "a centre's agent")
    parser.add_argument(
        "--stranger-rate", type=float, default=defaults.stranger.per_s, help=help_s % "an address without a good key"
    )
    parser.add_argument(
        "--job-rate", type=float, default=defaults.job.per_s, help="jobs a second that a key submits, alone or in batches"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
