"""Lay a run's working folder out: code, data, output, and the command that starts the script.

Asked:  where does a script find what it was promised, and how is it started?
Answer: the packed code is unpacked by `data/bundle.py`, which trusts no archive; data sets, earlier outputs and the
        job's own output folder are links in it; a Python file is started by Python, anything else by itself or by sh.
Limits: whether torch is imported is told by the text alone.
"""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path, PurePosixPath

from forebay.centre import layout
from forebay.centre.spec import Spec
from forebay.data import bundle
from forebay.errors import BadBundle, BadScript
from forebay.units import MIB

_SCANNED_BYTES = 64 * MIB

# Packages that are torch, or import it first thing.
_TORCH = re.compile(
    rb"^[ \t]*(?:import|from)[ \t][^\n#]*\b"
    rb"(?:torch\w*|lightning|pytorch_lightning|transformers|accelerate|deepspeed|diffusers|timm|peft|trl)\b",
    re.MULTILINE,
)


def imports_torch(archive: Path) -> bool:
    """True when a Python file of the bundle imports torch, as far as its text tells. Of a very large bundle only the first
    part is read.
    """
    read = 0
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            read += member.size
            if read > _SCANNED_BYTES:
                return True
            if member.isreg() and member.name.endswith(".py"):
                file = tar.extractfile(member)
                if file is not None and _TORCH.search(file.read()):
                    return True
    return False


def unpack(home: Path, sha256: str, work: Path) -> None:
    """The packed code as the new folder `work`. Raises BadBundle with the member that is wrong."""
    archive = layout.bundle(home, sha256)
    if not archive.exists():
        raise BadBundle("The run's code isn't in the centre's store.", asked=sha256)
    bundle.unpack(archive, work, sha256=sha256)


def link_in(spec: Spec, home: Path, work: Path) -> None:
    """Put the output folder and the mounts in their places, as links."""
    _link(work, spec.output, layout.output(home, spec.job), "the output folder")
    for mount in spec.mounts:
        if mount.kind == "data":
            source = layout.data(home, spec.organisation, mount.source)
        elif mount.kind == "output":
            source = layout.output(home, mount.source)
        else:
            raise BadBundle("There is no such kind of mount.", asked=mount.kind, hint="data or output")
        if not source.is_dir():
            raise BadBundle(
                "What the run wants to read isn't in this centre.",
                asked=f"{mount.kind} {mount.source}",
                found=f"no folder {source.name}",
            )
        _link(work, mount.at, source, f"{mount.kind} {mount.source}")


def _link(work: Path, at: str, target: Path, what: str) -> None:
    path = PurePosixPath(at)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise BadBundle(f"The place for {what} has to be inside the working folder.", asked=at)
    place = work / path
    if not place.parent.resolve().is_relative_to(work.resolve()):
        raise BadBundle(f"The place for {what} leads out of the working folder through a link.", asked=at)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
        place.rmdir()  # an empty folder, packed along with the code, is there to be filled
    if os.path.lexists(place):
        raise BadBundle(
            f"The code has a file or folder of its own where {what} should be.",
            asked=at,
            hint="rename it, or leave it out of the code",
        )
    place.symlink_to(target)


def command(spec: Spec, work: Path, python: str) -> list[str]:
    """How the entry is started when it isn't forked: a Python file by Python, a shell script by sh, anything else by itself."""
    entry = work / spec.entry
    if (
        PurePosixPath(spec.entry).is_absolute()
        or ".." in PurePosixPath(spec.entry).parts
        or not entry.resolve().is_relative_to(work.resolve())
    ):
        raise BadScript("The script has to lie inside the code folder.", asked=spec.entry)
    if not entry.is_file():
        raise BadScript("There is no such file in the code.", asked=spec.entry, found=", ".join(sorted(os.listdir(work))[:10]))
    if spec.entry.endswith(".py"):
        return [python, spec.entry, *spec.argv]
    with entry.open("rb") as file:
        shebang = file.read(2) == b"#!"
    if shebang or os.access(entry, os.X_OK):
        entry.chmod(entry.stat().st_mode | 0o111)
        return [str(entry), *spec.argv]
    if spec.entry.endswith(".sh"):
        return ["/bin/sh", spec.entry, *spec.argv]
    raise BadScript(
        "I don't know how to start this file.",
        asked=spec.entry,
        hint="a .py or .sh file, or a program that is executable or begins with #!",
    )
