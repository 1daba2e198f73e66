"""Base environments in the words of a site: a Python, modules, images."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.centre import base, engines
from forebay.centre.settings import Settings
from forebay.errors import BadInput


def test_a_python_is_a_program_already(tmp_path: Path) -> None:
    assert base.program(sys.executable, tmp_path, "cpu") == Path(sys.executable)
    assert list(tmp_path.iterdir()) == []


def test_modules_are_loaded_before_python_and_a_word_is_one_word() -> None:
    text = base.words("module:cann/8.0 py'torch")
    assert text is not None
    assert text.splitlines()[-2:] == ["module load cann/8.0 'py'\"'\"'torch' >&2 || exit 1", 'exec python3 "$@"']


@pytest.mark.parametrize(
    "vendor, device, flags",
    [
        ("NVIDIA", "cuda", "--nv"),
        ("AMD", "cuda", "--rocm"),
        ("Huawei", "npu", "--bind /usr/local/Ascend/driver,"),
        ("x", "cpu", ""),
    ],
)
def test_an_image_gets_the_cards_of_its_chip_and_the_folders_it_needs(vendor: str, device: str, flags: str) -> None:
    text = base.words("apptainer:/images/a b.sif", vendor=vendor, device_type=device, visible=["/home/c"])
    assert text is not None and flags in text
    assert text.endswith("--bind /home/c '/images/a b.sif' python3 \"$@\"\n")


def test_only_a_base_of_pyxis_names_an_image_for_srun() -> None:
    assert (base.pyxis("pyxis:/i.sqsh"), base.pyxis("apptainer:/i.sif"), base.pyxis("/usr/bin/python3")) == ("/i.sqsh", "", "")


@pytest.mark.parametrize("wrong", ["docker:image", "module:", "apptainer:"])
def test_words_that_mean_nothing_are_refused(wrong: str) -> None:
    with pytest.raises(BadInput):
        base.words(wrong)


def test_each_chip_has_its_own_script_and_the_same_words_change_nothing(tmp_path: Path) -> None:
    told = Settings(base={"*": "module:torch", "ascend-910b": "apptainer:/i.sif"})
    first = engines.bases(tmp_path, told, tmp_path / "shim")
    times = [path.stat().st_mtime_ns for path in first.values()]
    assert engines.bases(tmp_path, told, tmp_path / "shim") == first
    assert [path.stat().st_mtime_ns for path in first.values()] == times
    assert all(path.stat().st_mode & stat.S_IXOTH for path in first.values())


def test_a_site_without_internet_asks_its_own_wheels_only() -> None:
    assert engines.build_env(Settings(wheels="/w")) == {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/w"}
    assert engines.build_env(Settings(build_env={"PIP_INDEX_URL": "http://mirror"})) == {"PIP_INDEX_URL": "http://mirror"}


@pytest.mark.slow
def test_a_real_module_brings_its_python(tmp_path: Path) -> None:
    if not any(Path(setup).exists() for setup in base._SETUPS):
        pytest.skip("environment-modules is not installed here")
    (tmp_path / "modules").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    (tmp_path / "modules" / "torch").write_text(f"#%Module1.0\nprepend-path PATH {tmp_path}/bin\nsetenv CANN_HOME /opt/cann\n")
    program = base.program("module:torch", tmp_path / "bases", "ascend-910b")
    told = subprocess.run(
        [program, "-c", "import os, sys; print(sys.executable, os.environ['CANN_HOME'])"],
        env={"PATH": "/usr/bin:/bin", "MODULEPATH": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
    )
    assert told.stdout.split()[1:] == ["/opt/cann"], told.stderr
    assert shutil.which(told.stdout.split()[0]) is not None
