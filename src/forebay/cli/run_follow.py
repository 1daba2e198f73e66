"""Follow a job at a terminal: what happens to it, why it waits, and what it prints."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import typer

from forebay.cli import out
from forebay.cli.why_words import words
from forebay.errors import ForebayError, RunFailed

LONGEST_PAUSE_S = 60.0  # between two looks at why it waits


def follow(cloud: Any, job: str) -> None:
    """Print what happens and what is printed until the job is over. Interrupting leaves the job alone."""
    over = threading.Event()
    try:
        events = threading.Thread(target=_tell_events, args=(cloud, job), daemon=True)
        events.start()
        threading.Thread(target=tell_why, args=(cloud, job, over, _aside), daemon=True).start()
        for line in cloud.logs(job, follow=True):
            print_line(line)
        events.join(5.0)
        over.set()
    except KeyboardInterrupt:
        out.console.print(f"\nThe job goes on. forebay logs -f {job} follows it, forebay cancel {job} ends it.")
        raise typer.Exit(130) from None
    ended = cloud.job(job)
    if ended["phase"] != "succeeded":
        raise RunFailed(
            f"The job {ended['phase']}.", asked=job, found=ended["reason"], hint=f"forebay story {job}; forebay logs {job}"
        )


def print_line(line: dict[str, Any]) -> None:
    mark = f"[{line['rank']}]" if line["rank"] >= 0 else "[forebay]"
    out.console.print(f"{mark} {line['text']}", markup=False, soft_wrap=True)


def _tell_events(cloud: Any, job: str) -> None:
    with contextlib.suppress(ForebayError):  # whoever follows the log says that the cloud is gone
        for kind, event in cloud.events(job, follow=True):
            if kind == "story":
                _aside(event["text"])


def _aside(text: str) -> None:
    out.console.print(f"· {text}", style="dim", markup=False, soft_wrap=True)


def tell_why(cloud: Any, job: str, over: threading.Event, say: Callable[[str], None]) -> None:
    """While it waits, say what for and how long: at first, and then when that is another, looking ever more seldom."""
    told, pause_s = "", 1.0
    while not over.wait(pause_s):
        pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)
        with contextlib.suppress(ForebayError):
            why = cloud.job(job)["why"]
            line = words(why) if why else ""
            if line and line != told and not over.is_set():
                say(line)
            told = line
