"""What was written for CUDA runs in a shell as it does in a run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from .clouds import Cloud, torn_down
from .people import piped

pytestmark = pytest.mark.slow

SCRIPT = b"""python3 -c "import torch; print(torch.cuda.is_available(), (torch.ones(2, device='cuda') + 1).tolist())"\n"""


def test_what_was_written_for_cuda_runs_in_the_shell():
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        pytest.skip("there is no torch here")
    with torn_down(Cloud()) as cloud:
        cloud.up(cards=1)
        site = next((cloud.data / "python" / "lib").glob("python3*")) / "site-packages"
        (site / "torch.pth").write_text(str(Path(torch.origin).parents[1]) + "\n")
        cloud.kill("agent")
        cloud.start_agent()  # which compiles, if need be, what carries CUDA's words for this base
        done = piped(cloud, cloud.tenant("acme"), "shell", typed=SCRIPT, seconds=400)
        assert (done.returncode, done.stdout) == (0, b"True [2.0, 2.0]\n"), done
