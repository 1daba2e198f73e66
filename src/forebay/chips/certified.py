"""Read and keep scorecards: those that ship, and the user's own. An edge: it reads files.

Asked:  which scorecard of this chip is the newest, and where is it from?
Answer: `scorecards/*.json` beside this file ship with a release; `keep` puts one into the user's folder, as NAME.json. The later
        date wins, the user's own on the same day. The simulated device has a card too, under the name `simulated`.
Limits: one card a chip in each place. A kept card that can't be read is an error with its path, never skipped in silence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from forebay.chips.scorecard import Scorecard
from forebay.codec import decode, encode
from forebay.errors import BadInput, ForebayError, Unknown, nearest

_SHIPPED = Path(__file__).with_name("scorecards")


def default_folder() -> Path:
    """Where the user's own scorecards are kept."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "forebay" / "scorecards"


def load(folder: Path | None = None) -> Mapping[str, Scorecard]:
    """The newest card of each chip, by name; `folder` is the user's, `default_folder()` unless told."""
    found: dict[str, Scorecard] = {}
    for place in (_SHIPPED, folder or default_folder()):
        for path in sorted(place.glob("*.json")) if place.is_dir() else ():
            card = read(path)
            if card.chip not in found or card.measured_on >= found[card.chip].measured_on:
                found[card.chip] = card
    return found


def find(name: str, folder: Path | None = None) -> Scorecard:
    """The newest card of that chip, or of a file where `name` is the path of one. Raises Unknown."""
    if name.endswith(".json"):
        return read(Path(name))
    cards = load(folder)
    if name not in cards:
        hint = ", ".join(nearest(name, list(cards)) or sorted(cards))
        raise Unknown(
            "No scorecard of this chip is kept here, and none ships.",
            asked=name,
            hint="forebay chips certify CHIP makes one" + (f"; there are: {hint}" if hint else ""),
        )
    return cards[name]


def read(path: Path) -> Scorecard:
    """The card in a file. Raises Unknown or BadInput, with the path."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Unknown("There is no such file.", asked=str(path)) from None
    except (ValueError, OSError) as error:
        raise BadInput("The scorecard can't be read.", asked=str(path), found=str(error)) from error
    try:
        card = decode(Scorecard, body)
    except ForebayError as error:
        raise BadInput("The file is no scorecard of this release.", asked=str(path), found=error.text) from error
    torn = [name for name, letters in card.operators.items() if len(letters) != len(card.columns)]
    if torn:
        raise BadInput("The scorecard can't be read.", asked=str(path), found=f"{torn[0]}: not a letter for each column")
    return card


def keep(card: Scorecard, folder: Path | None = None) -> Path:
    """Write the card into the user's folder; the one before it is replaced, by rename."""
    folder = folder or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.chip}.json"
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(written(card), encoding="utf-8")
    os.replace(draft, path)
    return path


def written(card: Scorecard) -> str:
    """The card's file: JSON with an operator a line, so that two cards can be compared line by line."""
    body = encode(card)
    lines = [f" {json.dumps(name)}: {_value(value)}" for name, value in body.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: object) -> str:
    if isinstance(value, dict) and len(value) > 1:
        return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items()) + "\n }"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value)
