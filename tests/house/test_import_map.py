"""The import map of docs/architecture.md, as a test: who may import whom."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

import forebay

ROOT = Path(forebay.__file__).parent
EVERYWHERE = {"units", "errors", "codec"}

# What works on a cloud's folder and database without the cloud: for who stands at its machine.
BACKUP = {"cloud.address", "cloud.backup", "cloud.restore"}

# Room -> the rooms that it may import, beside those above and itself.
MAY = {
    "chips": set(),
    "fabric": {"chips"},
    "data": set(),
    "porting": {"chips"},
    "plan": {"chips", "fabric"},
    "comm": {"chips", "fabric"},
    "train": {"plan", "comm", "data"},
    "serve": {"chips", "data"},
    "centre": {"chips", "data"},
    "cloud.core": {"chips.chip", "chips.node", "fabric.link", "fabric.collectives"},
    "cloud": {"cloud.core", "chips", "data", "centre.spec", "plan", "porting"},
    "job": {"porting", "plan", "comm", "data", "train"},
    "client": {"client_jobs", "client_tenants", "data", "chips", "porting", "plan", "fabric", "centre.spec"},
    "client_jobs": {"client_tenants", "data"},
    "client_tenants": set(),
    "visitor": {"client", "job.talk"},
    "cli": {
        "client",
        "client_jobs",
        "client_tenants",
        "visitor",
        "chips",
        "data",
        "porting",
        "plan",
        "fabric",
        "centre",
        "cloud.replay",
        *BACKUP,
    },
}
OUTSIDE = {
    "cloud.core": set(),
    "chips": set(),
    "fabric": {"numpy", "scipy", "numba"},
    "data": {"fsspec", "blake3"},
    "porting": {"libcst", "yaml"},
    "porting.shim": {"torch", "numpy"},
    "porting.accept": {"torch"},
    "porting.kernels": {"torch", "triton"},
    "porting.certify": {"torch", "numpy"},
    "plan": {"numpy"},
    "plan.profile": {"torch"},  # and profile_trace: what looks at a user's module
    "comm": {"torch"},
    "train": {"torch"},
    "serve": {"aiohttp"},
    "centre": {"httpx"},
    "centre.ray": {"httpx", "ray"},
    "cloud": {"sqlalchemy", "alembic", "fastapi", "starlette", "pydantic", "uvicorn"},
    "job": {"torch", "numpy"},
    "client": {"httpx"},
    "cli": {"typer", "rich", "httpx"},
}


def room_of(module: str) -> str:
    parts = module.split(".")
    return "cloud.core" if parts[:2] == ["cloud", "core"] else parts[0]


@functools.cache
def imports() -> list[tuple[str, str]]:
    """(importing module, imported module), without the leading `forebay.`; other packages as "~name"."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module] if node.module != "forebay" else [f"forebay.{alias.name}" for alias in node.names]
            for name in names:
                found.append((module, name.removeprefix("forebay.") if name.startswith("forebay.") else "~" + name.split(".")[0]))
    return found


@pytest.mark.parametrize("room", sorted(MAY))
def test_a_room_imports_only_the_rooms_that_the_map_allows(room):
    allowed = MAY[room] | EVERYWHERE | {room, "__version__"}
    wrong = [
        f"{module} imports {name}"
        for module, name in imports()
        if room_of(module) == room and not name.startswith("~")
        if not any(name == good or name.startswith(good + ".") for good in allowed)
    ]
    assert wrong == []


def test_every_room_imports_only_the_outside_packages_that_the_map_allows():
    import sys

    wrong = []
    for module, name in imports():
        package = name.removeprefix("~")
        if not name.startswith("~") or package in sys.stdlib_module_names or package in ("forebay", "__future__"):
            continue
        inside = ("centre.ray.", "porting.shim", "porting.accept", "porting.kernels", "porting.certify", "plan.profile")
        room = next((part.rstrip(".") for part in inside if module.startswith(part)), room_of(module))
        if package not in OUTSIDE.get(room, set()):
            wrong.append(f"{module} imports {package}")
    assert wrong == []


def test_the_core_touches_no_world():
    forbidden = {
        "time",
        "random",
        "os",
        "socket",
        "asyncio",
        "threading",
        "subprocess",
        "pathlib",
        "datetime",
        "uuid",
        "secrets",
        "io",
    }
    assert [pair for pair in imports() if pair[0].startswith("cloud.core") and pair[1].removeprefix("~") in forbidden] == []


def test_the_command_line_starts_no_training_or_communication_by_import():
    assert [pair for pair in imports() if pair[0].startswith("cli") and room_of(pair[1]) in ("train", "comm", "job")] == []
