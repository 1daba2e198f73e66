"""A certification on disk: what was asked, and a line for each verdict.

Asked:  how is a run kept so that neither a killed worker nor a killed parent loses or repeats a verdict?
Answer: FOLDER/run.json is the Header, written once by rename. FOLDER/results.jsonl has a Verdict a line, appended and synced
        together for an operator. A line that was torn by a kill is cut off when the run goes on. `read` gives both back as a Run.
Limits: one writer at a time, which holds a lock on results.jsonl.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from forebay.errors import BadInput, Conflict, Unknown
from forebay.porting.certify.verdict import Verdict

HEADER, RESULTS = "run.json", "results.jsonl"


@dataclass(frozen=True)
class Header:
    """What was asked of which chip, with which software. It holds no result."""

    chip: str  # its name in the catalogue, or the device's name where it isn't in it
    device: str  # torch's name of the device: "cuda"
    imports: tuple[str, ...]  # modules that bring the device
    carrier: str  # "": the device itself; "simulated" or an adapter's name: what our shim put in its place
    mode: str  # "full" or "smoke"
    formats: tuple[str, ...]
    only: tuple[str, ...]  # operators, by their database name; () for all
    seed: int
    entries: int  # that torch's database has, all of them
    database: str  # its fingerprint: the same operators with the same formats have the same
    cases: int  # verdicts that a whole run has
    reference: str  # the chip whose errors are the measure: this host's processor, in words
    software: Mapping[str, str] = field(default_factory=dict)  # {"torch": "2.13.0+cpu", "python": ..., "forebay": ...}
    started: str = ""  # UTC, ISO: the one thing in which two equal runs differ

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Header:
        words = {name: tuple(body[name]) for name in ("imports", "formats", "only")}
        return cls(**{**body, **words})


@dataclass(frozen=True)
class Run:
    """A certification as far as it came. Whole when it has all of its header's cases."""

    header: Header
    verdicts: tuple[Verdict, ...]

    @property
    def whole(self) -> bool:
        return len(self.verdicts) >= self.header.cases


def read(folder: Path) -> Run:
    """What a folder holds, without changing it. Raises Unknown or BadInput."""
    header = _header(folder)
    if header is None:
        raise Unknown("There is no certification in this folder.", asked=str(folder), hint="forebay chips certify CHIP --out DIR")
    return Run(header, _verdicts(folder / RESULTS)[0])


def differences(asked: Header, found: Header) -> list[str]:
    """In what two headers aren't of one run: "formats: float32 and not float32, float16"."""
    mine, theirs = replace(asked, started="").to_json(), replace(found, started="").to_json()
    return [f"{name}: {theirs[name]} and not {mine[name]}" for name in mine if mine[name] != theirs[name]]


class Book:
    """A run's folder, open for writing: made, or gone on with where it holds the same run."""

    def __init__(self, folder: Path, header: Header) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / RESULTS, "a+b")  # noqa: SIM115
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise Conflict(
                "Another certification is writing into this folder.", asked=str(folder), hint="wait for it, or another --out"
            ) from None
        try:
            found = _header(folder)
            if found is not None and (unlike := differences(header, found)):
                raise Conflict(
                    "The folder holds another certification, so this one can't go on in it.",
                    asked=str(folder),
                    found="; ".join(unlike),
                    hint="another --out, or delete the folder",
                )
            if found is None:
                _write(folder / HEADER, header.to_json())
            self.header = found or header
            self.verdicts, whole = _verdicts(folder / RESULTS)
            if whole < os.fstat(self._file.fileno()).st_size:
                os.ftruncate(self._file.fileno(), whole)
        except BaseException:
            self._file.close()
            raise

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """When it returns, they are on the disk."""
        lines = b"".join(json.dumps(verdict.to_json()).encode() + b"\n" for verdict in verdicts)
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _header(folder: Path) -> Header | None:
    try:
        body = json.loads((folder / HEADER).read_text())
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise BadInput("The certification's header can't be read.", asked=str(folder / HEADER), found=str(error)) from error
    try:
        return Header.from_json(body)
    except (TypeError, KeyError) as error:
        raise BadInput(
            "The certification was written by another Forebay.", asked=str(folder / HEADER), found=str(error)
        ) from error


def _verdicts(path: Path) -> tuple[tuple[Verdict, ...], int]:
    """The verdicts, and how many bytes hold them: what comes after is a line that a kill tore."""
    with contextlib.suppress(FileNotFoundError):
        body = path.read_bytes()
        whole = body.rfind(b"\n") + 1
        found = []
        for number, line in enumerate(body[:whole].splitlines(), start=1):
            try:
                found.append(Verdict.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise BadInput("A line of the results can't be read.", asked=f"{path}:{number}", found=repr(error)) from error
        return tuple(found), whole
    return (), 0


def _write(path: Path, body: Any) -> None:
    draft = path.with_suffix(".draft")
    with open(draft, "w") as file:
        json.dump(body, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
