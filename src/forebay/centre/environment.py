"""Lay a tenant's packages over a base environment.

Asked:  how does a job get its own packages without touching the vendor's torch, and without installing them anew each time?
Answer: a virtual environment that sees the base's packages through a .pth file, built once for the same base and the same
        requirements, by the organisation's own user (an sdist runs code), then taken by root and made read-only. A marker,
        written last, makes it real. Before anything is installed, pip says what it would install; another torch among it is
        refused with the line that asks for it.
Limits: pip's resolver decides; what it finds tomorrow may differ from what it finds today, but an environment that is built
        stays.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forebay.centre import files, isolation, layout
from forebay.centre.order import Order
from forebay.errors import BadRequirement

# argv, folder to work in, extra variables -> exit code, stdout
Step = Callable[[list[str], Path, Mapping[str, str]], tuple[int, str]]

# The base's own: torch, the compilers that belong to it, and the plug-ins by which vendors bring their chips to it.
_TORCH_LINE = re.compile(r"(^|/)torch($|[-=<>!~ @\[;])")  # "torch==2.4", "./wheels/torch-2.4-….whl"
_BASE_ONLY = re.compile(
    r"torch|pytorch|triton(-ascend)?|pytorch-triton(-.*)?|nvidia-.*|torch-(npu|mlu|musa|gcu|xla|xmlir|vacc|sdaa|mlu-ops)|torch-directml"
    r"|intel-extension-for-pytorch|habana-torch-plugin"
)
_LIST = "requirements.txt"


def prepare(order: Order, work: Path, about: Mapping[str, Any], step: Step) -> Path | None:
    """The environment for this order, built if it isn't there. None when the order asks for none.

    `about` is what the base's Python says of itself; `step` runs a command as the organisation.
    """
    wanted = order.spec.requirements
    if wanted is None:
        return None
    source = _inside(work, wanted)
    organisation = order.spec.organisation
    above = isolation.own_folder(layout.environments(Path(order.home), organisation), 0o750)
    if order.gid is not None:
        os.chown(above, 0, order.gid)
    folder = above / key(about, source)
    with _locked(above / f".{folder.name}.lock"):
        if (folder / "READY").exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        isolation.own_folder(folder, 0o700, order.uid, order.gid)
        _build(folder, source, order, about, step)
        isolation.take(folder, order.gid)
        files.write_json(folder / "READY", {"requirements": wanted}, durable=True)
        (folder / "READY").chmod(0o444)
    return folder


def packages(environment: Path, about: Mapping[str, Any]) -> Path:
    """Its site-packages."""
    major, minor = str(about["version"]).split(".")[:2]
    return environment / "lib" / f"python{major}.{minor}" / "site-packages"


def python(environment: Path) -> Path:
    return environment / "bin" / "python"


def key(about: Mapping[str, Any], source: Path) -> str:
    """The name of an environment: the same base and the same requirements give the same one."""
    digest = hashlib.sha256(json.dumps([about["executable"], about["version"], about["torch"]]).encode())
    for path in sorted(source.iterdir()) if source.is_dir() else [source]:
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def is_the_bases_own(package: str) -> bool:
    """Whether only a chip's base environment may bring a package of this name."""
    return bool(_BASE_ONLY.fullmatch(_canonical(package)))


def refuse(report: Mapping[str, Any], text: str) -> None:
    """Raise BadRequirement when what pip would install holds something that only the base may bring."""
    installed = [item["metadata"] for item in report["install"]]
    for about in installed:
        if not is_the_bases_own(about["name"]):
            continue
        line = next((line.strip() for line in text.splitlines() if _canonical(_name_in(line)) == _canonical(about["name"])), "")
        wanting = [
            other["name"]
            for other in installed
            if any(_canonical(_name_in(need)) == _canonical(about["name"]) for need in other.get("requires_dist", []))
        ]
        raise BadRequirement(
            f"The requirements would replace {about['name']}, which only the chip's base environment brings.",
            asked=line or f"{about['name']}, because {wanting[0] if wanting else 'another package'} needs it",
            found=f"pip would install {about['name']} {about['version']}",
            hint="leave it out, or loosen the version so that the base's own will do",
        )


def _build(folder: Path, source: Path, order: Order, about: Mapping[str, Any], step: Step) -> None:
    _must(
        step([str(about["executable"]), "-m", "venv", "--without-pip", str(folder)], folder, {}), "make the virtual environment"
    )
    base = [path for path in about["path"] if path.rstrip("/").endswith(("site-packages", "dist-packages"))]
    packages_folder = packages(folder, about)
    _must(
        step(_write_file(about, packages_folder / "forebay-base.pth", "\n".join(base) + "\n"), folder, {}),
        "point it to the base's packages",
    )
    if source.is_dir():
        wheels = sorted(str(path) for path in source.glob("*.whl"))
        if not wheels:
            raise BadRequirement(
                "The folder of requirements holds no wheels.",
                asked=str(source.name),
                hint="*.whl files, or name a requirements.txt",
            )
        asked, text = (
            ["--no-index", "--find-links", str(source), *wheels],
            "\n".join(Path(wheel).name.replace("-", " ", 1) for wheel in wheels),
        )
    else:
        asked, text = ["-r", str(source)], source.read_text("utf-8", "replace")
    pip = [
        str(python(folder)),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-warn-script-location",
    ]
    # With the base's torch as a constraint pip sees a conflict at once, instead of fetching another torch to look into it.
    if about["torch"]:
        pinned = folder / "base.txt"
        _must(step(_write_file(about, pinned, f"torch=={about['torch']}\n"), folder, {}), "pin the base's torch")
        asked = ["--constraint", str(pinned), *asked]
    # pip's report goes to a file: what builds an sdist may print to stdout what it likes.
    code, _ = step(
        [*pip, "--dry-run", "--quiet", "--report", str(folder / "report.json"), *asked], source.parent, order.build_env
    )
    if code != 0:
        culprit = next((line.strip() for line in text.splitlines() if _TORCH_LINE.search(line.strip().lower())), "")
        if culprit and about["torch"]:
            raise BadRequirement(
                "The requirements would replace torch, which only the chip's base environment brings.",
                asked=culprit,
                found=f"the base has torch {about['torch']}",
                hint="leave it out, or loosen the version so that the base's own will do",
            )
        raise BadRequirement(
            "The requirements can't be met.",
            asked=order.spec.requirements or "",
            found=f"pip ended with {code}; its words are in the run's log",
        )
    refuse(json.loads(_read_plain(folder / "report.json")), text)
    _must(step([*pip, *asked], source.parent, order.build_env), "install the requirements")


def _write_file(about: Mapping[str, Any], path: Path, text: str) -> list[str]:
    """A command that writes a file as the organisation: as root we write nothing inside a folder that is its own."""
    return [str(about["executable"]), "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(path), text]


def _read_plain(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()


def _must(result: tuple[int, str], what: str) -> None:
    if result[0] != 0:
        raise BadRequirement(
            f"The environment can't be built: I couldn't {what}.", found=f"exit code {result[0]}; the words are in the run's log"
        )


def _inside(work: Path, wanted: str) -> Path:
    source = (work / wanted).resolve()
    if not source.is_relative_to(work.resolve()) or not source.exists():
        raise BadRequirement(
            "The requirements aren't in the code.",
            asked=wanted,
            hint=f"the path of a {_LIST} or of a folder of wheels inside the code",
        )
    return source


def _name_in(requirement: str) -> str:
    found = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return found[1] if found else ""


def _canonical(name: str) -> str:
    """As package indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
