"""Jupyter on cards of the pool: a real server in a job, reached through the tunnels by HTTP and by a websocket.

It needs `jupyter_server` and `ipykernel`: importable here, or in the folder that FOREBAY_TEST_JUPYTER names (made with
`pip install --target`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .clouds import Cloud, free_every_card, torn_down, until
from .people import piped, sits_down

pytestmark = pytest.mark.slow

# In a process of its own, with the packages that came with Jupyter: ask a kernel through its websocket.
ASK = """
import json, sys, uuid
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

async def ask():
    line = await websocket_connect(sys.argv[1])
    content = {"code": sys.argv[2], "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
    await line.write_message(json.dumps(message))
    awaited = {"execute_reply", "idle"}  # the reply and the output come by channels of their own: either may be first
    while awaited:
        told = json.loads(await line.read_message())
        if told["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        if told["msg_type"] == "stream":
            print(told["content"]["text"], end="", flush=True)
        awaited -= {told["msg_type"], told["content"].get("execution_state")}

IOLoop.current().run_sync(ask, timeout=60)
"""


def folder() -> str:
    """Where Jupyter's packages lie; skips where they aren't."""
    given = os.environ.get("FOREBAY_TEST_JUPYTER", "")
    if given and (Path(given) / "jupyter_server").is_dir():
        return str(Path(given).absolute())
    found = importlib.util.find_spec("jupyter_server")
    if found is None or found.origin is None or importlib.util.find_spec("ipykernel") is None:
        pytest.skip("there is no jupyter_server here; FOREBAY_TEST_JUPYTER may name a folder that has it")
    return str(Path(found.origin).parents[1])


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Cloud, str]]:
    """A pool whose base environment has Jupyter, and a member's key."""
    packages = folder()
    with torn_down(Cloud()) as made:
        made.up(cards=1)
        site = next((made.data / "python" / "lib").glob("python3*")) / "site-packages"
        (site / "jupyter.pth").write_text(packages + "\n")
        yield made, made.tenant("acme")


@pytest.fixture(autouse=True)
def every_card_is_free_again(lab: tuple[Cloud, str]) -> Iterator[None]:
    yield
    with lab[0].client(lab[1]) as member:
        free_every_card(member)


def test_a_notebook_server_is_used_through_the_tunnels(lab):
    cloud, key = lab
    with sits_down(cloud, key, "shell", "--jupyter") as person:
        shown = person.sees(r"http://127\.0\.0\.1:(\d+)/\S*\?token=([0-9a-f]{48})", 60)
        port, token = shown[1], shown[2]
        person.sees("Ctrl-C leaves and ends the job")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as browser:
            assert browser.get("/api/contents").status_code == 403  # without the token
            browser.headers["Authorization"] = f"token {token}"
            assert browser.get("/api/status").json()["kernels"] == 0
            begun = time.monotonic()
            for _ in range(20):
                browser.get("/api/status").raise_for_status()
            print(f"a request to Jupyter through the tunnels: {(time.monotonic() - begun) / 20 * 1000:.1f} ms")
            kernel = browser.post("/api/kernels", json={}).json()["id"]
            address = f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels?token={token}"
            code = "import os; print(6 * 7, os.environ['FOREBAY_JOB'])"
            told = subprocess.run(
                [sys.executable, "-c", ASK, address, code],
                capture_output=True,
                text=True,
                timeout=90,
                env={**os.environ, "PYTHONPATH": folder()},
            )
            assert told.stdout == f"42 {person.job}\n", told
            text = "x" * 3_000_000
            browser.put("/api/contents/big.txt", json={"type": "file", "format": "text", "content": text}).raise_for_status()
            assert browser.get("/api/contents/big.txt").json()["content"] == text
        person.process.send_signal(signal.SIGINT)
        assert person.ends() == 0
    with cloud.client(key) as member:
        about = member.wait(person.job, timeout_s=30)
        assert about["phase"] == "succeeded"
    runs = str(cloud.data / "centre" / "runs")
    assert until(lambda: not [command for command in cloud.processes().values() if runs in command], 10)


def test_a_job_that_is_kept_has_one_jupyter_for_every_visit(lab):
    cloud, key = lab
    job = json.loads(piped(cloud, key, "shell", "--json").stdout)["id"]
    tokens = set()
    with cloud.client(key) as member:
        for _ in range(2):
            with sits_down(cloud, key, "shell", "--jupyter", job) as person:
                tokens.add(person.sees(r"token=([0-9a-f]{48})", 60)[1])
                person.process.send_signal(signal.SIGINT)
                assert person.ends() == 0
                assert "the job goes on" in person.screen.decode()
        assert len(tokens) == 1
        member.cancel(job)
        assert member.wait(job, timeout_s=30)["phase"] == "cancelled"


def test_without_jupyter_the_error_says_what_to_add(pool: Cloud):
    done = piped(pool, pool.tenant("acme"), "shell", "--jupyter")
    assert done.returncode == 127
    assert re.search(r"add `jupyterlab` to your requirements\.txt .*--requirements requirements\.txt", done.stderr.decode())
