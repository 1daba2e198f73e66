"""A store at a URL: what is put there is there, whole and under its own name only."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.data.remote import Remote
from forebay.errors import BadInput, Unavailable

pytest.importorskip("fsspec")
CONTENT = os.urandom(3 << 20)
SHA = hashlib.sha256(CONTENT).hexdigest()


def goes_there_and_back(remote: Remote) -> None:
    assert (remote.has("acme", SHA), remote.get("acme", SHA)) == (False, None)
    remote.put("acme", SHA, CONTENT)
    remote.put("acme", SHA, CONTENT)
    assert (remote.has("acme", SHA), remote.get("acme", SHA)) == (True, CONTENT)
    assert remote.get("other", SHA) is None  # knowing a hash is not enough


def test_a_folder_by_url(tmp_path: Path) -> None:
    goes_there_and_back(Remote(f"file://{tmp_path}/store"))


def test_content_that_is_not_what_its_name_says_is_not_there(tmp_path: Path) -> None:
    remote = Remote(f"file://{tmp_path}")
    remote.put("acme", SHA, CONTENT)
    (tmp_path / "acme" / SHA[:2] / SHA).write_bytes(CONTENT[:-1])
    assert remote.get("acme", SHA) is None


def test_a_url_that_nothing_opens_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(BadInput, match="can't be opened"):
        Remote("gopher://store")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a real S3 server on this machine, spoken to by the client that people use."""
    pytest.importorskip("s3fs", reason="pip install 'forebay[store]'")
    pytest.importorskip("moto", reason="moto[server] is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    until = time.monotonic() + 60
    while True:
        try:
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir("forebay")
            break
        except Exception:
            if time.monotonic() > until or server.poll() is not None:
                server.kill()
                raise
    yield "s3://forebay/centre"
    server.kill()
    server.wait()


@pytest.mark.slow
def test_a_bucket_of_s3(bucket: str) -> None:
    goes_there_and_back(Remote(bucket))


@pytest.mark.slow
def test_a_bucket_that_can_not_be_reached_says_so(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(Unavailable, match="can't be reached"):
        Remote(bucket).get("acme", SHA)
