"""`forebay run`: run a script on cards of the pool."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.cli import out, reach
from forebay.cli.run_follow import follow
from forebay.errors import BadInput, BadScript, nearest

app = typer.Typer(add_completion=False)
PREFERENCES = ["fastest", "cheapest", "balanced"]


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
    plan: Annotated[
        str,
        typer.Option(help="A menu of `forebay plan --write`: its first choice says chip and cards; menu.json:2 is its second."),
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
    priority: Annotated[
        int, typer.Option(help="Before or after other jobs of your organisation; more comes first.", min=-100, max=100)
    ] = 0,
    resumable: Annotated[
        bool | None,
        typer.Option(
            "--resumable/--not-resumable",
            help="Started again, it goes on from a checkpoint of its own in its output folder, so it may be stopped for others "
            "and start earlier. Default: not.",
        ),
    ] = None,
    elastic: Annotated[
        bool, typer.Option("--elastic", help="It may go over to another of its --cards while it runs; needs --takes for each.")
    ] = False,
    prefer: Annotated[
        str, typer.Option(help="Which chip and count, if it says how long it takes: fastest, cheapest or balanced.")
    ] = "balanced",
    deadline: Annotated[str | None, typer.Option(help="By when it is to end: 2h (from now), or 2026-12-01T08:00.")] = None,
    budget: Annotated[str | None, typer.Option(help="What all its attempts may cost: 12.50.")] = None,
    restart_cost: Annotated[
        str, typer.Option(help="What stopping it and starting it again costs, beside work since its checkpoint.")
    ] = "60s",
    many: Annotated[
        Path | None,
        typer.Option(
            help="A file of jobs: a line a job, in JSON, with the API's fields. What a line leaves out is as said here."
        ),
    ] = None,
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
    arguments = list(argv or [])
    _need_dashes(arguments)
    source = Path(code)
    entry = _check_code(source, entry)
    given = variables(env or [])
    if plan:
        from forebay.cli.run_plan import asked_by

        cards, chip, told = asked_by(plan, cards, chip)
        given = {**told, **given}
    needs: dict[str, Any] = {
        "argv": arguments,
        "cards": counts(cards),
        "chips": [part for part in chip.split(",") if part],
        "name": name,
        "env": given,
        "data": dict(mount(item, "data/") for item in data or []),
        "inputs": dict(mount(item, "input") for item in input_ or []),
        "output": output,
        "requirements": requirements,
        "takes": _takes(takes),
        "time_limit": time_limit,
        "retries": retries,
        "grace_s": _seconds(grace),
        "priority": priority,
        "resumable": resumable,
        "elastic": elastic,
        "prefer": _preference(prefer),
        "deadline": deadline,
        "budget": budget,
        "restart_cost": restart_cost,
    }
    with reach.client() as cloud:
        if many is not None:
            _run_many(cloud, source, entry, many, needs, project, limit, as_json)
            return
        job = cloud.run(source, entry=entry, project=project, limit=limit, **needs)
        if as_json:
            out.as_json(job)
            return
        out.console.print(f"job {job['id']}")
        if not detach:
            follow(cloud, job["id"])


def _run_many(
    cloud: Any,
    source: Path,
    entry: str | None,
    many: Path,
    needs: dict[str, Any],
    project: str | None,
    limit: str,
    as_json: bool,
) -> None:
    from forebay.cli import run_many
    from forebay.client import asked

    common = asked(**needs, project=project)
    run_many.read(many, [*common, *run_many.OWN])  # what is wrong with the file is said before the code is sent
    taken = run_many.submit(cloud, many, common | cloud.send_code(source, entry=entry, project=project, limit=limit), project)
    if as_json:
        out.as_json(taken)
    else:
        out.console.print(f"{len(taken)} job{'s' if len(taken) != 1 else ''}: {taken[0]['id']} … {taken[-1]['id']}")


def _need_dashes(words: list[str]) -> None:
    behind = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    words = words[: max(0, len(words) - len(behind))]  # those before the dashes: a mistyped option of ours, most likely
    if words:
        ours = [
            "--cards",
            "--chip",
            "--plan",
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
            "--priority",
            "--resumable",
            "--elastic",
            "--prefer",
            "--deadline",
            "--budget",
            "--restart-cost",
            "--many",
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


def _preference(text: str) -> str:
    if text not in PREFERENCES:
        raise BadInput(
            "That can't be preferred.", asked=f"--prefer {text}", hint=", ".join(nearest(text, PREFERENCES) or PREFERENCES)
        )
    return text


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
