"""A bundle comes out as it went in, has one hash for one content, and never writes outside its folder."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from forebay.data.bundle import Bundle, pack, unpack
from forebay.errors import BadBundle, Conflict, Unavailable, Unknown
from forebay.units import MB

from .trees import TREES, plant, seen

LIMIT = 10 * MB


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_what_is_packed_comes_out_the_same(tree):
    with tempfile.TemporaryDirectory() as name:
        folder = plant(tree, Path(name) / "code")
        pack(folder, limit_bytes=LIMIT, to=Path(name) / "bundle")
        unpack(Path(name) / "bundle", Path(name) / "out")
        assert seen(Path(name) / "out") == seen(folder)


def test_the_same_content_has_the_same_hash_wherever_and_whenever_it_is_packed(tmp_path):
    first, second = write(tmp_path / "a", x="1", y="2"), write(tmp_path / "b", y="2", x="1")
    os.utime(second / "x", (1, 1))
    assert pack(first, limit_bytes=LIMIT, to=tmp_path / "1") == pack(second, limit_bytes=LIMIT, to=tmp_path / "elsewhere")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "elsewhere").read_bytes()


def test_another_letter_makes_another_hash(tmp_path):
    first = pack(write(tmp_path / "a", x="1"), limit_bytes=LIMIT, to=tmp_path / "1")
    assert first.sha256 != pack(write(tmp_path / "a", x="2"), limit_bytes=LIMIT, to=tmp_path / "2").sha256


def test_what_is_packed_along_is_there_whatever_is_ignored_and_takes_nobodys_place(tmp_path):
    folder = write(tmp_path / "a", **{".gitignore": ".*\n*.sh\n", "x.sh": "left out", "y": "2"})
    ours = write(tmp_path / "b", start="go")
    pack(folder, ".f/start.sh", limit_bytes=LIMIT, to=tmp_path / "1", along={".f/start.sh": ours / "start"})
    unpack(tmp_path / "1", tmp_path / "out")
    assert seen(tmp_path / "out") == {".f/": None, ".f/start.sh": b"go", "y": b"2"}
    with pytest.raises(BadBundle, match=r"(?s)a file of its own.*asked: y"):
        pack(folder, limit_bytes=LIMIT, to=tmp_path / "2", along={"y": ours / "start"})


def test_a_single_file_is_a_bundle_of_one(tmp_path):
    folder = write(tmp_path / "a", **{"train.py": "print(1)", "other.py": ""})
    bundle = pack(folder / "train.py", "train.py", limit_bytes=LIMIT, to=tmp_path / "1")
    assert bundle == Bundle(sha256=bundle.sha256, size_bytes=(tmp_path / "1").stat().st_size, files=1)
    unpack(tmp_path / "1", tmp_path / "out", sha256=bundle.sha256)
    assert seen(tmp_path / "out") == {"train.py": b"print(1)"}


def test_a_file_that_may_be_executed_still_may(tmp_path):
    folder = write(tmp_path / "a", run="#!/bin/sh", data="")
    (folder / "run").chmod(0o700)
    pack(folder, limit_bytes=LIMIT, to=tmp_path / "1")
    unpack(tmp_path / "1", tmp_path / "out")
    assert [(tmp_path / "out" / name).stat().st_mode & 0o777 for name in ("run", "data")] == [0o755, 0o644]


def test_git_caches_and_environments_never_go_along(tmp_path):
    folder = write(tmp_path / "a", x="1")
    for name in (".git", "__pycache__", ".venv"):
        write(folder / name, inside="x")
    assert pack(folder, limit_bytes=LIMIT, to=tmp_path / "1").files == 1


def test_gitignore_is_respected_in_every_folder(tmp_path):
    folder = write(tmp_path / "a", **{".gitignore": "*.bin\n/out/\n", "x.bin": "", "x.py": ""})
    write(folder / "out", y="")
    write(folder / "kept", **{".gitignore": "!z.bin\n", "z.bin": "", "w.bin": ""})
    pack(folder, limit_bytes=LIMIT, to=tmp_path / "1")
    unpack(tmp_path / "1", tmp_path / "out")
    assert sorted(seen(tmp_path / "out")) == [".gitignore", "kept/", "kept/.gitignore", "kept/z.bin", "x.py"]


def test_a_link_inside_stays_a_link(tmp_path):
    folder = write(tmp_path / "a", x="1")
    write(folder / "deep")
    (folder / "deep" / "link").symlink_to("../x")
    pack(folder, limit_bytes=LIMIT, to=tmp_path / "1")
    unpack(tmp_path / "1", tmp_path / "out")
    assert seen(tmp_path / "out") == {"deep/": None, "deep/link": "-> ../x", "x": b"1"}


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "deep/../../secret", "round/../secret"])
def test_a_link_out_of_the_folder_is_refused_by_name(tmp_path, target):
    folder = write(tmp_path / "a", x="1")
    write(tmp_path, secret="s")
    (folder / "round").symlink_to(".")
    (folder / "leak").symlink_to(target)
    with pytest.raises(BadBundle, match="leak is a link that points out"):
        pack(folder, limit_bytes=LIMIT, to=tmp_path / "1")
    assert not (tmp_path / "1").exists()


def test_too_large_a_folder_names_its_largest_files_and_the_limit(tmp_path):
    folder = write(tmp_path / "a", small="x", big="x" * 3000, bigger="x" * 5000)
    with pytest.raises(BadBundle) as caught:
        pack(folder, limit_bytes=6000, to=tmp_path / "1")
    assert "8 kB before compression, and the limit is 6 kB" in caught.value.text
    assert caught.value.found == "the largest files: bigger (5 kB), big (3 kB), small (1 B)"


def test_an_entry_that_is_ignored_is_told_apart_from_one_that_is_not_there(tmp_path):
    folder = write(tmp_path / "a", **{".gitignore": "train.py", "train.py": "", "x": ""})
    with pytest.raises(BadBundle, match="left out by a"):
        pack(folder, "train.py", limit_bytes=LIMIT, to=tmp_path / "1")
    with pytest.raises(BadBundle, match="no such file"):
        pack(folder, "test.py", limit_bytes=LIMIT, to=tmp_path / "1")


def test_a_missing_source_offers_the_nearest_name(tmp_path):
    with pytest.raises(Unknown, match=r"train\.py"):
        pack(write(tmp_path / "a", **{"train.py": ""}) / "tran.py", limit_bytes=LIMIT, to=tmp_path / "1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_the_right_to_read_is_named(tmp_path):
    folder = write(tmp_path / "a", locked="x")
    (folder / "locked").chmod(0)
    with pytest.raises(BadBundle, match="locked can't be read"):
        pack(folder, limit_bytes=LIMIT, to=tmp_path / "1")


def test_a_pipe_or_socket_in_the_folder_is_named(tmp_path, monkeypatch):
    folder = write(tmp_path / "a")
    monkeypatch.chdir(folder)  # a socket's whole path may have 108 letters only
    with socket.socket(socket.AF_UNIX) as plug, pytest.raises(BadBundle, match="plug is no file, folder or link"):
        plug.bind("plug")
        pack(folder, limit_bytes=LIMIT, to=tmp_path / "1")


# ---------------------------------------------------------------- archives that others made


def entry(name: str, body: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(body)
    for key, value in fields.items():
        setattr(header, key, value)
    return header, body


def archive(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for header, body in entries:
            tar.addfile(header, io.BytesIO(body))
    return path


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


@pytest.mark.parametrize(
    "entries, why",
    [
        ([entry("/etc/cron.d/x", b"x")], "absolute"),
        ([entry("../x", b"x")], "climbs out"),
        ([entry("a/../../x", b"x")], "climbs out"),
        ([entry("./x", b"x")], "absolute, empty or climbs out"),
        ([link("a", "/etc"), entry("a/passwd", b"x")], "no folder"),
        ([link("a", "."), entry("a/x", b"x")], "no folder"),
        ([link("a", "../..")], "points out"),
        ([link("a", "/etc/passwd")], "points out"),
        ([link("d/round", ".."), link("leak", "d/round/..")], "points out"),
        ([link("leak", "d/round/.."), link("d/round", "..")], "points out"),
        ([entry("a", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "a hard link"),
        ([entry("a", type=tarfile.CHRTYPE)], "a device"),
        ([entry("a", type=tarfile.BLKTYPE)], "a device"),
        ([entry("a", type=tarfile.FIFOTYPE)], "a pipe"),
        ([entry("a", pax_headers={"size": "-1048576"})], "below zero"),
        ([entry("a", b"1"), entry("a", b"2")], "comes twice"),
        ([entry("a", b"1"), entry("a/b", b"2")], "no folder"),
        ([entry("a/b", b"1"), entry("a", b"2")], "comes twice"),
    ],
)
def test_an_unsafe_archive_is_refused_and_leaves_nothing(tmp_path, entries, why):
    place = tmp_path / "in" / "out"
    with pytest.raises(BadBundle) as caught:
        unpack(archive(tmp_path / "bad", *entries), place)
    assert why in caught.value.found
    assert list((tmp_path / "in").iterdir()) == []


def test_a_bomb_is_refused_before_it_goes_off(tmp_path):
    bomb = archive(tmp_path / "bomb", entry("zeros", b"\0" * 50 * MB))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(BadBundle, match="more than 10 MB"):
        unpack(bomb, tmp_path / "out", limit_bytes=LIMIT)


def test_a_bomb_of_many_names_is_refused(tmp_path):
    many = archive(tmp_path / "many", *(entry(f"f{i}") for i in range(1001)))
    with pytest.raises(BadBundle, match="more than 1,000 entries"):
        unpack(many, tmp_path / "out", limit_entries=1000)


def test_a_bomb_in_a_header_is_refused(tmp_path):
    header = tarfile.TarInfo("x")
    header.pax_headers = {"comment": "a" * 30 * MB}
    with tarfile.open(tmp_path / "bomb", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(header)
    with pytest.raises(BadBundle, match="more than is allowed"):
        unpack(tmp_path / "bomb", tmp_path / "out", limit_bytes=MB, limit_entries=100)


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"no archive", lambda b: b"", lambda b: b[:-8] + b"\0" * 8]
)
def test_a_damaged_archive_is_refused(tmp_path, damage):
    bundle = pack(write(tmp_path / "a", x="1" * 5000), limit_bytes=LIMIT, to=tmp_path / "1")
    (tmp_path / "1").write_bytes(damage((tmp_path / "1").read_bytes()))
    with pytest.raises(BadBundle, match="not what was sent"):
        unpack(tmp_path / "1", tmp_path / "out", sha256=bundle.sha256)
    with pytest.raises(BadBundle):
        unpack(tmp_path / "1", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_plain_tar_is_no_bundle(tmp_path):
    (tmp_path / "t").write_bytes(gzip.compress(b"just text, compressed" * 100))
    with pytest.raises(BadBundle, match="no tar"):
        unpack(tmp_path / "t", tmp_path / "out")


def test_a_place_that_is_taken_is_left_alone(tmp_path):
    pack(write(tmp_path / "a", x="1"), limit_bytes=LIMIT, to=tmp_path / "1")
    with pytest.raises(Conflict):
        unpack(tmp_path / "1", write(tmp_path / "out", mine="1"))
    assert seen(tmp_path / "out") == {"mine": b"1"}


def test_a_full_disk_says_what_was_needed_and_leaves_nothing(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    from forebay.data.disk import new_folder

    with pytest.raises(Unavailable, match="disk is full") as caught, new_folder(tmp_path / "out", needed_bytes=5 * MB) as draft:
        (draft / "begun").write_text("x")
        with open("/dev/full", "wb") as full:
            full.write(b"x" * 100_000)
    assert caught.value.asked.startswith("5 MB for")
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_disk_has_is_refused_before_it_begins(tmp_path):
    from forebay.data.disk import new_folder

    with pytest.raises(Unavailable, match="disk is full"), new_folder(tmp_path / "out", needed_bytes=10**18):
        raise AssertionError("the block must not begin")
    assert list(tmp_path.iterdir()) == []


def test_old_drafts_are_swept_and_young_ones_are_not(tmp_path):
    from forebay.data.disk import DRAFT, sweep

    old, young = tmp_path / f"{DRAFT}old", tmp_path / f"{DRAFT}young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    assert sweep(tmp_path, older_than_s=3600) == 1
    assert list(tmp_path.iterdir()) == [young]
