"""The compiled device: built once, checked before it is loaded, and what is said when it can't be."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from forebay.errors import BadInput, Conflict, Unavailable
from forebay.porting.shim import load
from forebay.porting.shim.build import (
    BadLibrary,
    NoCompiler,
    NoTorch,
    build,
    find_compiler,
    find_torch,
    library_name,
    verify,
)
from forebay.porting.shim.carrier import Carrier, choose


@pytest.fixture
def copied(simulated, tmp_path):
    """A cache of one's own with the compiled library in it."""
    library = tmp_path / simulated.library.name
    for name in (library.name, library.name + ".json"):
        shutil.copy(simulated.library.parent / name, tmp_path / name)
        (tmp_path / name).chmod(0o644)
    return library


def test_a_library_that_is_there_is_not_built_again(cache, simulated):
    said = []
    assert build(cache, said.append) == simulated.library
    assert said == []


def test_nobody_can_write_to_the_library(simulated):
    assert stat.S_IMODE(simulated.library.stat().st_mode) == 0o444


def test_the_name_says_which_torch_and_compiler(simulated):
    card = json.loads((simulated.library.parent / (simulated.library.name + ".json")).read_text())
    assert f"torch{find_torch().version}-{card['compiler']}-" in simulated.library.name


def test_the_library_as_built_passes(simulated):
    verify(simulated.library)


def test_a_changed_library_is_refused(copied):
    body = bytearray(copied.read_bytes())
    body[-1] ^= 1
    copied.write_bytes(body)
    with pytest.raises(BadLibrary, match="changed after it was built"):
        verify(copied)


def test_a_library_for_another_torch_is_refused(copied):
    card = copied.with_name(copied.name + ".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "torch": "2.4.0"}))
    with pytest.raises(BadLibrary, match="another torch"):
        verify(copied)


def test_a_missing_library_is_refused(tmp_path):
    with pytest.raises(BadLibrary, match="can't be read"):
        verify(tmp_path / "no.so")


def test_without_a_compiler_building_says_so_and_the_mapped_carrier_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NoCompiler, match=r"no C\+\+ compiler"):
        build(tmp_path / "cache")
    carrier = choose(tmp_path / "cache")
    assert carrier.kind == "mapped"
    assert "no C++ compiler" in carrier.why


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path, monkeypatch):
    compiler = tmp_path / "bad-g++"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "bad 1.2.3" || { echo "error: no disk in drive A"; exit 1; }\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(BadLibrary, match="no disk in drive A"):
        build(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="can't be written"):
        build(tmp_path / "file" / "cache")


def test_without_torch_the_error_names_this_python(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in [name for name in sys.modules if name == "torch" or name.startswith("torch.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()])
    with pytest.raises(NoTorch, match="isn't installed"):
        find_torch()


@pytest.fixture
def another_torch(monkeypatch, tmp_path):
    """Put a torch that is nothing but its version in front of the real one, and take the GPU away."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr("forebay.porting.shim.carrier.DRIVERS", ())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def put(version="2.13.0", cuda=None, hip=None):
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text("")
        text = f"__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = {hip!r}\n"
        (tmp_path / "torch" / "version.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))

    return put


@pytest.fixture
def built_already(tmp_path):
    """A cache with a library for whatever torch is in front: choosing doesn't read it."""

    def place():
        cache = tmp_path / "cache"
        cache.mkdir()
        (cache / library_name(find_torch(), find_compiler())).touch()
        return cache

    return place


def test_a_cuda_build_without_a_gpu_is_simulated_and_says_in_whose_place(another_torch, built_already):
    another_torch("2.13.0+cu130", cuda="13.0")
    carrier = choose(built_already())
    assert carrier.kind == "simulated"
    assert carrier.why == "there is no GPU: cuda is a simulated device over host memory, in place of the one of the CUDA build"


def test_a_cuda_build_without_a_gpu_and_without_a_compiler_is_mapped_and_says_both(another_torch, tmp_path, monkeypatch):
    another_torch("2.13.0+cu130", cuda="13.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    carrier = choose(tmp_path / "cache")
    assert carrier.kind == "mapped"
    assert carrier.why.startswith("there is no GPU. There is no C++ compiler")


def test_a_rocm_build_without_a_gpu_is_mapped(another_torch, tmp_path):
    another_torch("2.13.0+rocm7.1", hip="7.1")
    carrier = choose(tmp_path / "cache")
    assert (carrier.kind, "A ROCm build of torch" in carrier.why) == ("mapped", True)


def test_a_cuda_build_with_a_gpu_is_left_alone_unless_the_gpu_is_hidden(another_torch, built_already, monkeypatch):
    another_torch("2.13.0+cu130", cuda="13.0")
    monkeypatch.setattr("forebay.porting.shim.carrier.DRIVERS", (os.devnull,))
    cache = built_already()
    assert choose(cache).kind == "native"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    carrier = choose(cache)
    assert (carrier.kind, carrier.why.split(":")[0]) == ("simulated", "CUDA_VISIBLE_DEVICES hides the GPU")


def test_a_torch_that_is_too_old_is_refused(another_torch, tmp_path):
    another_torch("2.1.0")
    with pytest.raises(NoTorch, match=r"needs torch 2\.4"):
        build(tmp_path)


def test_a_carrier_survives_json(simulated, mapped):
    for carrier in (simulated, mapped, Carrier("native", "a GPU")):
        assert Carrier.from_json(json.loads(json.dumps(carrier.to_json()))) == carrier


def test_a_carrier_that_makes_no_sense_is_refused():
    for kind, library in (("simulated", None), ("magic", None)):
        with pytest.raises(BadInput):
            Carrier(kind, "", library)


def test_a_native_carrier_changes_nothing():
    assert load.child_environment(Carrier("native", "a GPU"), 4) == {}


def test_torch_that_is_imported_already_cannot_be_carried(mapped):
    words = (
        "import torch\nfrom forebay.porting.shim import load\nfrom forebay.porting.shim.carrier import Carrier\n"
        "load.install(Carrier('mapped', ''), cards=1)"
    )
    ended = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert "torch is imported already" in ended.stderr
    assert Conflict.__name__ in ended.stderr


@pytest.mark.parametrize("cards", [-1, 65])
def test_a_number_of_cards_that_cannot_be_is_refused(mapped, cards):
    with pytest.raises(BadInput, match="0 to 64 cards"):
        load.install(mapped, cards=cards)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_builders_at_once_make_one_library(tmp_path):
    command = [sys.executable, "-m", "forebay.porting.shim", "build", "--cache", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=1500) for process in both]
    paths = {out.splitlines()[-1] for out, _ in ended}
    assert len(paths) == 1
    assert sorted("compiled in" in err for _, err in ended) == [False, True]
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name != ".lock") == [".json", ".so"]
