"""The same carriers over a CUDA build of torch, which can't be installed beside the CPU build that the other tests use.

FOREBAY_TEST_CUDA_BUILD names a Python that has such a torch, on a machine without a GPU:

    FOREBAY_TEST_CUDA_BUILD=/path/to/venv/bin/python pytest -m slow tests/porting/shim/test_cuda_build.py
"""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from forebay.porting.shim import build
from forebay.porting.shim.carrier import DRIVERS, Carrier

from .conftest import HERE, answers, run
from .test_mapped import TRAIN

PYTHON = os.environ.get("FOREBAY_TEST_CUDA_BUILD", "")
SOURCE = Path(build.__file__).parents[3]
FILES = (
    "identity",
    "compute",
    "dice_memory_time",
    "precision_and_files",
    "torchs_insides",
    "graphs",
    "names",
    "sparse",
    "autocast_lists",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="FOREBAY_TEST_CUDA_BUILD names no Python with a CUDA build of torch"),
    pytest.mark.skipif(any(map(os.path.exists, DRIVERS)), reason="there is a GPU's driver here"),
]


def ask(*words):
    ended = subprocess.run(
        [PYTHON, *map(str, words)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def over_cuda(cache):
    """Compiled against that torch; minutes, the first time on a busy machine."""
    return Carrier("simulated", "for the tests", Path(ask("-m", "forebay.porting.shim", "build", "--cache", cache)))


@pytest.fixture
def borrowed(tmp_path, monkeypatch):
    """The checks import pytest, which that Python may not have: lend it ours and no more of our packages."""
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            origin = Path(spec.origin)
            found = origin.parent if origin.name == "__init__.py" else origin
            (tmp_path / found.name).symlink_to(found)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_the_simulated_device_is_chosen_and_the_reason_names_the_build(over_cuda, cache):
    words = (
        "import sys; from pathlib import Path; from forebay.porting.shim.carrier import choose;"
        "c = choose(Path(sys.argv[1])); print(c.kind, c.library, c.why, sep='|')"
    )
    kind, library, why = ask("-c", words, cache).split("|")
    assert (kind, Path(library)) == ("simulated", over_cuda.library)
    assert "there is no GPU" in why
    assert "in place of the one of the CUDA build" in why


@pytest.mark.parametrize("file", FILES)
def test_every_check_holds_as_over_the_cpu_build(over_cuda, borrowed, file):
    said = answers(run(over_cuda, HERE / "run_checks.py", HERE / "checks" / f"{file}.py", python=PYTHON))
    assert {name: answer for name, answer in said.items() if answer} == {}


def test_groups_named_nccl_work_between_two_ranks(over_cuda, borrowed):
    for ended in run(over_cuda, HERE / "run_checks.py", HERE / "checks" / "groups.py", ranks=2, python=PYTHON):
        assert {name: answer for name, answer in answers(ended).items() if answer} == {}


def test_without_a_compiler_a_training_loop_with_two_ranks_is_mapped(mapped):
    ended = run(mapped, "-c", TRAIN, ranks=2, python=PYTHON)
    assert [one.stdout.strip() for one in ended] == ["RESULT True 1.5"] * 2, ended[0].stderr


def test_the_triton_kernels_that_torch_brings_are_not_used(over_cuda):
    words = "import torch; a = torch.ones(2, 3, 1, device='cuda'); print(torch.bmm(a, a.mT).sum().item())"
    assert run(over_cuda, "-c", words, python=PYTHON).stdout.strip() == "18.0"
