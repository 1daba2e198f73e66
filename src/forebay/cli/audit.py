"""`forebay audit`: the journal, as those read it who answer for what happened."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from forebay.cli import out, reach
from forebay.errors import BadInput
from forebay.units import NS_PER_S, parse_seconds

app = typer.Typer(add_completion=False)


@app.command()
def audit(
    by: Annotated[str, typer.Option(help="Only what this key (its id or name), member, or 'centre NAME' did.")] = "",
    kind: Annotated[str, typer.Option(help="Only this kind of line: KeyMade, QuotaSet, Submitted…")] = "",
    since: Annotated[str, typer.Option(help="Only since then: 2h, 7d, or 2026-12-01 08:00.")] = "",
    organisation: Annotated[str, typer.Option("--organisation", "--org", help="Only of this one; operators see all.")] = "",
    most: Annotated[int, typer.Option("--most", "-n", help="So many lines, the newest.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table; with -f a line each.")] = False,
) -> None:
    """Tell who did what, and when: the journal, newest last.

    An operator reads all of it, an owner what is their organisation's. Secrets
    aren't in it: no keys, no tokens, and of environments the names only.
    """
    with reach.client() as cloud:
        lines = cloud.audit(
            by=by, kind=kind, since_ns=_since_ns(since), organisation=organisation, most=max(1, most), follow=follow
        )
        if as_json and not follow:
            out.as_json(list(lines))
            return
        for line in lines:
            if as_json:
                sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            else:
                out.console.print(_told(line), markup=False, soft_wrap=True)


def _told(line: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(line["at_ns"] / NS_PER_S).strftime("%Y-%m-%d %H:%M:%S")
    who = line["by"] + (f" ({line['member'] or line['key_name']})" if line["member"] or line["key_name"] else "")
    about = line["job"] or line["organisation"]
    return f"{line['seq']:>7}  {when}  {who:<24}  {about + ': ' if about else ''}{line['text']}"


def _since_ns(since: str) -> int:
    if not since:
        return 0
    try:
        return int(datetime.fromisoformat(since).timestamp()) * NS_PER_S
    except ValueError:
        pass
    try:
        return time.time_ns() - int(parse_seconds(since) * NS_PER_S)
    except BadInput:
        raise BadInput("That is no time.", asked=since, hint="2h, 7d, or 2026-12-01 08:00") from None
