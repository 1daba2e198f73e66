"""`forebay fabric calibrate`: a centre's own constants from its measured busbw, and what its curve says of its health."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.cli import out
from forebay.cli.fabric_given import Json, following, line, plain
from forebay.errors import BadInput, Unknown, nearest
from forebay.fabric import calibrate, curves, nccl_tests
from forebay.fabric.curves import Curve
from forebay.fabric.diagnose import diagnose
from forebay.fabric.quantity import speed
from forebay.units import show_bytes, show_bytes_per_s


def calibrate_it(
    file: Annotated[Path, typer.Argument(help="The output of nccl-tests, or JSON records of collectives.")],
    system: Annotated[str, typer.Option(help="Which system of the records; or a name for yours.", show_default=False)] = "",
    date: Annotated[str, typer.Option(help="When it was measured, 2026-11-30; needed with -o.", show_default=False)] = "",
    collective: Annotated[str, typer.Option(help="Where the output doesn't say it: all_gather.", show_default=False)] = "",
    gpus: Annotated[int, typer.Option(help="Cards, where the output doesn't list them.", show_default=False)] = 0,
    cards_per_host: Annotated[int, typer.Option(help="Cards in a host.", show_default=False)] = 0,
    nics_per_host: Annotated[int, typer.Option(help="NICs in a host.", show_default=False)] = 0,
    nic: Annotated[str, typer.Option(help='Speed of a NIC: "400 Gbit/s".', show_default=False)] = "",
    scale_up: Annotated[str, typer.Option(help='Speed of a card to its host, each way: "450 GB/s".', show_default=False)] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the calibration here.", show_default=False)] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Fit even what looks sick.")] = False,
    as_json: Json = False,
) -> None:
    """Fit the fabric's few constants to a measured curve, say how good the fit is, and what the curve says of the system.

    forebay fabric calibrate all_reduce.txt --nics-per-host 8 --nic "400 Gbit/s" --date 2026-11-30 -o ours.json

    A sick system is diagnosed and not fitted; say --anyway to insist.
    """
    curve = _curve(file, system, date, collective, gpus)
    said: dict[str, Any] = {"cards_per_host": cards_per_host, "nics_per_host": nics_per_host,
            "nic_bytes_per_s": speed(nic, "--nic") if nic else 0.0,
            "scale_up_bytes_per_s": speed(scale_up, "--scale-up") if scale_up else 0.0}  # fmt: skip
    if negative := [key for key, value in said.items() if value < 0]:
        raise BadInput("There is at least one.", asked=negative[0])
    curve = replace(curve, setup=replace(curve.setup, **{key: value for key, value in said.items() if value}),
                    date=date or curve.date)  # fmt: skip
    seen = diagnose(curve)
    fits = anyway or (seen.verdict != "sick" and curve.healthy)
    # Bytes go through the NIC where there are hosts, and through the scale-up within one.
    setup = curve.setup
    link = setup.nic_bytes_per_s if curve.hosts > 1 else setup.scale_up_bytes_per_s if curve.hosts == 1 else 0.0
    fitted = calibrate.calibrate(replace(curve, healthy=True), link_bytes_per_s=link) if fits else None
    if fitted and output:
        calibrate.write(fitted, output)
    worst = calibrate.error(fitted) if fitted else None
    if as_json:
        out.as_json({"diagnosis": plain(seen), "calibration": plain(fitted), "median_error": worst,
                     "written": str(output) if fitted and output else None})  # fmt: skip
        return
    line(str(seen))
    if not fitted:
        line("\nNot fitted: what a sick system shows holds for no other day." + (f" {output} isn't written." if output else ""))
        following("repair it, measure again; or --anyway")
        return
    p = fitted.physics
    line("")
    out.facts([("efficiency", f"{p.efficiency:.3f} of {show_bytes_per_s(fitted.link_bytes_per_s)}"
                + ("" if link else ", which the curve itself tends to: no speed was said")),
               ("latency of a round", f"{(p.message_s + fitted.links * p.hop_s) * 1e6:.1f} us"),
               ("fill", f"{p.fill:g} (0: latency before bytes; 1: a perfect pipeline)"),
               ("median error", "no point is left to try it on" if worst is None else
                f"{worst:.1%} on points that weren't used, 16 MiB to 16 GiB")])  # fmt: skip
    line("")
    out.table(("message", "measured", "fitted", "error", ""),
              [(show_bytes(m.message_bytes), show_bytes_per_s(m.measured_bytes_per_s),
                show_bytes_per_s(m.measured_bytes_per_s * (1 + m.error)), f"{m.error:+.1%}", "used" if m.used else "")
               for m in fitted.misses], right=("message", "measured", "fitted", "error"))  # fmt: skip
    if output:
        line(f"Written: {output}")
    following(f"forebay fabric simulate rail-optimised --hosts 128 --model dense-70b --physics {output or 'FILE'}")


def _curve(file: Path, system: str, date: str, collective: str, gpus: int) -> Curve:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as no:
        raise Unknown("That file can't be read.", asked=str(file), found=no.strerror or str(no)) from None
    if not text.lstrip().startswith(("{", "[")) or text.lstrip()[:2].strip("[").isdigit():
        return nccl_tests.to_curve(nccl_tests.parse(text), system or file.stem, date=date, collective=collective, n_gpus=gpus)
    try:
        data = json.loads(text)
        found = {one.system: one for one in curves.from_records(data["collectives"] if isinstance(data, dict) else data)}
    except (ValueError, KeyError, TypeError, AttributeError) as bad:
        raise BadInput(
            "That is neither nccl-tests' output nor records of collectives.", asked=str(file), found=repr(bad)
        ) from None
    if not system and len(found) == 1:
        return next(iter(found.values()))
    if system not in found:
        near = nearest(system, list(found)) or list(found)[:5]
        raise BadInput(
            "Which system of the records?", asked=f"--system {system}", found=f"{len(found)} systems", hint="; ".join(near)
        )
    return found[system]
