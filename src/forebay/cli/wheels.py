"""`forebay wheels`: collect a requirements file's wheels for a centre without internet."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.centre.environment import is_the_bases_own
from forebay.cli import out
from forebay.errors import BadInput, BadRequirement, Unavailable

app = typer.Typer(add_completion=False)
# glibc of the systems that compute nodes run: 2.17 (CentOS 7, Kylin V10), 2.28 (openEuler 20.03, RHEL 8), 2.34 (openEuler 22.03).
GLIBC = ("2_34", "2_31", "2_28", "2_27", "2_24", "2_17", "2_12", "2_5")
ARCHITECTURES = ("x86_64", "aarch64")


@app.command()
def wheels(
    requirements: Annotated[Path, typer.Argument(help="The requirements.txt.")],
    to: Annotated[Path, typer.Option(help="The folder for the wheels: inside your code, so that they travel with it.")] = Path(
        "wheels"
    ),
    arch: Annotated[str, typer.Option(help="Processor of the centre's nodes: x86_64 or aarch64.")] = "x86_64",
    python: Annotated[str, typer.Option(help="Python of the chip's base environment: 3.9, 3.10, 3.11…")] = "3.11",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Collect the wheels of a requirements.txt in a folder, for a centre without internet.

    What only a chip's base environment brings (torch, triton, vendors' plug-ins) is left out. Then:

    forebay run CODE --entry train.py --requirements wheels
    """
    if not requirements.is_file():
        raise BadInput("There is no such file.", asked=str(requirements), hint="the path of a requirements.txt")
    if arch not in ARCHITECTURES:
        raise BadInput("That is no processor I know wheels for.", asked=arch, found=", ".join(ARCHITECTURES))
    if not re.fullmatch(r"3\.\d+", python):
        raise BadInput("That is no version of Python.", asked=python, hint="3.11")
    with out.errors.status("asking pip what is needed"):
        listed = resolve(requirements, arch, python)
    kept = [item for item in listed if not is_the_bases_own(item["name"])]
    left = [item for item in listed if is_the_bases_own(item["name"])]
    with out.errors.status(f"fetching {len(kept)} wheels"):
        fetch(kept, to, arch, python)
    if as_json:
        out.as_json({"folder": str(to), "wheels": kept, "left_out": left})
        return
    out.table(["package", "version"], [[item["name"], item["version"]] for item in kept])
    if left:
        out.console.print("Left to the chip's base environment: " + ", ".join(item["name"] for item in left))
    out.console.print(f"{len(kept)} wheels in {to}. Next: forebay run … --requirements {to}")


def target(arch: str, python: str) -> list[str]:
    """pip's words for another machine than this one."""
    platforms = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{arch}")]
    old = ["--platform", f"manylinux2014_{arch}", "--platform", f"linux_{arch}"]
    return [*platforms, *old, "--python-version", python, "--implementation", "cp", "--only-binary", ":all:"]


def resolve(requirements: Path, arch: str, python: str) -> list[dict[str, str]]:
    """What pip would install there: name and version of each package."""
    with tempfile.TemporaryDirectory(prefix="forebay-") as folder:
        report = Path(folder) / "report.json"
        words = ["install", "--dry-run", "--quiet", "--ignore-installed", "--target", folder, "--report", str(report)]
        _pip([*words, *target(arch, python), "-r", str(requirements)], str(requirements))
        listed: list[dict[str, Any]] = json.loads(report.read_text())["install"]
    return sorted(
        ({"name": item["metadata"]["name"], "version": item["metadata"]["version"]} for item in listed),
        key=lambda item: item["name"].lower(),
    )


def fetch(kept: list[dict[str, str]], to: Path, arch: str, python: str) -> None:
    if kept:
        asked = [f"{item['name']}=={item['version']}" for item in kept]
        _pip(["download", "--quiet", "--no-deps", "--dest", str(to), *target(arch, python), *asked], ", ".join(asked))
    else:
        raise BadRequirement("Nothing is left to collect.", hint="the chip's base environment has all of it")


def _pip(words: list[str], asked: str) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    try:
        told = subprocess.run([*pip, *words], capture_output=True, text=True)
    except OSError as error:
        raise Unavailable("pip can't be started.", found=str(error)) from error
    if told.returncode != 0:
        lines = [line for line in told.stderr.splitlines() if line.startswith("ERROR")] or told.stderr.splitlines()
        raise BadRequirement(
            "pip can't find wheels for all of it.",
            asked=asked,
            found=(lines or ["no words"])[0].removeprefix("ERROR: "),
            hint="another --python or --arch; or a version that has wheels",
        )
