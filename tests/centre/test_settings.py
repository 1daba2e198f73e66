"""The file of a centre's operator: written, edited, read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forebay.centre import settings
from forebay.centre.settings import Account, RaySettings, Settings, SlurmSettings
from forebay.errors import BadInput, Unknown

WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)
TABLES = st.dictionaries(WORDS.filter(bool), WORDS, max_size=3)


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    told=st.builds(
        Settings,
        cloud=WORDS,
        base=TABLES,
        pretend=st.booleans(),
        accounts=st.dictionaries(WORDS.filter(bool), st.builds(Account, user=WORDS, qos=WORDS), max_size=2),
        slurm=st.builds(
            SlurmSettings, gres=TABLES, partitions=st.lists(WORDS, max_size=3).map(tuple), cpus_per_card=st.integers(1, 64)
        ),
        ray=st.builds(RaySettings, chips=TABLES, cpus_per_card=st.floats(0, 64)),
    )
)
def test_what_is_written_is_read(told: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("centre")
    settings.write(home, told)
    assert settings.read(home) == told


def test_only_what_was_decided_is_written_and_a_person_can_read_it(tmp_path: Path) -> None:
    told = Settings(cloud="https://cloud", engine="slurm", slurm=SlurmSettings(gres={"gpu:h100": "h100-sxm", "tape": ""}))
    assert settings.write(tmp_path, told).read_text().splitlines()[3:] == [
        'cloud = "https://cloud"',
        'engine = "slurm"',
        "",
        "[slurm.gres]",
        '"gpu:h100" = "h100-sxm"',
        'tape = ""',
    ]


def test_a_folder_without_a_centre_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="There is no centre in this folder"):
        settings.read(tmp_path)


@pytest.mark.parametrize(
    "text, told",
    [("engine = slurm", "can't be read"), ("[slurm]\ngrse = {}", "no field of that name"), ("pretend = 1", "pretend: true or")],
)
def test_a_wrong_line_is_named(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / settings.FILE).write_text(text)
    with pytest.raises(BadInput, match=told):
        settings.read(tmp_path)
