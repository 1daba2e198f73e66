"""A folder that looks like a CUDA toolkit, and compiles for the host.

Asked:  what must be there so that extensions build where no CUDA toolkit is installed?
Answer: `toolkit(cache)`: bin/nvcc (a line of shell that calls nvcc.py), include (our headers) and lib64, with libraries
        of CUDA's names that hold nothing: what they would hold is in the headers. Made once for each Python and version.
Limits: POSIX. Programs that link cuBLAS find a library without functions, and the linker names the first that is missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from forebay.errors import Unavailable
from forebay.porting.kernels.nvcc import INCLUDE

LIBRARIES = (
    "cudart",
    "cudart_static",
    "cuda",
    "c10_cuda",
    "torch_cuda",
    "cudadevrt",
    "nvToolsExt",
    "cublas",
    "cublasLt",
    "curand",
)
_EMPTY_ARCHIVE = b"!<arch>\n"
_SOURCE = INCLUDE.parents[3]  # the folder that holds the package


def toolkit(cache: Path, release: str) -> Path:
    """The toolkit's folder, from the cache or made now; among temporary files where the cache can't be written."""
    words = f"{sys.executable}\0{_SOURCE}\0{release}\0{Path(__file__).read_text()}"
    name = f"toolkit-{hashlib.sha256(words.encode()).hexdigest()[:12]}"
    for place in (cache, Path(tempfile.gettempdir()) / f"forebay-{os.getuid()}"):
        folder = place / name
        if (folder / "bin" / "nvcc").exists():
            return folder
        try:
            place.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=place, prefix=".toolkit-"))
            _fill(draft, folder, release)
            try:
                os.replace(draft, folder)
            except OSError:  # another process was faster
                shutil.rmtree(draft, ignore_errors=True)
            return folder
        except OSError:
            continue
    raise Unavailable(
        "The stand-in for a CUDA toolkit can't be written.", asked=str(cache / name), hint="give a cache that can be written"
    )


def _fill(draft: Path, home: Path, release: str) -> None:
    draft.chmod(0o755)
    for folder in ("bin", "lib64"):
        (draft / folder).mkdir()
    (draft / "include").symlink_to(INCLUDE)
    for name in LIBRARIES:
        (draft / "lib64" / f"lib{name}.a").write_bytes(_EMPTY_ARCHIVE)
    nvcc = draft / "bin" / "nvcc"
    nvcc.write_text(_script(home, release))
    nvcc.chmod(0o755)


def _script(home: Path, release: str) -> str:
    """What is bin/nvcc. The compiler needs no carrier, so it starts without one."""
    return "\n".join(
        [
            "#!/bin/sh",
            "# nvcc of Forebay's stand-in toolkit: compiles for the host. See docs/kernels.md.",
            "unset FOREBAY_SHIM",
            f"PYTHONPATH={_quoted(_SOURCE)} FOREBAY_TOOLKIT={_quoted(home)} FOREBAY_NVCC_RELEASE={release} \\",
            f'  exec {_quoted(sys.executable)} -m forebay.porting.kernels.nvcc "$@"',
            "",
        ]
    )


def _quoted(path: object) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"
