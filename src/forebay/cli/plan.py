"""`forebay plan`: the best ways to cut a model over cards; and what can be done with a menu that was written.

The commands are thin: each reads nouns from names and files, asks `forebay.plan`, and prints the next. A first word that is no
command is a model: `forebay plan llama-3-70b --on h100-sxm:64 --batch 1024` is `forebay plan choose llama-3-70b ...`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from forebay.cli import plan_calibrate, plan_choose, plan_explain, plan_export, plan_serve, plan_show, plan_whatif
from forebay.errors import Unavailable


class Otherwise(TyperGroup):
    """A group that takes a first word which none of its commands has for the command `choose`."""

    otherwise = "choose"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "--install-completion", "--show-completion"):
            args = [self.otherwise, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if find_spec("numpy") is None:
            raise Unavailable(
                "Plans are reckoned with NumPy, which isn't installed here.",
                asked=f"forebay plan {args[0] if args else ''}".strip(),
                found="no numpy",
                hint="pip install 'forebay[plan]'",
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Otherwise,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Plan how a model is cut over cards: time, memory and cost of the best ways.\n\n"
    "A MODEL is a preset's name, a config.json or its folder; a POOL is cards by name, as h100-sxm:64, or a TOML file with links "
    "and prices. A first word that is none of the commands is a model.\n\n"
    "First time here? `forebay plan llama-3-8b --on h100-sxm:8 --batch 64`",
)


@app.callback()
def _root() -> None:
    pass


app.command("choose")(plan_choose.choose)
app.command("show")(plan_show.show)
app.command("compare")(plan_show.compare)
app.command("whatif")(plan_whatif.whatif)
app.command("export")(plan_export.export_it)
app.command("serve")(plan_serve.serve)
app.command("explain")(plan_explain.explain_it)
app.command("calibrate")(plan_calibrate.calibrate_it)
