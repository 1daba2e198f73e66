"""What bounds requests: how often, how large, how slow. Real sockets against a real cloud."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import forebay.client
from forebay.cli import daemons, up
from forebay.cloud.api import front
from forebay.cloud.limits import MOST_BUCKETS, Buckets, Rate, Rates
from forebay.cloud.server import HEAD_BYTES, HEAD_S
from forebay.errors import TooMany

from .clouds import Cloud, torn_down, until

MIB = 1 << 20


# Buckets.


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate():
    watch = Watch()
    buckets = Buckets(Rate(per_s=10, burst=5), watch)
    assert [buckets.take("k1") for _ in range(5)] == [0.0] * 5
    assert buckets.take("k1") == pytest.approx(0.1)
    assert buckets.take("k2") == 0.0  # another's is full
    watch.now += 0.1
    assert buckets.take("k1") == 0.0
    assert buckets.take("k1") > 0
    watch.now += 100
    assert [bool(buckets.take("k1")) for _ in range(6)] == [False] * 5 + [True]  # never more than the burst


def test_many_are_taken_together_and_more_than_a_bucket_holds_out_of_a_full_one():
    watch = Watch()
    buckets = Buckets(Rate(per_s=10, burst=5), watch)
    assert buckets.take("k1", 4) == 0.0
    assert buckets.take("k1", 4) == pytest.approx(0.3)
    watch.now += 100
    assert buckets.take("k1", 25) == 0.0  # twenty of them still to come
    assert buckets.take("k1") == pytest.approx(2.1)
    watch.now += 2.2
    assert buckets.take("k1") == 0.0


def test_no_rate_is_no_limit_and_many_addresses_take_no_more_memory_than_there_is():
    assert not any(Buckets(Rate(per_s=0, burst=1), Watch()).take("k") for _ in range(1000))
    watch = Watch()
    buckets = Buckets(Rate(per_s=1, burst=2), watch)
    for i in range(3 * MOST_BUCKETS):
        buckets.take(f"address-{i}")
    assert len(buckets._left) <= MOST_BUCKETS + 1


def test_the_defaults_let_fifty_clients_of_one_key_submit_as_fast_as_they_can():
    rates = Rates()
    assert rates.key.per_s >= 2_000 and rates.agent.per_s > rates.key.per_s > rates.stranger.per_s


# Too often.


@pytest.fixture(scope="module")
def strict() -> Iterator[Cloud]:
    """A cloud that answers 5 requests a second of a key, 10 at once; 1 a second of a stranger, 20 at once; and that takes a job
    of a key in two seconds. So slow that a busy machine, too, asks faster.
    """
    with torn_down(Cloud()) as made:
        limits = up.limiting({"--key-rate": 5, "--agent-rate": None, "--stranger-rate": 1, "--job-rate": 0.5})
        daemons.start("cloud", made.data, ["-m", "forebay.cloud.serve", "--data", str(made.data), *limits])
        assert until(lambda: (made.data / "address").exists() and made.url, 30)
        yield made


def test_too_many_requests_are_refused_in_our_form_with_the_time_to_wait_and_others_do_not_mind(strict):
    with strict.client() as operator:
        _, other_secret = operator.make_key(role="operator")
    with strict.http() as busy, strict.http(other_secret) as other:
        answers = [busy.get("/me") for _ in range(40)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused and {answer.status_code for answer in answers} == {200, 429}
        assert list(refused[0].json()["error"]) == ["kind", "text", "asked", "found", "try"]
        assert refused[0].json()["error"]["kind"] == "TooMany"
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert other.get("/me").status_code == 200


def test_the_client_waits_as_told_and_tries_again(strict):
    with strict.client() as client:
        started = time.monotonic()
        for _ in range(17):  # 10 at once, 7 at 5 a second
            client.me()
        assert time.monotonic() - started >= 1.0


def test_the_client_gives_up_after_a_while_and_says_why(monkeypatch):
    monkeypatch.setattr(forebay.client, "CROWDED_S", 1.5)
    body = json.dumps({"error": {"kind": "TooMany", "text": "Too many requests."}}).ljust(64).encode()
    server = Server(b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 64\r\n\r\n" + body)
    with server as url, forebay.client.Client(url, "fb_x", patience_s=1.0) as client, pytest.raises(TooMany):
        client.me()


def test_who_guesses_keys_is_refused_and_good_keys_from_there_are_not(strict):
    with strict.http("fb_guess") as guesser, strict.http() as good:
        kinds = [guesser.get("/me").json()["error"]["kind"] for _ in range(60)]
        assert set(kinds) == {"BadKey", "TooMany"}
        assert until(lambda: good.get("/me").status_code == 200)


def test_the_agents_routes_have_a_limit_of_their_own(strict):
    with strict.centre() as agent:
        assert {agent.get("/agent/wanted").status_code for _ in range(200)} == {200}


def test_a_batch_counts_as_the_jobs_that_are_in_it(strict):
    with strict.client() as operator:
        _, busy_secret = operator.make_key(role="operator")
        _, other_secret = operator.make_key(role="operator")
    job = {"bundle": "0" * 64, "entry": "train.py", "organisation": "acme", "project": "research"}
    with strict.http(busy_secret) as busy, strict.http(other_secret) as other:
        assert busy.post("/jobs/batch", json={"jobs": [job] * 30}).status_code == 404  # looked at; there is no such organisation
        for again in (busy.post("/jobs", json=job), busy.post("/jobs/batch", json={"jobs": [job] * 2})):
            assert again.status_code == 429 and again.json()["error"]["text"] == "Too many jobs."
            assert int(again.headers["Retry-After"]) > 20
        assert busy.get("/me").status_code == 200
        assert other.post("/jobs", json=job).status_code == 404


# Too large.


def test_a_body_that_is_too_large_is_refused_before_it_is_read(cloud):
    with cloud.http() as client:
        answer = client.post("/jobs", content=b"x" * (front.PLAIN_BYTES + 1))
        assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "TooLarge")
        assert client.get("/me").status_code == 200


def test_a_body_without_an_end_is_cut_off_and_the_clouds_memory_stays_bounded(cloud):
    """Of a key that is good, and of one that isn't. The cloud's memory is measured."""
    before = memory(cloud)

    def endless(most: int) -> Iterator[bytes]:
        for _ in range(most // MIB):
            yield bytes(MIB)

    def sent(key: str | None, path: str, most: int) -> str:
        with cloud.http(key) as client:
            try:
                return str(client.post(path, content=endless(most)).json()["error"]["kind"])
            except httpx.TransportError:
                return "cut off"

    assert sent(None, "/jobs", 40 * MIB) in ("TooLarge", "cut off")
    assert sent(None, "/data/missing", 200 * MIB) in ("TooLarge", "cut off")
    assert sent("fb_nobody", "/jobs", 20 * MIB) in ("BadKey", "cut off")
    assert sent("fb_nobody", "/agent/report", 20 * MIB) in ("BadKey", "cut off")
    assert memory(cloud) - before < 400 * MIB
    with cloud.http() as client:
        assert client.get("/me").status_code == 200


def test_code_goes_to_disk_and_leaves_nothing_when_it_is_not_what_its_name_says(cloud):
    tenant, before = cloud.tenant("acme"), memory(cloud)
    with cloud.http(tenant) as client:
        answer = client.put("/bundles/" + "0" * 64, content=bytes(60 * MIB), timeout=60)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "BadInput")
    assert memory(cloud) - before < 40 * MIB
    assert list((cloud.data / "drafts").iterdir()) == []


def test_a_head_that_is_too_large_is_refused(cloud):
    with connected(cloud) as line, contextlib.suppress(OSError):
        line.sendall(b"GET /api/v1/ HTTP/1.1\r\nHost: x\r\n")
        filler = b"X-Filler: " + b"y" * 8000 + b"\r\n"
        for _ in range(200):
            line.sendall(filler)
    with connected(cloud) as line:
        line.sendall(b"GET /api/v1/ HTTP/1.1\r\nHost: x\r\n" + b"X-F: " + b"y" * HEAD_BYTES)
        time.sleep(0.3)
        with contextlib.suppress(OSError):
            line.sendall(b"y" * HEAD_BYTES)
        assert b"413" in answer_of(line)


# Too slow.


@pytest.mark.slow
def test_who_drips_a_head_or_a_body_is_let_go_and_holds_nobody_up(cloud):
    """A hundred connections drip. The cloud answers others as fast as before, and lets the hundred go in its time."""
    key = cloud.operator_key.encode()
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\nContent-Length: 1000000\r\n\r\n"
    with contextlib.ExitStack() as open_ones:
        heads = [open_ones.enter_context(connected(cloud)) for _ in range(50)]
        bodies = [open_ones.enter_context(connected(cloud)) for _ in range(50)]
        for line in heads:
            line.sendall(b"GET /api/v1/ HTTP/1.1\r\nHost: x\r\n")
        for line in bodies:
            line.sendall(head)
        began, slowest, alive = time.monotonic(), 0.0, heads + bodies
        with cloud.http() as client:
            while alive and time.monotonic() - began < front.START_S + front.SILENCE_S + HEAD_S:
                still = []
                for line in alive:
                    try:
                        line.send(b"X-A: b\r\n" if line in heads else b" ")
                        still.append(line)
                    except OSError:
                        pass
                alive = still
                asked = time.monotonic()
                assert client.get("/me").status_code == 200
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(1.0)
        assert alive == [], f"{len(alive)} still hold on"
        assert slowest < 5.0


@pytest.mark.slow
def test_a_body_that_stops_is_answered_and_its_connection_closed(cloud):
    with connected(cloud) as line:
        key = cloud.operator_key.encode()
        line.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\nContent-Length: 9\r\n\r\n{")
        line.settimeout(front.SILENCE_S + 30)
        answered = answer_of(line)
    assert b"408" in answered.split(b"\r\n")[0] and b'"TooSlow"' in answered


# Helpers.


def memory(cloud: Cloud) -> int:
    pid = cloud.pid("cloud")
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def connected(cloud: Cloud) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=30) as line:
        yield line


def answer_of(line: socket.socket) -> bytes:
    whole = b""
    with contextlib.suppress(OSError):
        while part := line.recv(65536):
            whole += part
    return whole


class Server:
    """Gives every request the same answer, over real HTTP."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self._listening = answer, socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listening.accept()
                with line, contextlib.suppress(OSError):
                    while line.recv(65536):
                        line.sendall(self._answer)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listening.close()
