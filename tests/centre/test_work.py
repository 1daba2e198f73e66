"""Laying a working folder out, and knowing a checkpoint when one lies there."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from forebay.centre import artefacts, work
from forebay.centre.spec import Mount, Outcome

from .conftest import Centre, pack


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize("at", ["/abs", "../out", "", "link/data"])
def test_a_mount_outside_the_working_folder_is_refused(at: str, centre: Centre) -> None:
    (centre.engine.data_folder("acme") / "v@1").mkdir()
    code = {"main.py": "", "l": member("link", tarfile.SYMTYPE, ".")}
    mounts = (Mount(kind="data", source="v@1", at=at),)
    seen = centre.run(code, mounts=mounts)
    assert (seen.outcome is Outcome.UNPREPARED) == (at != "link/data"), seen.reason


def test_a_mount_that_is_not_in_the_centre_is_named(centre: Centre) -> None:
    seen = centre.run("", mounts=(Mount(kind="data", source="nothing@1", at="d"),))
    assert "data nothing@1" in seen.reason


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("import torch", True),
        ("from torch.nn import Linear", True),
        ("  import os, torch", True),
        ("# import torch", False),
        ("import torchless_name_is_close", True),
        ("import os", False),
    ],
)
def test_a_bundle_that_imports_torch_is_known_by_its_text(text: str, wanted: bool, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(pack({"main.py": "pass\n" + text + "\n", "notes.txt": "import torch"}))
    assert work.imports_torch(tmp_path / "a.tar.gz") is wanted


def test_only_complete_checkpoints_count(tmp_path: Path) -> None:
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    tensors = struct.pack("<Q", len(header)) + header + bytes(8)
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    (tmp_path / "dcp").mkdir()
    bodies = {
        "whole.pt": saved.getvalue(),
        "half.pt": saved.getvalue()[:-10],
        "whole.safetensors": tensors,
        "half.safetensors": tensors[:-1],
        "plain.zip": plain.getvalue(),
        "log.txt": b"step 1",
        "dcp/.metadata": b"\x80\x04rest",
    }
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    (tmp_path / "link.pt").symlink_to("whole.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    found = {artefact.path: artefact.is_checkpoint for artefact in artefacts.Shelf(tmp_path).scan()}
    assert found == {name: name in ("whole.pt", "whole.safetensors", "dcp/.metadata") for name in bodies}


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    shelf = artefacts.Shelf(tmp_path)
    assert shelf.scan()[0] is shelf.scan()[0]


def test_a_checkpoint_from_the_future_counts_as_now(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(b"\x80\x04rest")
    os.utime(tmp_path / ".metadata", (2e9, 2e9))
    assert artefacts.newest_checkpoint_ns(artefacts.Shelf(tmp_path).scan(), 123) == 123
    assert artefacts.newest_checkpoint_ns((), 123) == 0
