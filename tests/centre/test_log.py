"""The log: lines as they come, rotation, and readers that fell behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forebay.centre import log


def line(text: str) -> tuple[int, int, str, str]:
    return (0, 0, "stdout", text)


def texts(body: bytes) -> list[str]:
    return [json.loads(row)["text"] for row in body.splitlines()]


def test_a_reader_follows_by_offset(tmp_path: Path) -> None:
    writer = log.Writer(tmp_path)
    writer.write([line("a"), line("b")])
    first = log.read(tmp_path, 0)
    writer.write([line("ü")])
    second = log.read(tmp_path, first.next_offset)
    assert (texts(first.body), texts(second.body), first.gap, second.gap) == (["a", "b"], ["ü"], 0, 0)
    assert log.read(tmp_path, second.next_offset).body == b""


def test_rotation_loses_nothing_for_a_reader_that_keeps_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 300)
    writer, offset, seen = log.Writer(tmp_path), 0, []
    for i in range(100):
        writer.write([line(str(i))])
        part = log.read(tmp_path, offset)
        offset, seen = part.next_offset, seen + texts(part.body)
        assert part.gap == 0
    assert seen == [str(i) for i in range(100)]
    assert len(list(tmp_path.iterdir())) == log.FILES


def test_a_reader_that_fell_behind_learns_how_much_it_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 300)
    writer = log.Writer(tmp_path)
    for i in range(100):
        writer.write([line(str(i))])
    offset, seen, gaps = 0, [], 0
    while (part := log.read(tmp_path, offset)).body:
        offset, seen, gaps = part.next_offset, seen + texts(part.body), gaps + part.gap
    oldest = int(min(path.name for path in tmp_path.iterdir())[:16])
    assert gaps == oldest > 0
    assert seen == [str(i) for i in range(100 - len(seen), 100)]


def test_a_writer_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    log.Writer(tmp_path).write([line("a")])
    log.Writer(tmp_path).write([line("b")])
    assert texts(log.read(tmp_path, 0).body) == ["a", "b"]


def test_a_line_is_whole_however_it_comes_in() -> None:
    splitter = log.Splitter()
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed(b"o\r\n10%\r20%\rthe e") == ["two", "10%", "20%"]
    assert splitter.feed("nd ü".encode()) == []
    assert splitter.flush() == ["the end ü"]
    assert splitter.flush() == []


def test_a_very_long_line_is_split_between_characters() -> None:
    splitter = log.Splitter()
    text = "x" + "ü" * log.LINE_BYTES
    pieces = splitter.feed(text.encode()) + splitter.flush()
    assert "".join(pieces) == text
    assert all(len(piece.encode()) <= log.LINE_BYTES for piece in pieces)


def test_a_copy_has_the_same_bytes_at_the_same_offsets_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 400)
    monkeypatch.setattr(log, "FILES", 3)
    there, here = tmp_path / "there", tmp_path / "here"
    writer, copy = log.Writer(there), log.Copy(here)
    for number in range(40):
        writer.write([line(f"n{number}")])
        if number % 10 == 9:
            copy = log.Copy(here)  # another process
            while (part := log.read(there, copy.end, 150)).body:
                copy.add(copy.end + part.gap, part.body)
    assert copy.end == sum(len(part) for part in _rest(there, 0)) + log.read(there, 0).gap
    assert b"".join(_rest(here, copy.end - 150)) == b"".join(_rest(there, copy.end - 150))
    assert texts(b"".join(_rest(here, 0)))[-3:] == ["n37", "n38", "n39"]


def _rest(folder: Path, offset: int) -> list[bytes]:
    """All that can be read from an offset on."""
    parts = []
    while (part := log.read(folder, offset)).body:
        parts.append(part.body)
        offset = part.next_offset
    return parts
