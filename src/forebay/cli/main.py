"""The command `forebay`. Each verb is a file beside this one and is imported only when it is used.

`forebay --help` therefore costs little more than Typer itself (benchmarks/cli_start.py), and a verb's file can import what it
needs. A verb's file holds `app`, a Typer application: with one command for a plain verb, or with several ("org make").
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

# Verb -> what it does, in the order of a newcomer's first day. A test keeps these lines equal to the verbs' own help.
VERBS: dict[str, str] = {
    "demo": "Show the whole journey on this machine, from a CUDA script to its bill.",
    "doctor": "Say what this machine has for Forebay, and what is missing.",
    "up": "Start a cloud and a local centre on this machine.",
    "down": "Stop what `up` started.",
    "port": "Say what a CUDA-written script or project needs from a chip, and which chips can run it.",
    "run": "Run a script on cards of the pool.",
    "shell": "Open a shell or Jupyter on cards of the pool.",
    "wheels": "Collect the wheels of a requirements.txt in a folder, for a centre without internet.",
    "jobs": "List jobs, newest first.",
    "show": "Show one job: state, runs, progress, what it left.",
    "logs": "Print what a job printed; -f follows.",
    "story": "Tell a job's or run's whole life: each event, who caused it, the numbers behind it.",
    "fetch": "Bring what a job left, from whichever centre it ran at.",
    "cancel": "Cancel a job.",
    "chips": "List the chips of the catalogue, or explain one.",
    "plan": "Plan how a model is cut over cards: time, memory and cost of the best ways.",
    "fabric": "Draw, count, price, time, break and choose the wiring of thousands of cards.",
    "pool": "Show centres, nodes and cards: free, busy, out of use; how long jobs wait.",
    "centre": "Make, list and revoke centres; join one.",
    "data": "Make and list data sets.",
    "org": "Make, list and set organisations and their projects.",
    "member": "Add, list, change and remove members of an organisation.",
    "key": "Make, list and revoke keys.",
    "price": "Set and list prices per card-second.",
    "quota": "Set and list how many cards an organisation is guaranteed, and may borrow.",
    "replay": "Replay a trace of jobs through the scheduler in simulated time, beside others.",
    "budget": "Set, list and lift what organisations and projects may spend.",
    "backup": "Keep a whole cloud in one file while it works; on the cloud's machine.",
    "restore": "Make a cloud again out of a backup, all of it or nothing.",
    "bill": "Show what was used and what it costs.",
    "audit": "Tell who did what, and when: the journal, newest last.",
}


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)  # and no fault of ours


class LazyVerbs(TyperGroup):
    """A group whose members are files of this folder."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in VERBS:
            return None
        if _only_listing():
            return TyperCommand(name, help=VERBS[name], short_help=VERBS[name])
        command = typer.main.get_command(import_module(f"forebay.cli.{name}").app)
        command.name = name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0] if args else ""
        if word and not word.startswith("-") and word not in VERBS:
            from forebay.errors import BadInput, nearest

            hint = " or ".join(f"forebay {verb}" for verb in nearest(word, list(VERBS))) or "forebay --help"
            raise BadInput("There is no such command.", asked=f"forebay {word}", hint=hint)
        return super().resolve_command(ctx, args)


def _only_listing() -> bool:
    """True while `forebay --help` (or no argument at all) wants one line a verb and no verb's own options."""
    return not [word for word in sys.argv[1:] if not word.startswith("-")] and "_FOREBAY_COMPLETE" not in os.environ


app = typer.Typer(
    cls=LazyVerbs,
    no_args_is_help=True,
    rich_markup_mode=None,  # the list of verbs reads as well without boxes, and Rich's drawing costs more than all the rest
    pretty_exceptions_enable=False,
    help="Forebay pools AI chips of any vendor and runs on them what was written for CUDA.",
    epilog="First time here? `forebay demo` shows everything in a few minutes.",
)


def _tell_version(asked: bool) -> None:
    if asked:
        from forebay import __version__

        typer.echo(f"forebay {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True, callback=_tell_version),
) -> None:
    pass


def main() -> NoReturn:
    """Run the command; a ForebayError becomes one clear message and its exit code."""
    from forebay.errors import ForebayError

    try:
        app()
    except ForebayError as error:
        from forebay.cli import out

        out.error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `forebay jobs | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        from forebay.cli import out
        from forebay.errors import Unavailable

        out.error(Unavailable("A file can't be used.", asked=str(error.filename or ""), found=error.strerror or ""))
        sys.exit(Unavailable.exit_code)
    sys.exit(0)
