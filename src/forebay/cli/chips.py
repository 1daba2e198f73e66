"""`forebay chips`: the catalogue as a table, and one chip explained with the source of each figure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from forebay.chips import catalogue, certified, use
from forebay.chips.chip import Chip
from forebay.chips.inclusiveness import Index, index
from forebay.chips.roofline import roofline
from forebay.chips.scorecard import Scorecard
from forebay.cli import certify, out
from forebay.cli.chips_card import card
from forebay.cli.chips_gaps import gaps
from forebay.codec import encode
from forebay.errors import Unknown, nearest
from forebay.porting.shim.chip.adapter import Adapter, known, named
from forebay.units import show_bytes, show_bytes_per_s, show_flop_per_s

app = typer.Typer(add_completion=False)

_SOFTWARE = {
    "device_type": "torch device",
    "plugin": "plug-in module",
    "backend": "torch.distributed backend",
    "visible_devices_env": "cards are chosen by",
    "monitor": "monitor",
    "warp_size": "threads in a warp",
}
_FIGURES = {
    "memory_bytes": ("memory", show_bytes),
    "memory_bytes_per_s": ("memory bandwidth", show_bytes_per_s),
    "scale_up_bytes_per_s": ("link to other cards", show_bytes_per_s),
}
_FORMATS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8")
_EXPECTED = ("fp32", "fp16", "bf16")  # formats whose absence is worth a word


@app.callback(invoke_without_command=True)
def chips(
    ctx: typer.Context,
    vendor: Annotated[str, typer.Option(help="Only this vendor's chips.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """List the chips of the catalogue, or explain one."""
    if ctx.invoked_subcommand:
        return
    listed = [chip for chip in catalogue.load().values() if vendor.lower() in ("", chip.vendor)]
    if not listed:
        vendors = sorted({chip.vendor for chip in catalogue.load().values()})
        hint = ", ".join(nearest(vendor, vendors) or vendors)
        raise Unknown("The catalogue has no chip of that vendor.", asked=vendor, hint=hint)
    if as_json:
        out.as_json(encode(listed))
        return
    out.table(
        ("chip", "vendor", "device", "memory", "bf16 peak", "backend", "CUDA"),
        (
            (
                chip.name,
                chip.vendor,
                chip.device_type,
                show_bytes(chip.memory_bytes) if chip.memory_bytes else "-",
                _peak_16_bit(chip),
                chip.backend or "-",
                "yes" if chip.speaks_cuda else "no",
            )
            for chip in listed
        ),
        right=("memory", "bf16 peak"),
    )
    out.console.print(
        "\nPeaks are the vendors', dense. -: no trustworthy source. CUDA: its torch keeps the name cuda."
        "\n`forebay chips show NAME` explains a chip and tells where each figure is from."
    )


@app.command("show")
def show_one(
    name: Annotated[str, typer.Argument(help="A chip's name, as in `forebay chips`.")],
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Explain one chip: its names in software, its figures, their sources, and what is unknown."""
    chip = catalogue.find(name)
    ridges = {f: roof.ridge for f in chip.flop_per_s if (roof := roofline(chip, f))}
    measured = _measured(name)
    if as_json:
        out.as_json(
            {
                "chip": encode(chip),
                "ridge_flop_per_byte": ridges,
                "unknown": unknown(chip),
                "measured": encode(measured and measured[1]),
            }
        )
        return
    mentioned = list(dict.fromkeys(chip.sources.values()))

    def mark(field: str) -> str:
        return f"  [{mentioned.index(chip.sources[field]) + 1}]"

    out.console.print(f"{chip.name}: {chip.title}", style="bold", markup=False)
    out.console.print(in_words(chip) + "\n", markup=False)
    out.facts(
        [(title, f"{getattr(chip, key)}{mark(key)}") for key, title in _SOFTWARE.items() if getattr(chip, key)]
        + [(title, unit(getattr(chip, key)) + mark(key)) for key, (title, unit) in _FIGURES.items() if getattr(chip, key)]
        + [(f"peak {f}, dense", _peak(chip, f, ridges) + mark(f"flop_per_s.{f}")) for f in _FORMATS if f in chip.flop_per_s]
    )
    if measured is not None:
        card, points = measured
        first = f"\nMeasured on {card.measured_on}: {points.value:.1f} of 100 in inclusiveness, over {points.operators} operators"
        first += {"smoke": ", one sample each", "part": ", a part of them"}.get(card.mode, "")
        out.console.print(f"{first}; `forebay chips card {name}` tells more.", markup=False)
    if missing := unknown(chip):
        out.console.print(f"\nUnknown, for want of a trustworthy source: {', '.join(missing)}.", markup=False)
    if ridges:
        out.console.print("\nA computation that does fewer flop per byte than the ridge is limited by memory (roofline).")
    out.console.print("\nSources")
    for number, source in enumerate(mentioned, start=1):
        out.console.print(f"[{number}] {source.where} ({source.date})", markup=False)


@app.command("accept")
def accept(
    name: Annotated[str, typer.Argument(help="An adapter (npu), a chip (ascend-910b), or a module with an ADAPTER.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Only this area of checks; may be said again.", show_default=False)
    ] = None,
    cards: Annotated[int, typer.Option(help="Cards that a fake chip shows.")] = 2,
    cache: Annotated[Path | None, typer.Option(help="Where the compiled layer is kept.", show_default=False)] = None,
    keep: Annotated[Path | None, typer.Option(help="Where the proof is kept.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Ask a chip, under its adapter, every sentence that is true of an NVIDIA card; keep when, and on which driver and torch."""
    from forebay.porting import proof
    from forebay.porting.accept import suite
    from forebay.porting.shim.__main__ import default_cache

    adapter = _adapter(name)
    areas = tuple(only or suite.AREAS)
    verdicts, found = proof.accept(
        adapter,
        chip=adapter.name if adapter.name in known() else name,
        cache=cache or default_cache(),
        cards=cards,
        areas=areas,
        say=lambda line: print(f"forebay: {line}", file=sys.stderr),
    )
    place = proof.keep(found, keep or proof.default_folder()) if areas == suite.AREAS else None
    if as_json:
        out.as_json({"proof": found.to_json(), "verdicts": [verdict.to_json() for verdict in verdicts]})
        return
    for verdict in verdicts:
        if verdict.verdict == "fail":
            last = (verdict.detail.strip().splitlines() or [""])[-1]
            out.console.print(f"fail  {verdict.area}: {verdict.sentence.replace('_', ' ')}\n      {last[:160]}", markup=False)
    out.console.print("\n" + suite.table(verdicts), markup=False)
    out.console.print(
        f"\n{adapter.vendor}, {found.plugin}, torch {found.torch}: {found.passed} of {found.told} checks.", markup=False
    )
    out.console.print(f"Last proven on a card: {found.in_words()}." + (f" Kept in {place}." if place else ""), markup=False)


app.command("certify")(certify.certify)
app.command("card")(card)
app.command("gaps")(gaps)


def _measured(name: str) -> tuple[Scorecard, Index] | None:
    """The chip's newest scorecard, and what it comes to. None: it was never measured."""
    card = certified.load().get(name)
    points = index(card, use.shipped()) if card is not None else None
    return (card, points) if card is not None and points is not None else None


def _adapter(name: str) -> Adapter:
    """By the adapter's own name, or by a chip's of the catalogue: the one for its torch device and plug-in."""
    chip = catalogue.load().get(name)
    if chip is None:
        return named(name)
    alike = [one for one in known().values() if one.device == chip.device_type and one.plugin == (chip.plugin or "torch")]
    mine = [one for one in alike if not one.speaks_cuda or one.monitor == chip.monitor]
    if len(mine) != 1:
        raise Unknown("No adapter is known for this chip.", asked=name, hint=", ".join(sorted(known())))
    return mine[0]


def in_words(chip: Chip) -> str:
    """What a person with a CUDA script wants to know first."""
    if chip.device_type == "cpu":
        first = "Code written for CUDA runs on it through the shim's own cuda device."
    elif chip.speaks_cuda:
        first = "Its torch keeps the name cuda: code written for CUDA finds its own names."
    else:
        first = f"Its torch calls the device {chip.device_type}: code written for CUDA needs the shim or `forebay port`."
    return f"{first} {chip.notes}".strip()


def unknown(chip: Chip) -> list[str]:
    """What the catalogue doesn't know of a chip, in words. No plug-in is no gap, and only CUDA-like chips have warps."""
    expected = [key for key in _SOFTWARE if key != "plugin" and (key != "warp_size" or chip.speaks_cuda)]
    words = [_SOFTWARE[key] for key in expected if getattr(chip, key) is None]
    words += [title for key, (title, _) in _FIGURES.items() if getattr(chip, key) is None]
    return words + [f"peak {f}" for f in _EXPECTED if f not in chip.flop_per_s]


def _peak(chip: Chip, number_format: str, ridges: Mapping[str, float]) -> str:
    """The peak, and the ridge of the roofline under it."""
    told = show_flop_per_s(chip.flop_per_s[number_format])
    return told + (f", ridge {ridges[number_format]:.0f} flop/byte" if number_format in ridges else "")


def _peak_16_bit(chip: Chip) -> str:
    if "bf16" in chip.flop_per_s:
        return show_flop_per_s(chip.flop_per_s["bf16"])
    return show_flop_per_s(chip.flop_per_s["fp16"]) + " (fp16)" if "fp16" in chip.flop_per_s else "-"
