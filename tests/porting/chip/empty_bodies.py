"""Empty bodies for a vendor's missing libraries, so that its plug-in can be imported on a machine without the card.

Asked:  torch-npu needs six libraries of CANN: what is there to link against here?
Answer: one library with every symbol that the plug-in needs and nobody here has. Each body returns 0. It gets the six names.
Limits: nothing computes. It is for checking names, a contract, and not for execution.
"""

import subprocess
import sys
from pathlib import Path


def symbols(kind, *libraries):
    words = subprocess.run(
        ["nm", "--dynamic", f"--{kind}-only", "--format=posix", *map(str, libraries)], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[0].partition("@")[0] for line in words.splitlines() if line and not line.endswith(":")}


def needed(library):
    words = subprocess.run(["objdump", "-p", str(library)], capture_output=True, text=True, check=True).stdout
    return [line.split()[1] for line in words.splitlines() if line.strip().startswith("NEEDED")]


def build(plugin, torch, folder):
    """Write the libraries into `folder` and return the symbols that they give. `plugin` and `torch` are packages' folders."""
    own = sorted([*plugin.glob("_C*.so"), *plugin.glob("lib/*.so")])
    present = {path.name for path in own} | {path.name for path in (torch / "lib").iterdir()}
    names = {name for path in own for name in needed(path)}
    known = ("ld-", "libc.", "libgcc", "libm.", "libpthread", "libstdc++", "libdl", "librt")
    absent = sorted(name for name in names if name not in present and not name.startswith(known))
    given = symbols("defined", *own, *(torch / "lib").glob("*.so"))
    wanted = symbols("undefined", *own) - given - _of_the_system()
    missing = sorted(name for name in wanted if not name.startswith(("Py", "_Py", "_ITM", "__gmon")))
    source = folder / "empty.s"
    labels = "".join(f".globl {name}\n.type {name},@function\n{name}:\n" for name in missing)
    source.write_text(f".text\n{labels}xor %eax,%eax\nret\n")
    library = folder / absent[0]
    for name in absent:
        subprocess.run(["g++", "-shared", "-nostdlib", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)], check=True)
    assert library.exists()
    return missing


def _of_the_system():
    loaded = set()
    for name in ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "ld-linux-x86-64.so.2"):
        place = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for path in (Path(place), Path("/lib/x86_64-linux-gnu") / name, Path("/lib64") / name):
            if path.is_absolute() and path.exists():
                loaded |= symbols("defined", path)
                break
    return loaded


if __name__ == "__main__":
    print(len(build(*map(Path, sys.argv[1:4]))))
