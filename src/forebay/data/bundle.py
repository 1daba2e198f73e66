"""Pack the code of a job, and unpack it where it runs.

Asked:  how does a folder or a script become one file with a name of its own, and come out the same elsewhere?
Answer: a tar.gz with sorted names, no times, no owners; its name is the sha256 of its bytes, so the same content is kept once.
        .gitignore is respected; .git, __pycache__ and .venv never go along. What comes out is checked entry by entry
        before it is written: plain files, folders, and links that stay inside.
Limits: the limit counts bytes before compression, so that it can be checked before anything is written. Two machines with
        unlike versions of zlib may pack the same folder into unlike bytes: it is then kept twice. Of a file's mode only "may be
        executed" is kept.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from forebay.data.disk import new_file, new_folder
from forebay.data.ignore import Rule, left_out, read_rules
from forebay.errors import BadBundle, Unknown, nearest
from forebay.units import GIB, MIB, show_bytes

NEVER = frozenset({".git", "__pycache__", ".venv"})
UNPACKED_LIMIT_BYTES = 4 * GIB
ENTRY_LIMIT = 100_000
_BLOCK = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Packed code. Its hash is its name; where it is kept is for the stores to say."""

    sha256: str
    size_bytes: int  # of the archive
    files: int  # links included, folders not


def pack(
    source: Path, entry: str | None = None, *, limit_bytes: int, to: Path, along: Mapping[str, Path] | None = None
) -> Bundle:
    """Pack a folder, or one file, into the archive `to`. `entry`, if given, must be among what is packed. `along`: files to
    pack along, by the names that they get, whatever a .gitignore says.
    """
    if not os.path.lexists(source):
        beside = [item.name for item in source.parent.iterdir()] if source.parent.is_dir() else []
        raise Unknown(f"{source}: there is no such file or folder.", hint=" or ".join(nearest(source.name, beside)))
    root = source if source.is_dir() else source.parent
    members = list(_walk(root, "", ())) if source.is_dir() else [_member(root, source.name)]
    for name, path in (along or {}).items():
        if any(member.name == name for member in members):
            raise BadBundle("The folder has a file of its own where one of Forebay's should be.", asked=name, hint="rename it")
        members.append(replace(_member(path.parent, path.name), name=name))
    _check_size(members, source, limit_bytes)
    if entry is not None and entry not in {member.name for member in members if not member.is_folder}:
        why = "it is there, but left out by a .gitignore" if (root / entry).is_file() else "no such file in the folder"
        raise BadBundle(f"{entry} is not in the bundle of {source}.", found=why, hint="forebay run FOLDER/SCRIPT.py")
    with new_file(to, needed_bytes=sum(member.size for member in members)) as archive:
        _write(members, archive)
    return Bundle(sha256=file_hash(to), size_bytes=to.stat().st_size, files=sum(not member.is_folder for member in members))


def unpack(
    archive: Path,
    to: Path,
    *,
    sha256: str | None = None,
    limit_bytes: int = UNPACKED_LIMIT_BYTES,
    limit_entries: int = ENTRY_LIMIT,
) -> None:
    """Unpack an archive into the new folder `to`. It may come from anyone: what isn't safe is refused, and nothing is left."""
    if sha256 is not None and (found := file_hash(archive)) != sha256:
        raise BadBundle(
            f"{archive.name} is not what was sent.", asked=f"sha256 {sha256}", found=f"sha256 {found}", hint="send it again"
        )
    with new_folder(to) as draft, archive.open("rb") as packed:
        try:
            with gzip.GzipFile(fileobj=packed) as plain:
                limited = _Limited(plain, limit_bytes, limit_entries)
                with tarfile.open(fileobj=limited, mode="r|") as tar:
                    _extract(tar, draft, limit_bytes, limit_entries)
                while limited.read(_BLOCK):  # to the end, where gzip's checksum stands
                    pass
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadBundle(
                f"{archive.name} is no tar.gz archive, or a damaged one.", found=str(error), hint="pack it again"
            ) from None


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- packing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """Something to pack."""

    name: str  # relative, with slashes
    path: Path
    size: int = 0
    executable: bool = False
    link: str | None = None
    is_folder: bool = False


def _walk(root: Path, folder: str, rules: tuple[Rule, ...]) -> Iterator[_Member]:
    try:
        names = sorted(os.listdir(root / folder))
        if ".gitignore" in names and (root / folder / ".gitignore").is_file():
            rules += read_rules((root / folder / ".gitignore").read_text(errors="surrogateescape"), folder)
    except OSError as error:
        raise _unreadable(folder or str(root), error) from None
    for name in names:
        path = root / folder / name
        is_folder = path.is_dir() and not path.is_symlink()
        if name in NEVER or left_out(folder + name, is_folder, rules):
            continue
        member = _member(root, folder + name)
        yield member
        if member.is_folder:
            yield from _walk(root, folder + name + "/", rules)


def _member(root: Path, name: str) -> _Member:
    path = root / name
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode):
        target = os.readlink(path)
        if not _stays_inside(root, name, target):
            raise BadBundle(
                f"{name} is a link that points out of the folder.",
                found=f"{name} -> {target}",
                hint="put the file itself there, make the link relative, or name the link in .gitignore",
            )
        return _Member(name=name, path=path, link=target)
    if stat.S_ISDIR(state.st_mode):
        return _Member(name=name, path=path, is_folder=True)
    if not stat.S_ISREG(state.st_mode):
        raise BadBundle(f"{name} is no file, folder or link.", found=stat.filemode(state.st_mode), hint="name it in .gitignore")
    if not os.access(path, os.R_OK):
        raise _unreadable(name, PermissionError("no right to read it"))
    return _Member(name=name, path=path, size=state.st_size, executable=bool(state.st_mode & 0o100))


def _stays_inside(root: Path, name: str, target: str) -> bool:
    """Whether a link stays inside by its letters and, where it runs through other links, in fact."""
    by_letter = os.path.normpath(os.path.join(os.path.dirname(name), target))
    if os.path.isabs(target) or by_letter == ".." or by_letter.startswith("../"):
        return False
    base = os.path.realpath(root)
    return os.path.commonpath([base, os.path.realpath(root / name)]) == base


def _check_size(members: list[_Member], source: Path, limit_bytes: int) -> None:
    total = sum(member.size for member in members)
    if total <= limit_bytes:
        return
    largest = sorted(members, key=lambda member: -member.size)[:5]
    raise BadBundle(
        f"{source} is too large to send: {show_bytes(total)} before compression, and the limit is {show_bytes(limit_bytes)}.",
        found="the largest files: "
        + ", ".join(f"{member.name} ({show_bytes(member.size)})" for member in largest if member.size),
        hint="name in .gitignore what the script doesn't need; data belongs in a data set (forebay data make)",
    )


def _write(members: list[_Member], archive: BinaryIO) -> None:
    # mtime 0 and no file name: the gzip header carries neither the hour nor the place.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=archive, mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for member in members:
            _write_member(tar, member)


def _write_member(tar: tarfile.TarFile, member: _Member) -> None:
    header = tarfile.TarInfo(member.name)
    header.mode = 0o755 if member.executable or member.is_folder else 0o644
    if member.is_folder:
        header.type = tarfile.DIRTYPE
        tar.addfile(header)
    elif member.link is not None:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, member.link, 0o777
        tar.addfile(header)
    else:
        header.size = member.size
        try:
            file = member.path.open("rb")
        except OSError as error:
            raise _unreadable(member.name, error) from None
        with file:
            if os.fstat(file.fileno()).st_size != member.size:
                raise _changed(member.name)
            try:
                tar.addfile(header, file)
            except tarfile.TarError:
                raise _changed(member.name) from None
            except OSError as error:
                # tarfile reports a file that shrank as OSError without a number; a full disk has one and goes on up.
                if error.errno is None:
                    raise _changed(member.name) from None
                raise


def _changed(name: str) -> BadBundle:
    return BadBundle(
        f"{name} changed while it was being packed.", hint="wait until nothing writes there, or name it in .gitignore"
    )


def _unreadable(name: str, error: OSError) -> BadBundle:
    return BadBundle(
        f"{name} can't be read.", found=error.strerror or str(error), hint="give this user the right, or name it in .gitignore"
    )


# ---------------------------------------------------------------- unpacking


class _Limited(io.RawIOBase):
    """A stream that ends in an error when more comes out of it than the entries allowed can need: a bomb."""

    def __init__(self, plain: gzip.GzipFile, limit_bytes: int, limit_entries: int) -> None:
        self.plain = plain
        self.limit_bytes = limit_bytes
        self.left = limit_bytes + 4096 * limit_entries + MIB  # headers, long names and padding beside the content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = self.plain.readinto(buffer)
        self.left -= got
        if self.left < 0:
            raise _bomb(f"more than {show_bytes(self.limit_bytes)}")
        return got


def _bomb(what: str) -> BadBundle:
    return BadBundle("The archive would unpack to more than is allowed.", found=what, hint="data belongs in a data set")


def _extract(tar: tarfile.TarFile, root: Path, limit_bytes: int, limit_entries: int) -> None:
    total, links, kinds = 0, [], dict[PurePosixPath, bytes]()
    for count, header in enumerate(tar, 1):
        total += header.size
        if total > limit_bytes:
            raise _bomb(f"more than {show_bytes(limit_bytes)}, at {header.name!r:.200}")
        if header.size < 0:
            raise _unsafe(header.name, "a size below zero")
        if count > limit_entries:
            raise _bomb(f"more than {limit_entries:,} entries")
        name = _safe_name(header.name)
        if name in kinds:
            raise _unsafe(header.name, "the name comes twice")
        for above in name.parents[:-1]:
            if kinds.setdefault(above, tarfile.DIRTYPE) != tarfile.DIRTYPE:
                raise _unsafe(header.name, f"it lies below {above}, which is no folder")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds[name] = _extract_one(tar, header, path)
        links += [name] if header.issym() else []
    for name in links:  # after all: a link may run through one that came later
        if not _stays_inside(root, str(name), os.readlink(root / name)):
            raise _unsafe(str(name), "a link that points out of the folder")


def _extract_one(tar: tarfile.TarFile, header: tarfile.TarInfo, path: Path) -> bytes:
    if header.isdir():
        path.mkdir(exist_ok=True)
        path.chmod(0o755)  # whatever the umask: the organisation's own user reads it
        return tarfile.DIRTYPE
    if header.issym():
        if "\0" in header.linkname or not header.linkname:
            raise _unsafe(header.name, "a link without a target")
        os.symlink(header.linkname, path)
        return tarfile.SYMTYPE
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise _unsafe(
            header.name, {b"1": "a hard link", b"3": "a device", b"4": "a device", b"6": "a pipe"}.get(header.type, "no file")
        )
    content = tar.extractfile(header)
    assert content is not None  # a regular file has content
    with path.open("xb") as file:
        while block := content.read(_BLOCK):
            file.write(block)
    if path.stat().st_size != header.size:
        raise _unsafe(header.name, "it is cut short")
    path.chmod(0o755 if header.mode & 0o100 else 0o644)
    return tarfile.REGTYPE


def _safe_name(name: str) -> PurePosixPath:
    bare = name.rstrip("/") if name != "/" else name
    if not bare or "\0" in bare or bare.startswith("/") or any(part in ("", ".", "..") for part in bare.split("/")):
        raise _unsafe(name, "a name that is absolute, empty or climbs out")
    return PurePosixPath(bare)


def _unsafe(name: str, why: str) -> BadBundle:
    return BadBundle(
        "The archive holds an entry that is not safe to unpack.", found=f"{name!r:.200}: {why}", hint="pack it with forebay"
    )
