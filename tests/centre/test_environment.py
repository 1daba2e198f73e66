"""A tenant's packages over the base environment."""

from __future__ import annotations

import functools
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.centre import environment, layout
from forebay.centre.spec import Outcome
from forebay.errors import BadRequirement

from .conftest import Centre, a_centre


@pytest.fixture(scope="module")
def settled() -> Iterator[Centre]:
    with a_centre() as made:
        yield made


@pytest.fixture
def centre(settled: Centre) -> Iterator[Centre]:
    """A centre that keeps the environments it has built, of which one takes seconds, from test to test."""
    yield settled
    settled.clear()


def ready(centre: Centre) -> set[Path]:
    return set(layout.environments(centre.home, "acme").glob("*/READY"))


@functools.cache
def wheel(name: str, version: str, body: str, needs: str = "") -> tuple[str, bytes]:
    """File name and content of a wheel with one module."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (f"Requires-Dist: {needs}\n" if needs else "")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}.py", body)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"{name}-{version}-py3-none-any.whl", content.getvalue()


def test_a_folder_of_wheels_is_laid_over_the_base_once_and_read_only(centre: Centre) -> None:
    name, content = wheel("hydro", "1.0", "power = 42")
    code = """
import hydro, os, pytest, subprocess, sys
print(hydro.power)
print(subprocess.run([sys.executable, "-c", "import hydro; print(hydro.power)"], capture_output=True, text=True).stdout.strip())
print(os.environ["VIRTUAL_ENV"] in sys.executable, os.access(os.path.dirname(hydro.__file__), os.W_OK))
"""
    entries = {"main.py": code, f"wheels/{name}": content}
    first = centre.run(entries, requirements="wheels")
    assert first.outcome is Outcome.SUCCEEDED, (first.reason, centre.lines(stream=None))
    assert centre.lines() == ["42", "42", "True " + str(os.geteuid() != 0)]
    (built,) = ready(centre)
    built_ns = built.stat().st_mtime_ns
    centre.run(entries, name="j-2", requirements="wheels")
    assert centre.lines("j-2")[:1] == ["42"]
    assert built.stat().st_mtime_ns == built_ns


def test_a_forked_torch_script_sees_its_packages(centre: Centre, carried: None) -> None:
    name, content = wheel("hydro", "1.0", "power = 42")
    seen = centre.run(
        {"main.py": "import torch, hydro, sys\nprint(hydro.power, sys.prefix in hydro.__file__)", f"wheels/{name}": content},
        requirements="wheels",
    )
    assert seen.outcome is Outcome.SUCCEEDED, (seen.reason, centre.lines(stream=None))
    assert centre.lines() == ["42 True"]


@pytest.mark.slow
def test_a_package_that_shadows_one_of_the_parents_gets_a_fresh_interpreter(centre: Centre, carried: None) -> None:
    theirs = pytest.importorskip("typing_extensions")  # torch imports it
    name, content = wheel("typing_extensions", "99.0", Path(theirs.__file__).read_text() + "\nmine = True\n")
    code = "import torch, typing_extensions\nprint(typing_extensions.mine)"
    centre.run({"main.py": code, f"w/{name}": content}, requirements="w")
    assert centre.lines(rank=0) == ["True"]


def test_another_torch_is_refused_with_the_line_that_asks_for_it(centre: Centre) -> None:
    pytest.importorskip("torch")
    name, content = wheel("torch", "99.0", "")
    before = ready(centre)
    listed = {"main.py": "", f"w/{name}": content, "requirements.txt": f"# mine\n./w/{name}\n"}
    seen = centre.run(listed, requirements="requirements.txt")
    assert seen.outcome is Outcome.UNPREPARED
    assert "would replace torch" in seen.reason
    assert f"asked: ./w/{name}" in seen.reason and "found: the base has torch" in seen.reason
    assert ready(centre) == before


def test_a_requirement_that_can_not_be_met_says_so_and_pips_words_are_in_the_log(centre: Centre) -> None:
    name, content = wheel("hydro", "1.0", "", needs="no-such-thing-at-all>=3")
    seen = centre.run({"main.py": "", f"w/{name}": content}, requirements="w")
    assert seen.outcome is Outcome.UNPREPARED
    assert "can't be met" in seen.reason
    assert any("no-such-thing-at-all" in line for line in centre.lines(stream="engine", rank=-1))


def test_requirements_that_are_not_in_the_code_are_named(centre: Centre) -> None:
    for wanted in ("nothing.txt", "../../../uids.json"):
        seen = centre.run("", name=f"{'a' if wanted[0] == 'n' else 'b'}-1", requirements=wanted)
        assert "aren't in the code" in seen.reason


def report(*packages: tuple[str, str, list[str]]) -> dict[str, object]:
    return {
        "install": [{"metadata": {"name": name, "version": version, "requires_dist": needs}} for name, version, needs in packages]
    }


def test_the_line_or_the_package_that_wants_another_torch_is_named() -> None:
    with pytest.raises(BadRequirement) as caught:
        environment.refuse(report(("torch", "2.0", [])), "numpy\ntorch==2.0  # old\n")
    assert caught.value.asked == "torch==2.0  # old"
    with pytest.raises(BadRequirement) as caught:
        environment.refuse(report(("lightning", "2.0", ["torch<2.1"]), ("torch", "2.0", [])), "lightning\n")
    assert caught.value.asked == "torch, because lightning needs it"
    for name in ("nvidia-cublas-cu12", "triton", "torch_npu", "Torch-MLU", "pytorch-triton-rocm"):
        with pytest.raises(BadRequirement):
            environment.refuse(report((name, "1", [])), name)
    environment.refuse(report(("torchvision", "1", []), ("torchmetrics", "1", [])), "")


def test_the_key_changes_with_the_base_and_with_the_requirements(tmp_path: Path) -> None:
    about = {"executable": "/py", "version": "3.11.7", "torch": "2.13.0"}
    listed = tmp_path / "requirements.txt"
    listed.write_text("a")
    one = environment.key(about, listed)
    assert environment.key({**about, "torch": "2.14.0"}, listed) != one == environment.key(about, listed)
    listed.write_text("b")
    assert environment.key(about, listed) != one
