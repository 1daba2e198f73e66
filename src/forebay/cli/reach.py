"""Which cloud a command talks to, and as whom. The only place on the user's side that reads environment and configuration.

In this order: --cloud and --key where a command has them; FOREBAY_URL and FOREBAY_KEY; what `forebay key use` kept in
~/.config/forebay/client.json; the data folder of a cloud on this machine (FOREBAY_DATA, else ~/.forebay), as its operator.
A key that was kept for one cloud, or that lies in its folder, goes to that cloud only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from forebay.errors import BadInput, Unavailable

PATIENCE_S = 5.0  # with a cloud that doesn't answer: it may be starting again


def data_folder(asked: Path | None = None) -> Path:
    """Where `forebay up` keeps a cloud on this machine."""
    return (asked or Path(os.environ.get("FOREBAY_DATA") or Path.home() / ".forebay")).expanduser().absolute()


def database(asked: str) -> str:
    """The address of a journal's PostgreSQL: the option, else FOREBAY_DATABASE; "" for what the data folder says."""
    given = os.environ.get("FOREBAY_DATABASE", "")
    if not asked:
        return given  # no need to import what reads addresses: the cloud does
    from forebay.cloud.address import of_command

    return of_command(asked, given)


def cache_folder() -> Path:
    """What can be made again, for every cloud that this user starts on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay"


def client_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "forebay" / "client.json"


def client() -> Any:
    """A `forebay.client.Client`. Imported here, so that commands which need no cloud start faster."""
    from forebay.client import Client

    kept = _kept()
    local = data_folder()
    url = os.environ.get("FOREBAY_URL") or kept.get("url") or _read(local / "address")
    key = os.environ.get("FOREBAY_KEY") or _key_for(url, kept, local)
    if not url:
        raise Unavailable(
            "I know of no cloud.",
            found=f"no FOREBAY_URL, no {client_file()}, and none in {local}",
            hint="`forebay up` starts one on this machine",
        )
    return Client(url, key, patience_s=PATIENCE_S)


def _key_for(url: str, kept: dict[str, str], local: Path) -> str:
    """The key that is known for this cloud. One cloud's key is never shown to another."""
    if url == kept.get("url"):
        return kept.get("key", "")
    return _read(local / "operator.key") if url == _read(local / "address") else ""


def keep(url: str, key: str) -> Path:
    """Remember a cloud and a key for the next commands. Readable by the owner only."""
    path = client_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"url": url, "key": key}, file)
    draft.rename(path)
    return path


def _kept() -> dict[str, str]:
    try:
        kept: dict[str, str] = json.loads(client_file().read_text())
        return kept
    except (FileNotFoundError, PermissionError):
        return {}
    except ValueError:
        raise BadInput(
            "What `forebay key use` kept can't be read.", asked=str(client_file()), hint="remove the file, then use the key again"
        ) from None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, PermissionError):
        return ""
