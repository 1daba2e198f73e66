"""The base environment of a chip: the vendor's torch, as the centre's operator names it.

Asked:  a site has its Pythons in folders, in modules or in container images. How does a run start any of them the same way?
Answer: every base becomes one program that is started like Python. A folder's Python is one already; for modules and Apptainer
        images a small script is written that ends in it. Pyxis containers are made by srun itself, so there the words are only
        taken apart (`pyxis`), and the Slurm engine says them to srun.

    /opt/torch/bin/python                 a Python, or a script of your own that ends in: exec python "$@"
    module:cann/8.0 pytorch/2.6           environment modules (Tcl or Lmod), then python3
    apptainer:/images/torch-npu.sif       an image; python3 inside
    pyxis:/images/torch.sqsh              an image for `srun --container-image` (Slurm with Pyxis only)

Limits: an image needs Python 3.9 with its torch, no more; that of Pyxis needs 3.11, because the supervisor runs inside too.
        Modules are loaded in sh, from the places where Debian, Red Hat, openEuler and Lmod keep their set-up.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from forebay.centre import files
from forebay.errors import BadInput

ANY = "*"  # the key of the base for chips that have none of their own

_SETUPS = (
    "/etc/profile.d/modules.sh",
    "/etc/profile.d/lmod.sh",
    "/etc/profile.d/z00_lmod.sh",
    "/usr/share/modules/init/sh",
    "/usr/share/lmod/lmod/init/sh",
)
# What an image must see of the host to drive a chip's cards, by torch's device type. Apptainer's own flags where it has them.
_DEVICES: Mapping[str, tuple[str, ...]] = {
    "cuda": ("--nv",),
    "npu": (
        "--bind",
        "/usr/local/Ascend/driver,/usr/local/dcmi,/usr/local/bin/npu-smi,/dev/davinci_manager,/dev/devmm_svm,/dev/hisi_hdc",
    ),
}
_AMD = ("--rocm",)


def words(base: str, *, vendor: str = "", device_type: str = "cpu", visible: Sequence[str] = ()) -> str | None:
    """The script that starts this base, or None where it is a program already. `visible`: folders that an image must see."""
    kind, colon, rest = base.partition(":")
    if not colon or "/" in kind:
        return None
    match kind:
        case "module":
            return _module(rest.split())
        case "apptainer":
            return _apptainer(rest, vendor, device_type, visible)
        case "pyxis":
            return '#!/bin/sh\nexec python3 "$@"\n'
    raise BadInput(
        "That is no base environment.", asked=base, hint="/path/to/python, module:NAME, apptainer:IMAGE or pyxis:IMAGE"
    )


def pyxis(base: str) -> str:
    """The image that srun must make a container of; empty where the base is none of Pyxis."""
    kind, _, image = base.partition(":")
    return image if kind == "pyxis" else ""


def program(base: str, folder: Path, chip: str, **more: object) -> Path:
    """The program that starts a base, written into `folder` if need be. The same words give the same file."""
    text = words(base, **more)  # type: ignore[arg-type]
    if text is None:
        return Path(base)
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    path = folder / (chip.replace("*", "any") + ".sh")
    if not path.exists() or path.read_text() != text:
        files.write_text(path, text, mode=0o755)
        path.chmod(0o755)
    return path


def _module(names: Sequence[str]) -> str:
    if not names:
        raise BadInput("No module is named.", asked="module:", hint="module:pytorch/2.6")
    setups = " ".join(_SETUPS)
    return (
        "#!/bin/sh\n"
        f"for setup in {setups}; do\n"
        '  command -v module >/dev/null 2>&1 && break\n  [ -r "$setup" ] && . "$setup"\ndone\n'
        f"module load {' '.join(map(shlex.quote, names))} >&2 || exit 1\n"
        'exec python3 "$@"\n'
    )


def _apptainer(image: str, vendor: str, device_type: str, visible: Sequence[str]) -> str:
    if not image:
        raise BadInput("No image is named.", asked="apptainer:", hint="apptainer:/images/torch.sif")
    devices = _AMD if vendor.lower() == "amd" else _DEVICES.get(device_type, ())
    argv = ["apptainer", "--silent", "exec", "--no-home", "--writable-tmpfs", *devices]
    for path in visible:
        argv += ["--bind", path]
    return f'#!/bin/sh\nexec {shlex.join([*argv, image])} python3 "$@"\n'
