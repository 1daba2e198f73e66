"""Lay a run's working folder out: unpack the code, link data and output in.

Asked:  how is an archive from outside unpacked by root without writing anywhere else?
Answer: every member is checked by us before it is extracted through tarfile's own data filter: no absolute name, no "..", no
        device, no link that leads out, no member whose path leads through a link; bounds on count and size.
Limits: the archive's hash is checked first; it was made by our own packer, which refuses the same things earlier and more kindly.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from pathlib import Path, PurePosixPath

from forebay.centre import layout
from forebay.centre.spec import Spec
from forebay.errors import BadBundle, BadScript
from forebay.units import GIB, MIB, show_bytes

MOST_BYTES = 4 * GIB
MOST_MEMBERS = 200_000
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


def unpack(archive: Path, folder: Path, sha256: str) -> None:
    """Unpack into an empty folder that only we can write to. Raises BadBundle with the member that is wrong."""
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise BadBundle("The run's code isn't in the centre's store.", asked=sha256) from None
    if found != sha256:
        raise BadBundle("The packed code in the centre's store is damaged.", asked=sha256, found=found)
    links: set[str] = set()
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for count, member in enumerate(tar):
                total += member.size
                if count >= MOST_MEMBERS or total > MOST_BYTES:
                    raise BadBundle(
                        "The packed code is too large when unpacked.",
                        asked=f"at most {show_bytes(MOST_BYTES)} in {MOST_MEMBERS:,} files",
                    )
                check(member, links)
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadBundle("The packed code can't be unpacked.", found=str(error)) from error


def check(member: tarfile.TarInfo, links: set[str]) -> None:
    """Refuse a member that could land elsewhere. `links` collects the names of the symbolic links so far."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise BadBundle("The packed code holds a name that leads out of its folder.", found=member.name)
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise BadBundle("The packed code holds something that is neither file, folder nor link.", found=member.name)
    if any(str(parent) in links for parent in path.parents) or str(path) in links:
        raise BadBundle("The packed code holds a file whose path leads through a link.", found=member.name)
    if member.issym() or member.islnk():
        start = path.parent if member.issym() else PurePosixPath()
        target = os.path.normpath(os.path.join(str(start), member.linkname))
        if PurePosixPath(member.linkname).is_absolute() or target == ".." or target.startswith("../"):
            raise BadBundle(
                "The packed code holds a link that leads out of its folder.", found=f"{member.name} -> {member.linkname}"
            )
        if any(str(parent) in links for parent in PurePosixPath(target).parents):
            raise BadBundle(
                "The packed code holds a link that leads through another link.", found=f"{member.name} -> {member.linkname}"
            )
    if member.issym():
        links.add(str(path))


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
