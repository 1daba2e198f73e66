"""What is scanned can be laid out again, to the byte; what is damaged is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay import codec
from forebay.data import manifest as manifests
from forebay.data.dataset import DataSet, Version, scan, version
from forebay.data.manifest import PIECE_BYTES, Chunk, File, Manifest
from forebay.data.store import ChunkStore
from forebay.errors import BadInput, Conflict, Unavailable, Unknown

from .trees import FILES, NAMES, TREES, plant, seen


def only_files(tree: dict[str, object]) -> dict[str, object]:
    return {name: body for name, body in tree.items() if body is not None}


@settings(max_examples=40, deadline=None)
@given(st.tuples(TREES, NAMES, FILES))
def test_what_is_scanned_and_kept_is_laid_out_the_same(given_tree):
    tree, name, body = given_tree
    tree[name] = body  # at least one file: an empty data set is refused
    with tempfile.TemporaryDirectory() as folder:
        source = plant(tree, Path(folder) / "source")
        manifest, store = scan(source), ChunkStore(Path(folder) / "store")
        store.put_folder(source, manifest)
        out = store.materialise(manifest, Path(folder) / "out")
        assert only_files(seen(out)) == only_files(seen(source))
        assert scan(out) == manifest
        assert store.missing(manifest) == ()


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, FILES, min_size=1))
def test_a_manifest_survives_json_and_keeps_its_name(tree):
    with tempfile.TemporaryDirectory() as folder:
        manifest = scan(plant(tree, Path(folder) / "source"))
    again = manifests.from_json(manifests.to_json(manifest))
    assert (again, again.id) == (manifest, manifest.id)


def test_a_large_file_is_cut_and_equal_pieces_are_kept_once(tmp_path):
    source = plant({"big": b"\0" * (2 * PIECE_BYTES + 5), "end": b"\0" * 5}, tmp_path / "source")
    manifest, store = scan(source), ChunkStore(tmp_path / "store")
    assert [len(file.chunks) for file in manifest.files] == [3, 1]
    assert len(manifest.chunks()) == 2
    store.put_folder(source, manifest)
    assert (store.materialise(manifest, tmp_path / "out") / "big").read_bytes() == b"\0" * (2 * PIECE_BYTES + 5)


def test_patterns_choose_files_and_progress_is_told(tmp_path):
    source = plant({"a.py": b"12", "b.txt": b"345", "deep": {"c.py": b"6"}}, tmp_path / "source")
    told = []
    manifest = scan(source, ("*.py",), progress=lambda files, size: told.append((files, size)))
    assert [file.path for file in manifest.files] == ["a.py", "deep/c.py"]
    assert told == [(1, 2), (2, 3)]
    assert [file.path for file in scan(source, ("deep/**", "/b.txt")).files] == ["b.txt", "deep/c.py"]


def test_an_unknown_folder_no_match_and_a_link_to_nowhere_are_told_apart(tmp_path):
    source = plant({"a": b"1"}, tmp_path / "source")
    with pytest.raises(Unknown, match="no such folder"):
        scan(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="No file of the folder matches"):
        scan(source, ("*.py",))
    (source / "gone").symlink_to("nothing")
    with pytest.raises(BadInput, match="gone can't be read"):
        scan(source)


def test_a_version_is_named_after_its_content(tmp_path):
    manifest = scan(plant({"a": b"1"}, tmp_path / "source"))
    dataset = DataSet(organisation="acme", name="tiny")
    made = version(dataset, manifest, created_ns=7)
    assert made.id == "tiny@" + manifest.id[:12]
    assert (made.files, made.size_bytes, made.manifest) == (1, 1, manifest.id)
    assert codec.decode(Version, codec.encode(made)) == made


@pytest.mark.parametrize("name", ["", "Big", "a b", "../x", "a@b", ".x", "x" * 64])
def test_a_bad_name_of_a_data_set_is_refused(name):
    with pytest.raises(BadInput, match="A data set's name"):
        version(DataSet(organisation="acme", name=name), Manifest(files=()), created_ns=0)


def chunk(body: bytes) -> Chunk:
    return Chunk(sha256=hashlib.sha256(body).hexdigest(), size_bytes=len(body))


def one_file(path: str, body: bytes = b"x") -> File:
    return File(path=path, size_bytes=len(body), chunks=(chunk(body),))


@pytest.mark.parametrize(
    "manifest, why",
    [
        (Manifest(files=(one_file("/etc/passwd"),)), "stays inside"),
        (Manifest(files=(one_file("../x"),)), "stays inside"),
        (Manifest(files=(one_file("a//x"),)), "stays inside"),
        (Manifest(files=(one_file("a"), one_file("a/b"))), "file and a folder"),
        (Manifest(files=(one_file("b"), one_file("a"))), "in order"),
        (Manifest(files=(one_file("a"), one_file("a"))), "in order"),
        (Manifest(files=(dataclasses.replace(one_file("a"), size_bytes=2),)), "sum of its chunks"),
        (Manifest(files=(File(path="a", size_bytes=1, chunks=(Chunk(sha256="../../x", size_bytes=1),)),)), "64 small"),
        (Manifest(files=(one_file("a"),), algorithm="md5"), "unknown here"),
    ],
)
def test_a_manifest_that_lies_or_climbs_is_refused(tmp_path, manifest, why):
    with pytest.raises(BadInput, match=why):
        manifests.from_json(manifests.to_json(manifest))
    with pytest.raises(BadInput, match=why):
        ChunkStore(tmp_path / "store").materialise(manifest, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_chunk_with_another_content_is_not_kept(tmp_path):
    store = ChunkStore(tmp_path)
    for content in (b"other", io.BytesIO(b"other")):
        with pytest.raises(BadInput, match="not what its name says"):
            store.put(content, chunk(b"x").sha256)
    assert not store.has(chunk(b"x").sha256)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_chunk_that_was_tampered_with_is_never_laid_out(tmp_path):
    source = plant({"a": b"good", "b": b"fine"}, tmp_path / "source")
    manifest, store = scan(source), ChunkStore(tmp_path / "store")
    store.put_folder(source, manifest)
    kept = next(path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.read_bytes() == b"fine")
    kept.chmod(0o644)
    kept.write_bytes(b"evil")
    with pytest.raises(Unavailable, match="damaged"):
        store.materialise(manifest, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "store"]


def test_a_missing_chunk_is_counted_and_named(tmp_path):
    manifest = scan(plant({"a": b"1", "b": b"2"}, tmp_path / "source"))
    store = ChunkStore(tmp_path / "store")
    store.put(b"1", chunk(b"1").sha256)
    assert store.missing(manifest) == (chunk(b"2").sha256,)
    with pytest.raises(Unavailable, match="1 missing"):
        store.materialise(manifest, tmp_path / "out")
    with pytest.raises(Unknown, match="no such chunk"):
        store.open(chunk(b"2").sha256)


def test_a_file_that_changed_after_the_scan_is_named(tmp_path):
    source = plant({"a": b"1"}, tmp_path / "source")
    manifest = scan(source)
    for now in (b"2", b"", b"1" * 2):
        (source / "a").write_bytes(now)
        with pytest.raises(BadInput, match="a changed after it was scanned"):
            ChunkStore(tmp_path / "store").put_folder(source, manifest)


def test_laid_out_files_are_read_only_and_a_taken_place_is_left_alone(tmp_path):
    source = plant({"deep": {"a": b"1"}}, tmp_path / "source")
    manifest, store = scan(source), ChunkStore(tmp_path / "store")
    store.put_folder(source, manifest)
    out = store.materialise(manifest, tmp_path / "out")
    assert (out / "deep" / "a").stat().st_mode & 0o777 == 0o444
    with pytest.raises(Conflict):
        store.materialise(manifest, tmp_path / "out")


def test_more_than_the_disk_has_is_refused_before_it_begins(tmp_path):
    store = ChunkStore(tmp_path / "store")
    store.put(b"x", chunk(b"x").sha256)
    huge = dataclasses.replace(chunk(b"x"), size_bytes=10**18)  # a manifest may claim any size
    with pytest.raises(Unavailable, match="disk is full") as caught:
        store.materialise(Manifest(files=(File(path="a", size_bytes=10**18, chunks=(huge,)),)), tmp_path / "out")
    assert "1,000,000 TB" in caught.value.asked
    assert not (tmp_path / "out").exists()
