"""Which database a data folder's journal is in, and the address of a PostgreSQL without its secrets.

Asked:  how can a folder and a database that don't belong together never become one cloud?
Answer: the file `database` in the folder names the PostgreSQL (without a password) and the cloud's id, which stands in the
        database too. A folder without that file has its journal in a file of its own.
Limits: a password comes from FOREBAY_DATABASE, or from where libpq looks (PGPASSWORD, ~/.pgpass, a `passfile`); it isn't kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from forebay.cloud.database import FILE
from forebay.data.disk import new_file
from forebay.errors import BadInput, Refused, Unavailable

NOTE = "database"  # the file's name
EXAMPLE = "postgresql://user@host/name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A PostgreSQL, and which cloud's journal a data folder expects in it ("" for a new one)."""

    url: sa.URL
    cloud: str = ""


def address(folder: Path, asked: str) -> Address | None:
    """Where the journal of a data folder is, or is to be; None for the file in the folder. `asked` may be empty."""
    kept = _kept(folder)
    if not asked:
        return Address(url=parse(kept["url"]), cloud=kept["cloud"]) if kept else None
    url = parse(asked)
    if not kept and (folder / FILE).exists() and (folder / FILE).stat().st_size:
        raise Refused(
            "This data folder has its journal in a file, not in PostgreSQL.",
            asked=shown(url),
            found=str(folder / FILE),
            hint="`forebay backup`, then `forebay restore` into a new folder with --database, moves it",
        )
    return Address(url=url, cloud=kept["cloud"] if kept else "")


def keep(folder: Path, where: Address) -> None:
    """Write down where the journal is, for the next start."""
    with new_file(folder / NOTE, mode=0o600) as file:
        file.write(json.dumps({"url": without_secrets(where.url), "cloud": where.cloud}).encode())


def _kept(folder: Path) -> dict[str, str]:
    try:
        kept: dict[str, str] = json.loads((folder / NOTE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise Unavailable("The note of where the journal is can't be read.", asked=str(folder / NOTE), found=str(error)) from None
    return kept


def parse(text: str) -> sa.URL:
    """The address of a PostgreSQL. Errors don't repeat it: it may hold a password."""
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise BadInput("That is no address of a database.", hint=EXAMPLE) from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise BadInput(
            "A journal lies in PostgreSQL, or without --database in a file of the data folder.",
            asked=f"{url.drivername}:…",
            hint=EXAMPLE,
        )
    return url.set(drivername="postgresql+psycopg")


def of_command(option: str, variable: str) -> str:
    """The address that a command was told, by its option or else by FOREBAY_DATABASE. A password in the option is refused."""
    if option and secrets(parse(option)):
        raise BadInput(
            "A password on a command line can be read by every user of this machine.",
            asked=shown(parse(option)),
            hint="the whole address in FOREBAY_DATABASE; or the password in ~/.pgpass or PGPASSWORD",
        )
    return option or variable


def secrets(url: sa.URL) -> list[str]:
    """What must be shown to nobody: longest first."""
    found = [str(url.password)] if url.password else []
    found += [str(value) for name, value in url.query.items() if "password" in name.lower()]
    return sorted(found, key=len, reverse=True)


def told(error: Exception, where: Address | None) -> str:
    """What a database said, in one line, without secrets."""
    text = " ".join(str(getattr(error, "orig", None) or error).split())
    for secret in secrets(where.url) if where else ():
        text = text.replace(secret, "***")
    return text


def without_secrets(url: sa.URL) -> str:
    return _open(url, {name: value for name, value in url.query.items() if "password" not in name.lower()})


def shown(url: sa.URL) -> str:
    """The address for people: no secrets, no settings."""
    return _open(url, {name: value for name, value in url.query.items() if name == "host" and not url.host})


def _open(url: sa.URL, query: dict[str, str | tuple[str, ...]]) -> str:
    # A new one: `URL.set` takes a password of None for one that isn't to be changed.
    plain = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return plain.render_as_string(hide_password=False).replace("%2F", "/")
