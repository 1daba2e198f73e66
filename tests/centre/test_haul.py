"""Outputs of jobs on their way: what is a plain file of the folder goes, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.centre.haul import messages, survey
from forebay.data.store import ChunkStore, unpack_chunks
from forebay.errors import Unavailable

CONTENTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3).map(lambda name: f"d/{name}") | st.text("xyz", min_size=1, max_size=3),
    st.binary(max_size=200),
    max_size=6,
)


def lay(root: Path, contents: dict[str, bytes]) -> None:
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


@settings(deadline=None, max_examples=60)
@given(contents=CONTENTS)
def test_an_output_that_was_sent_is_the_same_where_it_arrives(
    contents: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, there = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("there")
    lay(root, contents)
    manifest, store = survey(root), ChunkStore(there / "chunks")
    for message in messages(root, manifest, set(manifest.chunks())):
        for sha256, content in unpack_chunks(message):
            store.put(content, sha256)
    laid = store.materialise(manifest, there / "out")
    assert {path: (laid / path).read_bytes() for path in contents} == contents


def test_no_link_leads_out_of_a_tenants_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "file").write_text("not yours")
    root = tmp_path / "out"
    lay(root, {"mine": b"1"})
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path / "others")
    os.mkfifo(root / "pipe")
    assert [file.path for file in survey(root).files] == ["mine"]


def test_a_file_that_is_exchanged_for_a_link_after_the_survey_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"0123")
    root = tmp_path / "out"
    lay(root, {"d/mine": b"0123"})
    manifest = survey(root)
    (root / "d" / "mine").unlink()
    (root / "d" / "mine").symlink_to(tmp_path / "secret")
    with pytest.raises(Unavailable, match="tried again"):
        list(messages(root, manifest, set(manifest.chunks())))


def test_a_file_that_changed_after_the_survey_ends_the_sending(tmp_path: Path) -> None:
    lay(tmp_path, {"log": b"one"})
    manifest = survey(tmp_path)
    lay(tmp_path, {"log": b"two"})
    with pytest.raises(Unavailable, match="tried again"):
        list(messages(tmp_path, manifest, set(manifest.chunks())))


def test_a_job_that_left_nothing_has_an_empty_output(tmp_path: Path) -> None:
    assert survey(tmp_path / "nowhere").files == ()
