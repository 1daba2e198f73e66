"""`forebay run`: run a script on cards of the pool."""

from __future__ import annotations

import ast
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.cli import out, reach
from forebay.errors import BadInput, BadScript, ForebayError, RunFailed, nearest

app = typer.Typer(add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True})
def run(
    code: Annotated[
        str, typer.Argument(help="The script, or the folder of code that holds it (then say --entry).", show_default=False)
    ],
    argv: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGS…", help="Everything after -- is the script's own.", show_default=False)
    ] = None,
    cards: Annotated[str, typer.Option(help="How many cards: a number, or several to choose from, best first: 8,4.")] = "1",
    chip: Annotated[
        str, typer.Option(help="Chips to choose from, best first: ascend-910b,h100-sxm. Default: any that can run it.")
    ] = "",
    entry: Annotated[str | None, typer.Option(help="The script inside the folder.")] = None,
    name: Annotated[str, typer.Option(help="A name for the job.")] = "",
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE for the script; NAME alone takes yours.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="DATASET[:FOLDER]: mount it there in the working folder. Default: data/DATASET.")
    ] = None,
    input_: Annotated[
        list[str] | None, typer.Option("--input", help="JOB[:FOLDER]: what that job left, mounted to read. Default: input.")
    ] = None,
    output: Annotated[str, typer.Option(help="The folder whose content is kept, and found again by the next attempt.")] = "out",
    requirements: Annotated[
        str | None, typer.Option(help="requirements.txt, or a folder of wheels, inside the code folder.")
    ] = None,
    takes: Annotated[
        str, typer.Option(help="How long it takes on which chip: ascend-910b=10m,h100-sxm:8=4m. It goes where it ends first.")
    ] = "",
    time_limit: Annotated[str | None, typer.Option(help="Stop it after 90s, 30m, 12h…")] = None,
    retries: Annotated[
        int, typer.Option(help="Attempts after the first, if it is killed or fails after a checkpoint.", min=0, max=100)
    ] = 3,
    grace: Annotated[str, typer.Option(help="Time between SIGTERM and SIGKILL when it is stopped.")] = "10s",
    project: Annotated[str | None, typer.Option(help="ORGANISATION/PROJECT; only an operator must say it.")] = None,
    limit: Annotated[str, typer.Option(help="Largest code archive to send.")] = "256MiB",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once instead of following.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the job as JSON; follows nothing.")] = False,
) -> None:
    """Run a script on cards of the pool.

    The script is started once a card, with what torchrun would set. It runs unchanged: what it was written for CUDA is carried
    by Forebay's shim on other chips. What it saves under the output folder is kept. Example:

    forebay run --cards 2 --data stdlib:data train_gpt.py -- --steps 200
    """
    words = list(argv or [])
    _need_dashes(words)
    source = Path(code)
    entry = _check_code(source, entry)
    with reach.client() as cloud:
        job = cloud.run(
            source,
            words,
            entry=entry,
            cards=counts(cards),
            chips=[part for part in chip.split(",") if part],
            name=name,
            env=variables(env or []),
            data=dict(mount(item, "data/") for item in data or []),
            inputs=dict(mount(item, "input") for item in input_ or []),
            output=output,
            requirements=requirements,
            takes=_takes(takes),
            time_limit=time_limit,
            retries=retries,
            grace_s=_seconds(grace),
            project=project,
            limit=limit,
        )
        if as_json:
            out.as_json(job)
            return
        out.console.print(f"job {job['id']}")
        if not detach:
            follow(cloud, job["id"])


def follow(cloud: Any, job: str) -> None:
    """Print what happens and what is printed until the job is over. Interrupting leaves the job alone."""
    try:
        events = threading.Thread(target=_tell_events, args=(cloud, job), daemon=True)
        events.start()
        for line in cloud.logs(job, follow=True):
            print_line(line)
        events.join(5.0)
    except KeyboardInterrupt:
        out.console.print(f"\nThe job goes on. forebay logs -f {job} follows it, forebay cancel {job} ends it.")
        raise typer.Exit(130) from None
    over = cloud.job(job)
    if over["phase"] != "succeeded":
        raise RunFailed(
            f"The job {over['phase']}.", asked=job, found=over["reason"], hint=f"forebay story {job}; forebay logs {job}"
        )


def print_line(line: dict[str, Any]) -> None:
    mark = f"[{line['rank']}]" if line["rank"] >= 0 else "[forebay]"
    out.console.print(f"{mark} {line['text']}", markup=False, soft_wrap=True)


def _tell_events(cloud: Any, job: str) -> None:
    with contextlib.suppress(ForebayError):  # whoever follows the log says that the cloud is gone
        for kind, event in cloud.events(job, follow=True):
            if kind == "story":
                out.console.print(f"· {event['text']}", style="dim", markup=False, soft_wrap=True)


def _need_dashes(words: list[str]) -> None:
    behind = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    words = words[: max(0, len(words) - len(behind))]  # those before the dashes: a mistyped option of ours, most likely
    if words:
        ours = [
            "--cards",
            "--chip",
            "--entry",
            "--name",
            "--env",
            "--data",
            "--input",
            "--output",
            "--requirements",
            "--takes",
            "--time-limit",
            "--retries",
            "--project",
        ]
        close = nearest(words[0], ours) if words[0].startswith("-") else []
        raise BadInput(
            "The script's own arguments come after `--`.",
            asked=" ".join(words),
            hint=(f"did you mean {close[0]}? Else: " if close else "") + "forebay run [options] SCRIPT -- " + " ".join(words),
        )


def _check_code(source: Path, entry: str | None) -> str | None:
    """The entry, after looking at what can be seen before anything is sent."""
    if not source.exists():
        there = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
        raise BadScript(
            "There is no such file or folder.",
            asked=str(source),
            found=", ".join(nearest(source.name, there)) or "nothing like it",
            hint="check the path",
        )
    if source.is_dir() and not entry:
        scripts = sorted(path.name for path in source.glob("*.py"))[:5]
        raise BadInput(
            "A folder needs --entry, the script inside it.",
            asked=str(source),
            found=", ".join(scripts) or "no .py at its top",
            hint=f"--entry {scripts[0] if scripts else 'train.py'}",
        )
    script = source / entry if source.is_dir() and entry else source
    if not script.is_file():
        raise BadScript("The folder has no such script.", asked=str(script), hint="--entry is relative to the folder")
    if not os.access(script, os.R_OK):
        raise BadScript("The script can't be read.", asked=str(script), found="permission denied", hint=f"chmod +r {script}")
    if script.suffix == ".py":
        try:
            ast.parse(script.read_bytes(), str(script))
        except (SyntaxError, ValueError) as error:
            where = f"line {getattr(error, 'lineno', '?')}: {(getattr(error, 'text', '') or '').strip()}"
            raise BadScript(
                f"The script doesn't parse: {getattr(error, 'msg', error)}.",
                asked=str(script),
                found=where,
                hint="it must be Python 3",
            ) from error
    return entry


def counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise BadInput("That is no number of cards.", asked=f"--cards {text}", hint="a whole number from 1 on, or several: 8,4")
    return counts


def _takes(text: str) -> dict[str, float]:
    """{"h100-sxm:8": 240.0} for "h100-sxm:8=4m"."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(name and time for name, _, time in pairs):
        raise BadInput("That doesn't say how long it takes.", asked=f"--takes {text}", hint="--takes ascend-910b=10m,h100-sxm=4m")
    return {name.strip(): _seconds(time) for name, _, time in pairs}


def _seconds(text: str) -> float:
    from forebay.units import parse_seconds

    return parse_seconds(text)


def variables(items: list[str]) -> dict[str, str]:
    values = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals and name not in os.environ:
            raise BadInput("That variable isn't set here.", asked=f"--env {name}", hint=f"--env {name}=VALUE")
        values[name] = value if equals else os.environ[name]
    return values


def mount(item: str, default: str) -> tuple[str, str]:
    source, colon, at = item.partition(":")
    return source, at if colon else (default + source.partition("@")[0] if default.endswith("/") else default)
