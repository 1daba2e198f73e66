"""What a centre's operator has decided: one file, centre.toml in the centre's folder, which people may edit.

Asked:  which engine, which Python for which chip, which GRES or resource is which chip, whose account runs whose jobs?
Answer: `Settings`. `forebay centre join` writes the file, with what it found and what it was told; the agent reads it when it
        starts. Nothing in it is a secret: the centre's key lies in a file of its own beside it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import files
from forebay.errors import BadInput, Unknown

FILE = "centre.toml"
KEY = "key"
_OPENING = """# What this centre's operator has decided. `forebay centre join` wrote it; edit it, then start the agent again.
# Every line is explained in docs/centres.md.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """As whom an organisation's jobs run at a site, by the site's own rules. Empty fields: the site's defaults."""

    user: str = ""  # the Linux account: sbatch --uid
    account: str = ""  # sbatch --account
    partition: str = ""
    qos: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmSettings:
    """How runs become jobs of a Slurm site."""

    gres: Mapping[str, str] = field(default_factory=dict)  # "gpu:h100" -> "h100-sxm"; "" as the chip: not for Forebay
    partitions: tuple[str, ...] = ()  # that Forebay may use; none: every one that the agent's user may
    rest: str = ""  # address of slurmrestd; empty: sbatch, squeue and scontrol
    rest_user: str = ""  # as whom the agent speaks to it
    cpus_per_card: int = 1
    memory_per_card: str = ""  # "60GB"; empty: the partition's default
    extra: tuple[str, ...] = ()  # further lines for every job: "--reservation=forebay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """Nodes of one kind that a cluster's autoscaler brings when they are asked for, and takes away when they are idle."""

    chip: str
    cards: int  # on each
    most: int  # nodes of this kind at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """How runs become placement groups of a Ray cluster."""

    address: str = ""  # of the head: "10.0.0.1:6379"
    dashboard: str = ""  # its HTTP address; empty: nodes are watched by a connected process instead
    chips: Mapping[str, str] = field(default_factory=dict)  # resource -> chip: "NPU" -> "ascend-910b", "GPU:H100" -> "h100-sxm"
    cpus_per_card: float = 1.0
    node_home: str = ""  # a folder on every node ("$SCRATCH/forebay"); empty: the centre's own, which all nodes see
    grows: Mapping[str, Grown] = field(default_factory=dict)  # what only the autoscaler can bring, by the name of its kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about one centre that isn't found by looking."""

    cloud: str = ""  # its address
    name: str = ""  # of the centre, as the cloud calls it
    engine: str = "local"  # or "slurm", "ray"
    python: str = ""  # for Forebay's own part on the nodes, 3.11 or newer; empty: the agent's
    base: Mapping[str, str] = field(default_factory=dict)  # chip, or "*" -> its base environment (`base.py` says in which words)
    pretend: bool = False  # the cards are stood in for by processor cores: a rehearsal
    trust_all: bool = False  # not as root: organisations trust each other
    build_env: Mapping[str, str] = field(default_factory=dict)  # for pip on the nodes: PIP_INDEX_URL and the like
    wheels: str = ""  # a folder of wheels on every node, for a site without internet
    accounts: Mapping[str, Account] = field(default_factory=dict)  # organisation, or "*" -> as whom its jobs run
    store: str = ""  # where code, data and outputs are kept: a folder, or s3://bucket/prefix; empty: in the centre's folder
    check: str = "1h"  # a card whose last check is older is checked before a run; "never"
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    ray: RaySettings = field(default_factory=RaySettings)


def read(home: Path) -> Settings:
    """The settings of a centre. Raises Unknown where there is no centre, BadInput with the line that is wrong."""
    path = home / FILE
    try:
        body = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise Unknown("There is no centre in this folder.", asked=str(home), hint="forebay centre join CLOUD --token T") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput("The centre's settings can't be read.", asked=str(path), found=str(error)) from None
    return codec.decode(Settings, body, at=FILE)


def write(home: Path, settings: Settings) -> Path:
    """Write the settings; what equals the default is left out."""
    path = home / FILE
    files.write_text(path, _OPENING + to_toml(_told(settings, Settings())), mode=0o644)
    return path


def _told(value: Any, default: Any) -> dict[str, Any]:
    """What differs from the default, as plain data."""
    whole, plain = codec.encode(value), codec.encode(default)
    return {
        name: {k: v for k, v in item.items() if plain[name].get(k) != v} if name in ("slurm", "ray") else item
        for name, item in whole.items()
        if item != plain[name]
    }


def to_toml(body: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Plain data as TOML: texts, numbers, truths, lists of texts, and tables."""
    lines = [f"{_key(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in body.items() if not _is_table(value)]
    parts = ["\n".join(lines) + "\n"] if lines else []
    for name, value in body.items():
        if _is_table(value):
            inner = to_toml(value, (*path, name))
            plain = any(not _is_table(item) for item in value.values())
            parts.append((f"[{'.'.join(map(_key, (*path, name)))}]\n" if plain else "") + inner)
    return "\n".join(parts)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else json.dumps(name, ensure_ascii=False)
