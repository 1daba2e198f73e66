"""What `forebay centre join` was told on the command line, as a centre's settings."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from forebay.centre import base, settings
from forebay.centre.settings import Account, RaySettings, Settings, SlurmSettings
from forebay.chips import catalogue
from forebay.errors import BadInput, Unknown


def known(folder: Path) -> Settings:
    try:
        return settings.read(folder)
    except Unknown:
        return Settings()


def merged(
    known: Settings,
    *,
    cloud: str,
    engine: str,
    bases: dict[str, str],
    gres: dict[str, str],
    resources: dict[str, str],
    accounts: dict[str, Account],
    more: dict[str, Any],
    slurm: dict[str, Any],
    ray: dict[str, Any],
) -> Settings:
    """What is said now over what was decided before. A value that is its own default says nothing."""
    plain = Settings()
    return replace(
        known,
        cloud=cloud,
        engine=engine,
        base={**(known.base or {base.ANY: sys.executable}), **bases},
        accounts={**known.accounts, **accounts},
        slurm=replace(known.slurm, gres={**known.slurm.gres, **gres}, **_said(slurm, plain.slurm)),
        ray=replace(known.ray, chips={**known.ray.chips, **resources}, **_said(ray, plain.ray)),
        **_said(more, plain),
    )


def _said(values: dict[str, Any], plain: Settings | SlurmSettings | RaySettings) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != getattr(plain, name)}


def bases(items: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        chip, equals, words = item.partition("=") if not item.startswith("/") else ("", "", "")
        chip, words = (chip, words) if equals else (base.ANY, item)
        if chip != base.ANY:
            catalogue.find(chip)
        if base.words(words) is None and not Path(words).is_file():
            raise BadInput(
                "There is no Python there.",
                asked=item,
                found=f"{words} is no file",
                hint="--base ascend-910b=/opt/npu/bin/python",
            )
        found[chip] = words
    return found


def pairs(items: list[str], option: str, example: str) -> dict[str, str]:
    return {name: catalogue.find(chip).name if chip else "" for name, chip in _split(items, option, example)}


def accounts(items: list[str]) -> dict[str, Account]:
    found = {}
    for organisation, words in _split(items, "--account", "acme=acme_user:acme_account"):
        parts = [*words.split(":"), "", "", "", ""]
        found[organisation] = Account(user=parts[0], account=parts[1], partition=parts[2], qos=parts[3])
    return found


def _split(items: list[str], option: str, example: str) -> list[tuple[str, str]]:
    pairs = [item.rpartition("=") for item in items]
    for (name, equals, _), item in zip(pairs, items, strict=True):
        if not equals or not name:
            raise BadInput("That says nothing about anything.", asked=f"{option} {item}", hint=f"{option} {example}")
    return [(name, value) for name, _, value in pairs]
