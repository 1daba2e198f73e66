"""`forebay up` that can't: each time one clear message, an exit code, and nothing left running."""

from __future__ import annotations

import atexit
import functools
import json
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from forebay.cli import daemons
from forebay.cloud.journal import SCHEMA, Journal

FOREBAY = Path(sys.executable).parent / "forebay"


@functools.cache
def bare_python() -> str:
    """A base environment with nothing but Python: nothing is compiled for it."""
    folder = Path(tempfile.mkdtemp(prefix="forebay-python-"))
    atexit.register(shutil.rmtree, folder)
    venv.create(folder, symlinks=True, with_pip=False)
    return str(folder / "bin" / "python")


def command(data: Path, *options: object) -> list[str]:
    return [str(FOREBAY), "up", "--data", str(data), "--cpu-cards", "1", "--base", bare_python(), *map(str, options)]


def up(data: Path, *options: object, before: Callable[[], None] | None = None) -> tuple[int, str]:
    ended = subprocess.run(
        command(data, *options), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, preexec_fn=before
    )
    assert "Traceback" not in ended.stderr
    assert [name for name in ("cloud", "agent") if daemons.alive(name, data)] == []
    return ended.returncode, ended.stderr


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, told = up(tmp_path / "data", "--port", port)
    assert code == 5 and told.startswith(f"Conflict: Port {port} can't be opened.")


def test_a_data_folder_of_a_newer_version(tmp_path):
    Journal.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("update meta set value = ?", (SCHEMA + 1,))
    db.close()
    before = (tmp_path / "journal.sqlite").read_bytes()
    code, told = up(tmp_path, "--port", 0)
    assert code == 4 and told.startswith("Refused: This journal was written by a newer Forebay.")
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_another_address_without_tls(tmp_path):
    code, told = up(tmp_path / "data", "--port", 0, "--host", "0.0.0.0")
    assert code == 4 and told.startswith("Refused: Beyond this machine the cloud listens only with TLS.")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_with_a_certificate_that_is_trusted_it_speaks_tls(tmp_path, monkeypatch):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=here"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(make, check=True, capture_output=True)
    options = ["--port", 0, "--tls-cert", cert, "--tls-key", key]
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    begin = command(tmp_path / "data", "--json", *options)
    try:
        ended = subprocess.run(begin, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert ended.returncode == 0 and json.loads(ended.stdout)["url"].startswith("https://127.0.0.1:"), ended
    finally:
        for name in ("agent", "cloud"):
            daemons.stop(name, tmp_path / "data")


def test_the_cloud_hears_how_much_anybody_may_ask(tmp_path):
    begin = command(tmp_path / "data", "--json", "--port", 0, "--stranger-rate", 0.01, "--job-rate", 0)
    try:
        ended = subprocess.run(begin, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert ended.returncode == 0, ended
        url = json.loads(ended.stdout)["url"]
        assert [httpx.get(f"{url}/api/v1/me", trust_env=False).status_code for _ in range(2)] == [401, 429]
    finally:
        for name in ("agent", "cloud"):
            daemons.stop(name, tmp_path / "data")


def test_a_disk_that_takes_nothing(tmp_path):
    code, told = up(tmp_path / "data", "--port", 0, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
    assert code == 6 and told.startswith("Unavailable: ")
    assert "File too large" in told


def test_a_data_folder_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("mine")
    code, told = up(tmp_path / "data", "--port", 0)
    assert code == 6 and told.startswith("Unavailable: The data folder can't be made.")
    assert (tmp_path / "data").read_text() == "mine"
