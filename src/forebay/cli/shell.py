"""`forebay shell`: a shell or Jupyter on cards of the pool."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.cli import out, reach, shell_jupyter, terminal
from forebay.errors import BadInput, ForebayError, Refused, RunFailed, Unavailable
from forebay.units import parse_seconds

app = typer.Typer(add_completion=False)

FOLDER = ".forebay"  # in the job's working folder: the door's own files
_START = """#!/bin/sh
# What a job of `forebay shell` starts: the door, with the environment's own Python.
exec "$(command -v python3 || command -v python)" "$(dirname "$0")/forebay/job/door.py" "$@"
"""
_TORCH = """# A line for the centre, which looks for it: what starts here may import torch, so CUDA's words are carried for it.
import torch
"""
OVER_S = 60.0  # for a job whose door was told to close
INSISTS_S = 60.0  # on a cloud that doesn't answer when a job must be ended


@app.command(context_settings={"ignore_unknown_options": True})
def shell(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB] [-- COMMAND]",
            help="A job that `forebay shell --keep` left, to connect again; a command instead of a shell.",
            show_default=False,
        ),
    ] = None,
    cards: Annotated[str, typer.Option(help="How many cards: a number, or several to choose from, best first: 8,4.")] = "1",
    chip: Annotated[str, typer.Option(help="Chips to choose from, best first. Default: any real one.")] = "",
    code: Annotated[Path | None, typer.Option(help="A folder of code that the shell starts in.")] = None,
    requirements: Annotated[
        str | None, typer.Option(help="requirements.txt, or a folder of wheels, inside the code folder.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE for the shell; NAME alone takes yours.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="DATASET[:FOLDER]: mount it there in the working folder. Default: data/DATASET.")
    ] = None,
    idle: Annotated[str, typer.Option(help="End it when no byte has passed for so long, in either direction; 0: never.")] = "30m",
    time_limit: Annotated[str | None, typer.Option(help="End it after 90m, 12h… in any case.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the job running, and its cards held, when you leave.")] = False,
    jupyter: Annotated[bool, typer.Option("--jupyter", help="Jupyter instead of a shell, on a port of this machine.")] = False,
    port: Annotated[
        int | None, typer.Option(help="That port. Default: 8888, or a free one.", min=1, max=65535, show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="A name for the job.")] = "shell",
    project: Annotated[str | None, typer.Option(help="ORGANISATION/PROJECT, if the key doesn't say it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Start the job, print it as JSON and leave it running.")] = False,
) -> None:
    """Open a shell or Jupyter on cards of the pool.

    It is a job like any other: queued, placed and billed by the second until you leave. Type ~. at the beginning of a line to
    leave a shell that doesn't answer. Where standard input is no terminal it is piped: echo nvidia-smi | forebay shell
    """
    job, command = _split(words or [])
    _check(command, code, requirements, jupyter=jupyter, port=port)
    idle_s = parse_seconds(idle)
    with reach.client() as cloud, _sign_offs():
        _refuse_operators(cloud)
        ends_it = job is None and not keep and not as_json
        try:
            if job is None:
                job = _submit(cloud, cards, chip, code, requirements, env, data, idle_s, time_limit, name, project)
                note(f"job {job}")
            if as_json:
                out.as_json(cloud.job(job))
                return
            _await(cloud, job)
            if jupyter:
                code_ = shell_jupyter.jupyter(cloud, job, port, note, ends_it=ends_it)
            else:
                code_ = _shell(cloud, job, command, ends_it=ends_it)
        except KeyboardInterrupt:
            code_ = 130
        finally:
            if job is not None and not as_json:
                _part(cloud, job, ends_it=ends_it)
    raise typer.Exit(code_)


def note(text: str) -> None:
    """A line for people, beside what the shell prints. The terminal may be raw."""
    with contextlib.suppress(OSError):
        os.write(2, f"[forebay] {text}\r\n".encode() if sys.stderr.isatty() else f"[forebay] {text}\n".encode())


# The job.


def _submit(
    cloud: Any,
    cards: str,
    chip: str,
    code: Path | None,
    requirements: str | None,
    env: list[str] | None,
    data: list[str] | None,
    idle_s: float,
    time_limit: str | None,
    name: str,
    project: str | None,
) -> str:
    from forebay.cli.run import counts, mount, variables

    with tempfile.TemporaryDirectory(prefix="forebay-shell-") as folder:
        made = Path(folder)
        (made / "empty").mkdir()
        (made / "door.sh").write_text(_START)
        (made / "may_import_torch.py").write_text(_TORCH)
        job = cloud.run(
            code or made / "empty",
            [f"{idle_s:g}"],
            entry=f"{FOLDER}/door.sh",
            along=door_files(made),
            cards=counts(cards),
            chips=[part for part in chip.split(",") if part],
            name=name,
            env=variables(env or []),
            data=dict(mount(item, "data/") for item in data or []),
            requirements=requirements,
            time_limit=time_limit,
            retries=0,
            project=project,
        )
    return str(job["id"])


def door_files(made: Path) -> dict[str, Path]:
    """What has to lie in the job for its door to open, by name: our own source, and what was made for it."""
    import forebay

    source = Path(forebay.__file__).parent
    names = ("__init__", "job/__init__", *(f"job/{name}" for name in ("door", "conversation", "rooms", "jupyter", "talk")))
    return {
        f"{FOLDER}/door.sh": made / "door.sh",
        f"{FOLDER}/may_import_torch.py": made / "may_import_torch.py",
        **{f"{FOLDER}/forebay/{name}.py": source / f"{name}.py" for name in names},
    }


def _await(cloud: Any, job: str) -> None:
    """Until the job runs. Says what it waits for."""
    from forebay.cli.run_follow import tell_why

    over = threading.Event()
    threading.Thread(target=tell_why, args=(cloud, job, over, note), daemon=True).start()
    try:
        for kind, event in cloud.events(job, follow=True):
            if kind == "story" and event["kind"] == "Started":
                return
            if kind == "story" and event["kind"] != "Submitted":
                note(event["text"])
            if kind == "end":
                raise RunFailed(f"The job {event['phase']}.", asked=job, found=event["reason"], hint=f"forebay logs {job}")
    finally:
        over.set()


def _insisted(ask: Callable[[], Any]) -> Any:
    """What is asked of a cloud that may be away for a moment: whoever leaves must not leave a job behind for that."""
    until_s, told = time.monotonic() + INSISTS_S, False
    while True:
        try:
            return ask()
        except Unavailable as error:
            if time.monotonic() > until_s:
                raise
            if not told:
                note(f"{error.text} I go on asking it to end the job for {INSISTS_S:.0f} s; Ctrl-C gives up")
            told = True


def _part(cloud: Any, job: str, *, ends_it: bool) -> None:
    """See to what becomes of the job, and say it."""
    try:
        if ends_it:
            _end(cloud, job)
        elif not cloud.job(job)["ended_at_ns"]:
            note(f"the job goes on, and its cards are held: forebay shell {job} connects again, forebay cancel {job} ends it")
    except ForebayError as error:
        note(f"{error.text} So the job may go on until its idle time is over; forebay cancel {job} ends it")


def _end(cloud: Any, job: str) -> None:
    """See to it that the job is over. Its door closes by itself once it has heard that we left; else it is cancelled."""
    over = _insisted(lambda: cloud.job(job))
    with contextlib.suppress(ForebayError):
        over = cloud.wait(job, timeout_s=OVER_S if over["phase"] == "running" else 0.1)
    if not over["ended_at_ns"]:
        _insisted(lambda: cloud.cancel(job))
        note(f"job {job} is cancelled")
        return
    note(f"job {job} is over: {over['phase']}; forebay bill --job {job} says what it cost")


# Who may, and what makes no sense.


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """The job that is named, and the command behind the dashes."""
    behind = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    ours = words[: max(0, len(words) - len(behind))]
    if len(ours) > 1 or any(word.startswith("-") for word in ours):
        raise BadInput(
            "One job can be named; a command comes after `--`.",
            asked=" ".join(ours),
            hint="forebay shell [options] [JOB] -- COMMAND",
        )
    return (ours[0] if ours else None), behind


def _check(command: list[str], code: Path | None, requirements: str | None, *, jupyter: bool, port: int | None) -> None:
    if jupyter and command:
        raise BadInput("Jupyter takes no command.", asked=" ".join(command), hint="leave out --jupyter, or the command")
    if port is not None and not jupyter:
        raise BadInput("A port is Jupyter's.", asked=f"--port {port}", hint="add --jupyter")
    if requirements is not None and code is None:
        raise BadInput("Requirements lie in a folder of code.", asked=f"--requirements {requirements}", hint="--code FOLDER")
    if code is not None and not code.is_dir():
        raise BadInput("There is no such folder.", asked=f"--code {code}", hint="the folder that the shell starts in")


def _refuse_operators(cloud: Any) -> None:
    if cloud.me()["role"] == "operator":
        raise Refused(
            "Only members of an organisation open shells.",
            found="an operator's key",
            hint="forebay key make ORGANISATION/PROJECT --use",
        )


# A shell.


def _shell(cloud: Any, job: str, command: list[str], *, ends_it: bool) -> int:
    from forebay.visitor import Visit

    opening: dict[str, Any] = {"what": "shell", "argv": command, "last": ends_it}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    window = terminal.size()
    if is_terminal:
        opening.update(terminal=True, term=os.environ.get("TERM", "xterm"), **window)
    gone = threading.Event()  # whoever read what we print

    def hear(kind: bytes, body: bytes) -> None:
        try:
            terminal.show(kind, body)
        except BrokenPipeError:
            gone.set()
            os.write(wake, b"!")

    visit = Visit(cloud, job, opening, hear, notice=note, over=lambda: _wake(wake))
    try:
        with terminal.raw(wake) if is_terminal else contextlib.nullcontext():
            escape = terminal.Escape() if is_terminal else None
            for typed in terminal.typed(woken, lambda: visit.is_over or gone.is_set(), window):
                if typed is None:
                    terminal.tell_size(visit)
                    continue
                plain, leaving = escape.feed(typed) if escape else (typed, False)
                terminal.send(visit, plain, end=not typed)
                if leaving:
                    visit.leave(quit=ends_it)
                    break
    finally:
        visit.leave(quit=ends_it)
    return terminal.told(visit, note)


def _wake(wake: int) -> None:
    with contextlib.suppress(OSError):
        os.write(wake, b"!")


@contextlib.contextmanager
def _sign_offs() -> Iterator[None]:
    """A terminal window that is closed, or a kill, ends us as leaving does: the terminal is restored and the job ends."""
    before = {}

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for sign in (signal.SIGTERM, signal.SIGHUP):
        before[sign] = signal.signal(sign, leave)
    try:
        yield
    finally:
        for sign, old in before.items():
            signal.signal(sign, old)
