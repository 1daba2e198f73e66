"""`forebay fabric`: draw a fabric, count it, price it, send a training step through it, break it, choose one.

The commands are thin: each reads a noun from a file or a preset, asks the library, and prints the next. NumPy and Numba are an
extra of the package; where they are missing, that is said once and clearly.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from forebay.errors import Unavailable

MISSING = [name for name in ("numpy", "numba") if find_spec(name) is None]


class _Group(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if MISSING:
            raise Unavailable(
                "Fabrics are reckoned with NumPy and Numba, which aren't installed here.",
                asked=f"forebay fabric {args[0] if args else ''}".strip(),
                found=f"no {' and no '.join(MISSING)}",
                hint="pip install 'forebay[fabric]'",
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Draw, count, price, time, break and choose the wiring of thousands of cards.\n\n"
    "A FABRIC is a file (a design or fabric in TOML or JSON, GraphML, the output of ibnetdiscover; each may be gzipped) or the "
    "name of a family with options: rail-optimised --hosts 128.\n\n"
    "First time here? `forebay fabric choose --cards 1024 --model dense-70b`",
)


@app.callback()
def _root() -> None:
    pass


if not MISSING:
    from forebay.cli import fabric_calibrate, fabric_choose, fabric_price, fabric_show, fabric_step

    app.command("build")(fabric_show.build_it)
    app.command("show")(fabric_show.show)
    app.command("price")(fabric_price.price_them)
    app.command("simulate")(fabric_step.simulate)
    app.command("break")(fabric_step.break_it)
    app.command("choose")(fabric_choose.choose_one)
    app.command("calibrate")(fabric_calibrate.calibrate_it)
    app.command("draw")(fabric_show.draw_it)
