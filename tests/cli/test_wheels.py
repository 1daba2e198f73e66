"""Wheels for a centre without internet: what is collected for which machine, and what is left to the chip's base."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.centre.test_environment import wheel
from typer.testing import CliRunner

from forebay.cli import wheels
from forebay.errors import BadInput, BadRequirement


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in the place of an index."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, version, needs in (
        ("hydro", "1.0", "turbine>=2"),
        ("turbine", "2.1", ""),
        ("torch", "2.13.0", ""),
        ("trains", "1.0", "torch"),
    ):
        file, content = wheel(name, version, "", needs)
        (folder / file).write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def asked(folder: Path, text: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text(text)
    return path


def collect(*words: str) -> str:
    told = CliRunner().invoke(wheels.app, list(words), catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.output


def test_a_package_comes_with_what_it_needs(shelf: Path, tmp_path: Path) -> None:
    collect(str(asked(tmp_path, "hydro")), "--to", str(tmp_path / "w"), "--arch", "aarch64")
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [
        "hydro-1.0-py3-none-any.whl",
        "turbine-2.1-py3-none-any.whl",
    ]


def test_torch_stays_where_it_is(shelf: Path, tmp_path: Path) -> None:
    told = collect(str(asked(tmp_path, "trains")), "--to", str(tmp_path / "w"))
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["trains-1.0-py3-none-any.whl"]
    assert "Left to the chip's base environment: torch" in told


def test_what_has_no_wheel_there_is_named(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequirement, match="pip can't find wheels") as told:
        collect(str(asked(tmp_path, "nowhere-to-be-found")))
    assert "nowhere-to-be-found" in told.value.found


@pytest.mark.parametrize("words", [["--arch", "riscv"], ["--python", "three"]])
def test_a_machine_that_nobody_builds_wheels_for_is_refused(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        collect(str(asked(tmp_path, "hydro")), *words)


def test_both_processors_have_their_platforms() -> None:
    assert "manylinux2014_aarch64" in wheels.target("aarch64", "3.10")
    assert "manylinux_2_28_x86_64" in wheels.target("x86_64", "3.11")
